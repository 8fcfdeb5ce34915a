/* Arithmetic of the CPU device: one task function for each operation, over a plain job struct; behind them one table of
 * inner loops for each instruction set. It must not allocate, start threads, keep state or know a model.
 * Start here, then operations/linear.c, then scalar/ (the reference of every inner loop) and dispatch.c. */
#ifndef SWERVE_KERNELS_H
#define SWERVE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Element types of weights, activations, keys and values. */
enum { SWERVE_FLOAT32 = 0, SWERVE_BFLOAT16 = 1, SWERVE_FLOAT16 = 2 };
/* Further types of keys and values alone: codes of eight bits with a scale for each token and head. */
enum { SWERVE_KV_INT8 = 3, SWERVE_FP8_E4M3 = 4, SWERVE_FP8_E5M2 = 5 };

/* How weights are stored: plain numbers of a type; levels of 8 or 4 bits that become numbers of the activations' type,
 * with f32 scales an output, or binary16 scales an output and group of inputs; levels of 8 or 4 bits against rows of int8. */
enum {
  SWERVE_PLAIN = 0, SWERVE_INT8 = 1, SWERVE_INT4 = 2, SWERVE_NF4 = 3, SWERVE_INT8_DYNAMIC = 4, SWERVE_INT4_DYNAMIC = 5
};

/* Kernel sets. Results of two sets differ by rounding, but for AVX2, which has SCALAR's bits; within one set they are the same bits for any number of rows,
 * place of a row, and number of threads. */
enum {
  SWERVE_SCALAR = 0,       /* plain C, any architecture */
  SWERVE_AVX2 = 1,         /* SCALAR in 256-bit vectors, with its bits; 16-bit types are widened */
  SWERVE_AVX512 = 2,       /* f32 FMA; 16-bit types are widened */
  SWERVE_AVX512BF16 = 3,   /* AVX512 with VDPBF16PS for bfloat16 */
  SWERVE_AMX = 4,          /* AVX512 with TDPBF16PS for bfloat16 */
  SWERVE_AMX_EMULATED = 5, /* the AMX code over tiles in plain C, with the instruction's rounding */
  SWERVE_KERNEL_SETS = 6
};

/* Inner loops of one set; opaque outside this target. */
typedef struct swerve_kernels swerve_kernels;

/* The set's table, or NULL where this build or this CPU has not got it. Idempotent, any thread; for AMX it asks the
 * operating system for permission to use tile registers, once, for the whole process. */
const swerve_kernels *swerve_kernels_for(int set);

/* Scratch that each worker must hand to a task: 64-byte aligned. */
#define SWERVE_SCRATCH_BYTES ((size_t)768 << 10)
/* Behind it, for swerve_head_task: one piece of logits of 64 rows. */
#define SWERVE_PANEL_BYTES ((size_t)256 << 10)

/* Every task computes units begin ..< end of its job, using `scratch` of the calling worker alone. Units are
 * independent: any split over any threads gives the same bits. */

/* ---- matrix products ------------------------------------------------------------------------------------------ */

/* Packed weights W of N outputs and K inputs in blocks of 16 outputs.
 *   16-bit: [N/16][K/32][16 pairs of inputs][16 outputs x 2], zero-filled to whole tiles of 1 KiB
 *   f32:    [N/16][K][16], zero-filled to whole blocks of outputs
 *   int8:   per block [16 f32 scales], then [K/32] tiles of 8 x 64 sign-magnitude bytes. 64 bytes are two pairs of
 *           inputs by 16 outputs: output o and input i of a pair are word w = 2 o + i, whose byte lies at
 *           w / 8 * 16 + w % 8 for the first pair and 8 beyond for the second
 *   4-bit:  per block and two groups [2][16 binary16 scales], then each group's [group/8][16 outputs x 2] words of 16
 *           bits, with the j-th of four pairs of inputs in nibble j; a nibble is a two's complement level or the
 *           number of a NormalFloat. A last single group follows a whole line of scales as well
 *   int8 dynamic: per block [16 f32 scales][16 i32 sums of levels], then [K/64] tiles of [16][16 outputs x 4]
 *           two's complement bytes
 *   int4 dynamic: scales as 4-bit; each group's [group/8][16 outputs x 4] bytes, with the first four of eight inputs in
 *           the low nibbles and the others in the high ones, two's complement */

enum {
  SWERVE_OUT_F32 = 0,  /* y f32 [rows, N]  = x W^T + bias */
  SWERVE_OUT_TYPE = 1, /* y A   [rows, N] */
  SWERVE_OUT_ADD = 2,  /* y f32 [rows, N] += */
  SWERVE_OUT_SILU = 3, /* y A   [rows, N/2]: silu(gate) * up; blocks 2i of W are gate, 2i+1 up */
  SWERVE_OUT_SUMS = 4  /* y f32 [rows, N]: the tree of segments alone, without scales of int8 and without bias */
};

typedef struct {
  const swerve_kernels *kernels;
  const void *x;      /* A [rows, inputs] */
  size_t x_stride;    /* elements between rows */
  const void *w;      /* packed; plain: of type A */
  const float *bias;  /* [N rounded up to 16] or NULL */
  void *y;
  size_t y_stride;    /* elements between rows */
  size_t rows;
  size_t inputs;      /* K */
  size_t outputs;     /* columns of y */
  int type;           /* A */
  int epilogue;       /* SWERVE_OUT_* */
  int segments;       /* 1, 2, 4 or 8 equal cuts of K, summed pairwise in a fixed tree */
  int format;         /* SWERVE_PLAIN ... */
  size_t group;       /* 4-bit: inputs that share a scale, 32, 64 or 128 */
  /* Dynamic formats, from swerve_quantize_rows_task: x as bytes, [rows][inputs rounded up to 64], and f32 [rows]. */
  const void *levels;
  const float *row_scales;
} swerve_linear_job;

/* Units: blocks of 16 columns of y. int8 dynamic sums whole numbers over all of K, whatever the segments; int4
 * dynamic whole numbers over each group, and groups from first to last. */
void swerve_linear_task(const void *job, size_t begin, size_t end, void *scratch);

/* Rows from which on the sets with a matrix unit take wider panels. */
enum { SWERVE_MANY_ROWS = 128 };

/* Units that are worked on together: what a range should be a multiple of. */
size_t swerve_linear_panel(const swerve_linear_job *job);

typedef struct {
  const swerve_kernels *kernels;
  const void *x;      /* A [rows, inputs] */
  size_t x_stride;    /* elements between rows */
  int type;           /* A */
  size_t inputs;
  int format;         /* of the weights that the rows will meet */
  void *levels;       /* [rows][inputs rounded up to 64]: in the form the set's products take */
  float *row_scales;  /* [rows]: largest magnitude / 127; NaN for a row that is not finite */
} swerve_quantize_rows_job;

/* Units: rows. Level = x x 127 / largest magnitude, nearest even; the same for every kernel set. */
void swerve_quantize_rows_task(const void *job, size_t begin, size_t end, void *scratch);

/* What ranks do with the SWERVE_OUT_SUMS of their shares of K. */
typedef struct {
  const swerve_kernels *kernels;
  float *sums;        /* f32 [rows, columns] */
  size_t sums_stride; /* elements between rows */
  const void *other;  /* [rows, columns] */
  size_t other_stride;
  int other_type;
  size_t columns;
} swerve_add_job;

/* Units: rows. sums += other. */
void swerve_add_task(const void *job, size_t begin, size_t end, void *scratch);

typedef struct {
  const swerve_kernels *kernels;
  float *sums;        /* f32 [rows, columns], overwritten */
  size_t sums_stride;
  const void *blocks; /* int8: blocks of 16 outputs, which begin with their scales; else NULL */
  size_t block_bytes;
  const float *bias;  /* [columns] or NULL */
  float *y;           /* f32 [rows, columns] */
  size_t y_stride;
  size_t columns;
} swerve_accumulate_job;

/* Units: rows. y += sums times scales plus bias: the bits of SWERVE_OUT_ADD over all of K, when `sums` are those of its
 * tree. */
void swerve_accumulate_task(const void *job, size_t begin, size_t end, void *scratch);

typedef struct {
  uint32_t *words;       /* [count] |= other */
  const uint32_t *other;
} swerve_merge_job;

/* Units: words. Joins numbers of which all but one are zero bits. */
void swerve_merge_task(const void *job, size_t begin, size_t end, void *scratch);

/* ---- packing -------------------------------------------------------------------------------------------------- */

typedef struct {
  const void *source;    /* [rows, row_columns] row-major; NULL: seeded random numbers */
  int source_type;
  size_t source_stride;  /* elements between rows */
  void *packed;          /* whole packed matrix */
  int type;
  size_t rows, columns;  /* of the source that are packed: outputs, inputs */
  /* The inputs packed are first_column ..< first_column + columns of row_columns: scales of whole rows are those of all
   * of them. Random numbers are those of rows source_row ... of the whole matrix. */
  size_t first_column, row_columns, source_row;
  size_t first_block;    /* block of the packed matrix for the source's first 16 rows */
  size_t block_step;     /* 1, or 2 when two sources are interleaved */
  size_t first_row;      /* row of the packed matrix for the source's first row, when stacked densely; block_step 1 */
  uint64_t seed;         /* random: value depends on seed, row and column alone */
  float scale;           /* random: standard deviation */
  int format;            /* SWERVE_PLAIN ... */
  size_t group;          /* 4-bit: inputs that share a scale */
} swerve_pack_job;

/* Units: blocks of 16 rows of the packed matrix that the source touches, from the block of first_row. */
void swerve_pack_task(const void *job, size_t begin, size_t end, void *scratch);

/* Fills f32 [units] with `scale` x uniform noise of unit variance from (seed, index). For tests and dummy biases. */
void swerve_random_f32(float *out, size_t count, uint64_t seed, float scale);

/* ---- rows ----------------------------------------------------------------------------------------------------- */

typedef struct {
  const swerve_kernels *kernels;
  const int32_t *index;  /* [rows] row of the table */
  const void *table;     /* [.., columns] row-major, or packed */
  int type;              /* of the table */
  bool packed;
  size_t table_stride;   /* elements between rows; packed: inputs K */
  int format;            /* of a packed table */
  size_t group;
  size_t columns;
  float *out;            /* f32 [rows, columns] */
  size_t out_stride;
} swerve_embed_job;

/* Units: rows of out. */
void swerve_embed_task(const void *job, size_t begin, size_t end, void *scratch);

typedef struct {
  const swerve_kernels *kernels;
  float *residual;     /* f32 [rows, columns]; += delta when delta is not NULL */
  size_t residual_stride;
  const float *delta;  /* f32 [rows, columns] or NULL */
  size_t delta_stride;
  const float *weight; /* [columns] */
  float epsilon;
  void *y;             /* A [rows, columns] = residual / sqrt(mean(residual^2) + epsilon) * weight */
  size_t y_stride;
  int type;
  size_t columns;      /* at most 65,536 */
} swerve_norm_job;

/* Units: rows. */
void swerve_norm_task(const void *job, size_t begin, size_t end, void *scratch);

typedef struct {
  const void *source;
  size_t source_stride;  /* bytes */
  const int32_t *index;  /* [units] source row */
  void *out;
  size_t out_stride;     /* bytes */
  size_t row_bytes;
} swerve_gather_job;

/* Units: rows of out. */
void swerve_gather_task(const void *job, size_t begin, size_t end, void *scratch);

typedef struct {
  const swerve_kernels *kernels;
  const void *source;
  int source_type;
  size_t source_stride;
  void *out;
  int type;
  size_t out_stride;
  size_t columns;
} swerve_convert_job;

/* Units: rows. Round to nearest even. */
void swerve_convert_task(const void *job, size_t begin, size_t end, void *scratch);

/* ---- logits --------------------------------------------------------------------------------------------------- */

/* Tokens of one piece of a row: the unit of its statistics. */
#define SWERVE_PIECE 1024

enum { SWERVE_WANTS_NOTHING = 0, SWERVE_WANTS_MAXIMA = 1, SWERVE_WANTS_SUMS = 2 };

/* What is wanted of one row. */
typedef struct {
  float factor;   /* multiplies the row first, in place; 1: the row stays */
  int32_t wanted; /* SWERVE_WANTS_*: nothing (the factor is ignored), maxima and places, these and sums */
} swerve_row_request;

/* Statistics of rows by piece, each [rows, pieces]. A row's last piece may be shorter. */
typedef struct {
  size_t pieces;
  int32_t *places;  /* of the maximum inside the piece, the lowest among equals; NaN counts as -infinity */
  float *maxima;
  float *log_sums;  /* ln sum exp; -infinity where the maximum is */
} swerve_statistics;

typedef struct {
  const swerve_kernels *kernels;
  float *logits;                      /* f32 [rows, columns] */
  size_t stride, columns;
  const swerve_row_request *requests; /* [rows] */
  swerve_statistics statistics;
} swerve_statistics_job;

/* Units: rows x pieces, piece fastest. */
void swerve_statistics_task(const void *job, size_t begin, size_t end, void *scratch);

/* A product of rows with the output head, and the statistics of each piece while it is in the cache. linear.y is not
 * written when `keeps` is false; else it holds the rows, multiplied by their factors. The epilogue is SWERVE_OUT_F32. */
typedef struct {
  swerve_linear_job linear;
  const swerve_row_request *requests; /* [rows] */
  swerve_statistics statistics;
  bool keeps;
} swerve_head_job;

/* Units: pieces. Scratch: SWERVE_SCRATCH_BYTES + SWERVE_PANEL_BYTES. The same bits as swerve_linear_task followed by
 * swerve_statistics_task. */
void swerve_head_task(const void *job, size_t begin, size_t end, void *scratch);

/* ---- one row of logits, on the calling thread ------------------------------------------------------------------- */

/* Pieces whose maximum shows that they hold nothing of interest are not read. */
typedef struct {
  const swerve_kernels *kernels;
  const float *logits;   /* [columns] */
  size_t columns;
  const float *maxima;   /* [pieces] */
} swerve_row;

/* Tokens in the exact order of sampling, larger logit first and lower token among equals, down to a place in it: those
 * with a logit above `value`, and among those equal to it the ones below `token`. */
typedef struct {
  float value; /* more than -infinity */
  size_t token;
} swerve_bound;

/* Writes the key of every token with a logit of at least `floor` > -infinity, in token order; returns how many. A key is
 * the logit in an order-preserving form above, the complement of the token below. `keys` has room for all columns. */
size_t swerve_row_keys(const swerve_row *row, float floor, uint64_t *keys);

/* How many tokens stand before the bound. */
size_t swerve_row_count(const swerve_row *row, swerve_bound bound);

/* masses[piece] = sum of exp(logit - shift) of the tokens before the bound; returns their sum in the pieces' order. */
double swerve_row_masses(const swerve_row *row, swerve_bound bound, float shift, double *masses);

/* Walks the tokens of a piece that are before the bound and returns the first at which their masses exceed `left`, the
 * last of them with a mass where they do not; -1 where none has one. */
int64_t swerve_row_find(const swerve_row *row, swerve_bound bound, float shift, size_t piece, double left);

/* ---- keys, values, attention ---------------------------------------------------------------------------------- */

/* Keys and values of one layer and block, B tokens of a multiple of 16, D head_dim even:
 *   16-bit: K [kv_head][B/16][D/2][16 tokens x 2], V [kv_head][B/2][D][2]; V follows K
 *   f32:    K [kv_head][B/16][D][16],              V [kv_head][B][D]; V follows K
 *   8-bit:  [kv_head] of K [B/16][D/4][4][4 x 4], V [B/4][D/4][4 x 4], K scales [B], V scales [B]; D a multiple of 4
 * A code is a sign and a magnitude: 0 ... 127, or a float of 8 bits without its infinities and NaN. A cell of 4 tokens
 * x 4 dimensions is two pairs, [2][4][2]: of K two dimensions for each of 4 tokens, of V two tokens for each of 4
 * dimensions. A scale is bfloat16.
 * The allocation must be readable 64 bytes beyond its end. */
typedef struct {
  void *base;          /* block 0 of the layer */
  size_t block_bytes;  /* between blocks */
  size_t block_tokens;
  size_t kv_heads, head_dim;
  int type;            /* T */
  /* Blocks `device_blocks` ..< `staged_first` lie in host memory, those from `staged_first` on in the staging ring:
   * read only, the same bytes at another place. */
  int32_t device_blocks, staged_first;
  const void *host;    /* this layer of block device_blocks */
  size_t host_bytes;   /* between blocks */
  const void *staged;  /* block staged_first, of this layer while it is attended to */
  size_t staged_bytes;
} swerve_kv_layer;

static inline size_t swerve_kv_block_bytes(int type, size_t kv_heads, size_t block_tokens, size_t head_dim) {
  const size_t numbers = 2 * kv_heads * block_tokens * head_dim;
  if (type >= SWERVE_KV_INT8) return numbers + 4 * kv_heads * block_tokens;
  return numbers * (type == SWERVE_FLOAT32 ? 4 : 2);
}

/* The type that attention computes in: the cache's own, or bfloat16 where that has eight bits. */
static inline int swerve_kv_compute_type(int type) { return type >= SWERVE_KV_INT8 ? SWERVE_BFLOAT16 : type; }

typedef struct {
  const swerve_kernels *kernels;
  swerve_kv_layer cache;
  const void *k, *v;      /* A [rows, kv_heads x head_dim] */
  size_t k_stride, v_stride;
  int type;               /* A */
  const int64_t *slots;   /* [rows] block x block_tokens + token in block; negative: not written */
} swerve_kv_write_job;

/* Units: rows. Numbers are rounded to the cache's type; eight-bit codes depend on the row's own numbers alone. */
void swerve_kv_write_task(const void *job, size_t begin, size_t end, void *scratch);

typedef struct {
  const swerve_kernels *kernels;
  const float *qkv;     /* f32 [rows, (query_heads + 2 kv_heads) head_dim] */
  size_t qkv_stride;
  const float *cosines; /* f32 [rows, rotary_dim / 2] */
  const float *sines;
  size_t angle_stride;
  const float *q_norm;  /* [head_dim] or NULL: RMS norm of each head before rotation */
  const float *k_norm;
  float epsilon;
  void *q, *k, *v;      /* A [rows, heads x head_dim] */
  size_t q_stride, k_stride, v_stride;
  int type;
  size_t query_heads, kv_heads, head_dim, rotary_dim;
  const swerve_kv_write_job *write; /* of these k and v, row by row; NULL: somebody else does */
} swerve_rotate_job;

/* Units: rows. Rotates (i, i + rotary_dim / 2), the half-split form; the rest of a head passes unchanged. */
void swerve_rotate_task(const void *job, size_t begin, size_t end, void *scratch);

/* Tokens of one partition of a sequence, counted from position 0 of the sequence. */
#define SWERVE_PARTITION_TOKENS 256
/* Most (query token, head of the group) pairs in one tile. */
#define SWERVE_QUERY_TILE 32

/* A tile of queries of one sequence against a range of its partitions. Query pair p is token p / group of the step and
 * head p % group of the KV head's group. */
typedef struct {
  int32_t first_row;       /* the sequence's first row in q and o */
  int32_t context_tokens;  /* position of that row */
  int32_t first_block;     /* in the block table */
  int32_t query_begin, query_end;
  int32_t partition_begin, partition_end;
  int32_t partial;         /* first partial record of the tile, or -1: o is written at once */
  int32_t tile_partitions; /* partitions of the whole tile, for the address of a partial */
  int32_t tile_partition_begin;
  /* Where a tile meets its partitions in several passes: the first record, one a KV head and query as a partial, of its
   * maxima, sums and outputs so far; -1: one pass. The first pass does not read them, and the last one writes o instead. */
  int32_t state;
  bool is_first, is_last;
} swerve_attention_item;

typedef struct {
  const swerve_kernels *kernels;
  swerve_kv_layer cache;
  const void *q;            /* A [rows, query_heads x head_dim] */
  size_t q_stride;
  void *o;                  /* A, same shape */
  size_t o_stride;
  int type;                 /* A; queries are rounded to the type that attention computes in */
  size_t query_heads;
  const int32_t *blocks;    /* block tables */
  const swerve_attention_item *items;
  float *partials;          /* records of swerve_partial_floats(head_dim) */
  float *states;            /* such records, of tiles that take several passes */
  float scale;              /* > 0 */
  int32_t window;           /* a token sees itself and the window - 1 before it; 0: all before it */
} swerve_attention_job;

/* Units: items x kv_heads, KV head fastest. Masked tokens have a weight of exactly zero. */
void swerve_attention_task(const void *job, size_t begin, size_t end, void *scratch);
/* Units as above over items of whole tiles: merges their partials in index order and writes o. */
void swerve_attention_merge_task(const void *job, size_t begin, size_t end, void *scratch);

/* Floats of one partial: [maximum, sum, ..14 unused.., output[head_dim rounded up to 16]]. */
static inline size_t swerve_partial_floats(size_t head_dim) { return 16 + ((head_dim + 15) & ~(size_t)15); }

/* ---- checksums ------------------------------------------------------------------------------------------------ */

/* 64 bits of any bytes, the same on every machine of this byte order. */
uint64_t swerve_checksum(const void *bytes, size_t count);

typedef struct {
  const void *bytes;
  size_t count;
  size_t piece;    /* bytes of a unit */
  uint64_t *sums;  /* [units]: each piece's checksum */
} swerve_checksum_job;

/* Units: pieces. */
void swerve_checksum_task(const void *job, size_t begin, size_t end, void *scratch);

/* ---- what the machine can do ---------------------------------------------------------------------------------- */

typedef struct {
  const void *memory;   /* bytes_per_unit x units */
  size_t bytes_per_unit;
  int streams;          /* read at once, evenly spread over a task's range: 1 ... 16 */
  uint64_t *sink;       /* [1] defeats the optimiser */
} swerve_read_job;

/* Units: pieces of memory, summed as integers with the widest loads of this CPU. */
void swerve_read_task(const void *job, size_t begin, size_t end, void *scratch);

typedef struct {
  const swerve_kernels *kernels;
  int type;
  size_t repeats;
  bool bytes; /* int8 by int8, whatever the type */
} swerve_peak_job;

/* Units: arbitrary; each does swerve_peak_operations(job) floating-point operations out of the first-level cache with
 * the set's matrix loop for the type. */
void swerve_peak_task(const void *job, size_t begin, size_t end, void *scratch);
double swerve_peak_operations(const swerve_peak_job *job);

#ifdef __cplusplus
}
#endif
#endif
