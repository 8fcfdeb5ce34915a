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
} swerve_tile;

typedef void (*swerve_multiply)(const swerve_tile *tile);

struct swerve_kernels {
  swerve_multiply multiply[3];
  /* Blocks of outputs that `multiply` likes at once, for up to two rows and for more. */
  size_t panel_small, panel;
  void (*widen[3])(float *out, const void *in, size_t n);
  void (*narrow[3])(void *out, const float *in, size_t n);
  float (*sum_squares)(const float *x, size_t n);
  void (*add)(float *out, const float *x, size_t n);                                   /* out += x */
  void (*scale)(float *x, float a, size_t n);                                          /* x *= a */
  void (*scale_weight)(float *out, const float *x, float a, const float *w, size_t n); /* out = x a w */
  void (*blend)(float *out, float a, const float *x, float b, size_t n);               /* out = out a + x b */
  void (*rotate)(float *low, float *high, const float *c, const float *s, size_t n);
  void (*silu_multiply)(float *out, const float *gate, const float *up, size_t n);
  float (*maximum)(const float *x, size_t n);                                          /* NaN is ignored; n 0: -inf */
  float (*exp_sum)(float *out, const float *x, float scale, float shift, size_t n);    /* out = exp(x scale - shift) */
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
#if SWERVE_X86
void swerve_avx512_fill(swerve_kernels *table);
void swerve_avx512_multiply_f32(const swerve_tile *tile);
void swerve_avx512_multiply_bf16(const swerve_tile *tile);
void swerve_avx512_multiply_f16(const swerve_tile *tile);
void swerve_avx512bf16_multiply(const swerve_tile *tile);
void swerve_amx_multiply(const swerve_tile *tile);
uint64_t swerve_avx512_read(const char *memory, size_t bytes, int streams);
#endif
void swerve_amx_emulated_multiply(const swerve_tile *tile);

static inline size_t swerve_type_bytes(int type) { return type == SWERVE_FLOAT32 ? 4 : 2; }
static inline size_t swerve_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t swerve_round_up(size_t a, size_t b) { return (a + b - 1) / b * b; }

/* Bytes of one block of 16 outputs over `inputs`. */
static inline size_t swerve_block_bytes(size_t inputs, int type) {
  return type == SWERVE_FLOAT32 ? inputs * 64 : swerve_round_up(inputs, 32) * 32;
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
