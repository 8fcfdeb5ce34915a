/* The table of inner loops that each kernel set fills. Private to this target. */
#ifndef SWERVE_INNER_H
#define SWERVE_INNER_H

#include "swerve_kernels.h"

#include <string.h>

#if defined(__x86_64__) && !defined(SWERVE_PORTABLE)
#define SWERVE_X86 1
#else
#define SWERVE_X86 0
#endif

/* acc[rows, 16 blocks] (+)= x[rows, k] w[blocks, k, 16]. A step is one k of f32, one pair of 16-bit k. Every element is
 * summed over k in one order that depends on neither rows nor blocks. */
typedef struct {
  const void *x;
  size_t x_stride;     /* bytes between rows */
  const void *w;       /* step: 64 bytes, 16 outputs (x 2) */
  size_t block_stride; /* bytes between blocks of 16 outputs */
  size_t step_stride;  /* bytes between steps */
  size_t steps;
  float *acc;
  size_t acc_stride;   /* floats between rows */
  size_t rows, blocks;
  bool accumulate;     /* false: start from zero */
  bool cold;           /* weights come from memory, not from a cache */
} swerve_tile;

typedef void (*swerve_multiply)(const swerve_tile *tile);

/* Sums of a piece of a product, [segments][rows, 16 blocks], and what they belong to. */
typedef struct {
  const swerve_linear_job *job;
  float *acc;            /* dynamic formats: one segment; int8: i32 */
  size_t segment_floats; /* between segments */
  size_t rows, blocks, first_row, first_block;
  const char *w;         /* the first block, for scales */
  size_t block_bytes;
} swerve_sums;

/* acc[rows, 16 blocks] = x[rows, inputs] against quantised blocks, for inputs begin ..< begin + inputs of the matrix: for
 * int8 the sums of x times levels, for 4-bit formats the groups' sums times their scales, added from first to last. */
typedef struct {
  const void *x;        /* A, at input `begin` */
  size_t x_stride;      /* bytes between rows */
  const char *w;        /* first block, from its first byte */
  size_t block_stride;  /* bytes between blocks */
  size_t begin, inputs; /* begin: a multiple of 32 and of the group; 4-bit: inputs too */
  float *acc;
  size_t acc_stride;    /* floats between rows */
  size_t rows, blocks;  /* rows: at most SWERVE_LEVEL_ROWS */
  int type, format;
  size_t group;
  const swerve_kernels *kernels;
  void *scratch;        /* SWERVE_LEVEL_SCRATCH bytes */
} swerve_levels;

/* acc[rows, 16 blocks] = int8 rows against blocks of 4-bit levels, all inputs: a group's whole numbers times its scale, from
 * the first group to the last. */
typedef struct {
  const char *x;       /* i8 [rows, inputs] */
  size_t x_stride;
  const char *w;       /* first block, from its first byte */
  size_t block_stride; /* bytes between blocks */
  size_t inputs, group;
  float *acc;
  size_t acc_stride;   /* floats between rows */
  size_t rows, blocks;
  void *scratch;       /* SWERVE_LEVEL_SCRATCH bytes */
} swerve_nibbles;

enum { SWERVE_LEVEL_ROWS = 192, SWERVE_LEVEL_SCRATCH = 128 << 10, SWERVE_LEVEL_STEPS = 256 };
/* The two products of attention. Keys and values come in groups of 16 tokens that lie anywhere, each of one piece:
 * `steps` of `step_stride` bytes. */
typedef struct {
  const void *x;
  size_t x_stride;           /* bytes between rows */
  const char *const *groups; /* [count + ahead] */
  size_t count, ahead;       /* of this product; of those read next, worth fetching */
  size_t steps;              /* of one group: pairs of 16-bit numbers, single f32 */
  size_t step_stride;        /* bytes */
  float *acc;
  size_t acc_stride;         /* floats between rows */
  size_t rows;
  size_t blocks;             /* of 16 columns, of a product with values */
  bool accumulate;           /* of a product with values */
  char *copy;                /* two groups */
} swerve_groups;

/* Eight-bit keys and values: a sign and the index of one of 128 magnitudes, all of them exact in bfloat16. */
typedef struct {
  uint8_t low[128], high[128]; /* bytes of the bfloat16 number of each index */
} swerve_codes;

/* acc [rows, blocks x 16] += sums x scales, the sums of one group; = where it is the first. Strides in floats. */
typedef struct {
  float *acc;
  size_t acc_stride;
  const float *sums;
  size_t sums_stride;
  const float *scales; /* blocks x 16 */
  size_t rows, blocks; /* blocks: at most 4 */
  bool first;
} swerve_scaled_sums;

struct swerve_kernels {
  swerve_multiply multiply[3];
  /* Levels of `steps` pairs of inputs as packed plain numbers of the type. `steps` is even, for 4 bits a multiple of 4. */
  void (*unpack[3])(void *out, const char *levels, int format, size_t steps);
  void (*multiply_levels[3])(const swerve_levels *levels);
  void (*add_scaled)(const swerve_scaled_sums *sums);
  /* Bytes against bytes, a step is four inputs; sums are i32. What `quantize` adds to each level of a row is taken off
   * again by `finish`. */
  swerve_multiply multiply_int8;
  int level_offset;
  void (*multiply_nibbles)(const swerve_nibbles *nibbles);
  /* Levels of a row, n of them, and its scale. */
  float (*quantize)(uint8_t *out, const float *x, size_t n, int offset);
  /* Adds the segments in their tree, scales, adds the bias, does the epilogue. May use `acc`. */
  void (*finish)(const swerve_sums *sums);
  /* Blocks of outputs that `multiply` likes at once, for up to two rows, for more and for many; and rows. */
  size_t panel_small, panel, panel_many, row_chunk;
  /* Pairs of inputs whose levels are unpacked at once for `multiply`: at most SWERVE_LEVEL_STEPS, f32 half of it. */
  size_t level_steps;
  /* Lines of a group of keys or values that are fetched ahead, the first ones; 0: all. */
  size_t fetched_lines;
  void (*widen[3])(float *out, const void *in, size_t n);
  void (*narrow[3])(void *out, const float *in, size_t n);
  float (*sum_squares)(const float *x, size_t n);
  void (*add)(float *out, const float *x, size_t n);                                   /* out += x */
  void (*scale)(float *x, float a, size_t n);                                          /* x *= a */
  void (*scale_weight)(float *out, const float *x, float a, const float *w, size_t n); /* out = x a w */
  void (*blend)(float *out, float a, const float *x, float b, size_t n);               /* out = out a + x b */
  void (*rotate)(float *low, float *high, const float *c, const float *s, size_t n);
  float (*maximum)(const float *x, size_t n);                                          /* NaN is ignored; n 0: -inf */
  void (*exp2)(float *x, size_t n);                                                    /* in place; x at most about 0 */
  /* out A = 2^(x scale - shift) by, where `by` may be NULL; the sum of the powers alone. */
  float (*soften[3])(void *out, const float *x, float scale, float shift, const float *by, size_t n);
  /* x *= by, both of at least n numbers; the largest, as `maximum`. */
  float (*scaled_maximum)(float *x, const float *by, size_t n);
  /* acc[rows, 16 count] = x[rows, k] w_g[k, 16]: a group's tokens are columns. */
  void (*score[3])(const swerve_groups *groups);
  /* acc[rows, 16 blocks] (+)= x[rows, 16 count] w[16 count, 16 blocks]: a group's tokens are rows, in order. */
  void (*weigh[3])(const swerve_groups *groups);
  /* The same for groups of codes and at most 8 rows, with the same bits; NULL where codes are unpacked first. A step of
   * `weigh_codes` is 4 tokens. */
  void (*score_codes)(const swerve_groups *groups, const swerve_codes *codes);
  void (*weigh_codes)(const swerve_groups *groups, const swerve_codes *codes);
  /* Cells of 4 x 4 codes to pairs in bfloat16: 8 bytes of each 16 to `low`, the others to `high`, 64 bytes of each a
   * chunk. */
  void (*unpack_codes)(char *low, char *high, size_t out_step, const uint8_t *in, size_t chunks, const swerve_codes *codes);
  /* [n] codes of x times `factor`, clamped to the format's largest. */
  void (*encode)(uint8_t *out, const float *x, float factor, int type, size_t n);
  float (*exp)(float x);
  int32_t (*argmax)(const float *x, size_t n, float *value);
  /* Sum of exp(x - shift), in double over the lanes' floats. */
  double (*sum_exp)(const float *x, float shift, size_t n);
  /* The same over numbers of at least `floor`. */
  double (*sum_exp_from)(const float *x, float shift, float floor, size_t n);
  /* How many numbers are at least `floor`; NaN never is. */
  size_t (*count_from)(const float *x, float floor, size_t n);
  /* Keys of the numbers that are at least `floor`, x[0] being `token`'s; see swerve_row_keys. */
  size_t (*keys_from)(uint64_t *keys, const float *x, float floor, uint32_t token, size_t n);
};

extern const swerve_kernels swerve_scalar_kernels;
void swerve_multiply_levels(const swerve_levels *levels);
#if SWERVE_X86
void swerve_avx2_fill(swerve_kernels *table);
void swerve_avx512_fill(swerve_kernels *table);
void swerve_avx512_finish(const swerve_sums *sums);
/* 16 whole rows of 16-bit numbers, `stride` bytes apart, into a block. */
void swerve_avx512_pack16(char *block, const char *source, size_t stride, size_t columns);
void swerve_avx512_multiply_f32(const swerve_tile *tile);
void swerve_avx512_multiply_bf16(const swerve_tile *tile);
void swerve_avx512_multiply_f16(const swerve_tile *tile);
void swerve_avx512_multiply_int8(const swerve_tile *tile);
void swerve_avx512_multiply_nibbles(const swerve_nibbles *nibbles);
void swerve_avx512bf16_multiply(const swerve_tile *tile);
void swerve_avx512_fill_levels(swerve_kernels *table, bool has_vbmi, bool has_vnni);
void swerve_avx512bf16_multiply_levels(const swerve_levels *levels);
void swerve_avx512_score_f32(const swerve_groups *groups);
void swerve_avx512_weigh_f32(const swerve_groups *groups);
void swerve_avx512bf16_score(const swerve_groups *groups);
void swerve_avx512bf16_weigh(const swerve_groups *groups);
float swerve_avx512bf16_soften(void *out, const float *x, float scale, float shift, const float *by, size_t n);
void swerve_avx512bf16_score_codes(const swerve_groups *groups, const swerve_codes *codes);
void swerve_avx512bf16_weigh_codes(const swerve_groups *groups, const swerve_codes *codes);
void swerve_avx512_softmax_fill(swerve_kernels *table);
void swerve_avx512vbmi_unpack_codes(
  char *low, char *high, size_t out_step, const uint8_t *in, size_t chunks, const swerve_codes *codes);
void swerve_amx_multiply(const swerve_tile *tile);
void swerve_amx_multiply_int8(const swerve_tile *tile);
void swerve_amx_multiply_nibbles(const swerve_nibbles *nibbles);
void swerve_amx_score(const swerve_groups *groups);
void swerve_amx_weigh(const swerve_groups *groups);
void swerve_amx_multiply_levels(const swerve_levels *levels);
uint64_t swerve_avx512_read(const char *memory, size_t bytes, int streams);
#endif
/* A core asks for 16 lines at a time, which is 5 GB/s where memory takes 200 ns. The prefetcher of its second-level cache
 * asks for three times as many, once the first lines of a page have told it to, and stays behind where all were asked for. */
enum { SWERVE_AMX_FETCHED_LINES = 16 };
void swerve_amx_emulated_multiply(const swerve_tile *tile);
void swerve_amx_emulated_multiply_int8(const swerve_tile *tile);
void swerve_amx_emulated_score(const swerve_groups *groups);
void swerve_amx_emulated_weigh(const swerve_groups *groups);

/* `score` and `weigh` of sets without their own. */
void swerve_groups_score(swerve_multiply multiply, const swerve_groups *groups);
void swerve_groups_weigh(swerve_multiply multiply, const swerve_groups *groups);

void swerve_codes_fill(void);
const swerve_codes *swerve_codes_of(int type);
/* What a head's numbers of one token are multiples of, a bfloat16 number, and the factor that `encode` takes for it.
 * All zero: 0. Infinities and NaN among them: NaN and 0. */
float swerve_codes_scale(const float *x, size_t n, int type, float *factor);

static inline size_t swerve_type_bytes(int type) { return type == SWERVE_FLOAT32 ? 4 : 2; }
static inline size_t swerve_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t swerve_round_up(size_t a, size_t b) { return (a + b - 1) / b * b; }

/* Bytes of one block of 16 outputs over `inputs`. */
static inline size_t swerve_block_bytes(size_t inputs, int type, int format, size_t group) {
  switch (format) {
  case SWERVE_INT8: return 64 + swerve_round_up(inputs, 32) * 16;
  case SWERVE_INT8_DYNAMIC: return 128 + swerve_round_up(inputs, 64) * 16;
  case SWERVE_INT4:
  case SWERVE_INT4_DYNAMIC:
  case SWERVE_NF4: return (inputs / group + 1) / 2 * 64 + inputs * 8;
  default: return type == SWERVE_FLOAT32 ? inputs * 64 : swerve_round_up(inputs, 32) * 32;
  }
}

static inline float swerve_bits_float(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static inline uint32_t swerve_float_bits(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  return bits;
}

#endif
