/* Quantised weights against bfloat16 rows by VDPBF16PS. A few rows take levels from packed bytes to numbers in
 * registers, one or two of them over 8 blocks, which reads 8 streams; more rows unpack a piece of 4 blocks into the
 * first-level cache once. Either way a group's, or all, pairs are added from first to last, then scaled by one fused
 * multiplication: the same bits for any number of rows. */
#include "../avx512/levels.h"

#if SWERVE_X86

#pragma clang attribute push( \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c,avx512bf16,avx512vbmi"))), apply_to = function)

enum { GROUP = 6, BLOCKS = 4, PAIRS = 64 };

/* Most rows that take levels to numbers in registers. */
enum { FEW_BYTES = 4, FEW_NIBBLES = 4 };

/* Bytes fetched ahead for a few rows. */
enum { AHEAD = 1024 };

INLINE __m512bh pair_of(const char *x) {
  int pair;
  memcpy(&pair, x, 4);
  return (__m512bh)_mm512_set1_epi32(pair);
}

/* 8-bit levels of R rows by B blocks over `steps` pairs, an even number, from zero or on top of the sums. */
INLINE void few8(
  const swerve_levels *s, const char *x, size_t x_stride, const char *w, size_t steps, float *acc, bool accumulate,
  const int R, const int B
) {
  __m512 a[4][8];
  const byte_tables tables = load_tables(0);
  const size_t bs = s->block_stride, as = s->acc_stride;
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++)
      a[r][b] = accumulate ? _mm512_loadu_ps(acc + (size_t)r * as + b * 16) : _mm512_setzero_ps();
  for (size_t k = 0; k < steps; k += 2, w += 64, x += 8) {
    UNROLL for (int b = 0; b < B; b++) {
      __m512i first, second;
      _mm_prefetch(w + (size_t)b * bs + AHEAD, _MM_HINT_T0);
      decode8(_mm512_loadu_si512(w + (size_t)b * bs), &tables, &first, &second);
      UNROLL for (int r = 0; r < R; r++)
        a[r][b] = _mm512_dpbf16_ps(a[r][b], pair_of(x + (size_t)r * x_stride), (__m512bh)first);
      UNROLL for (int r = 0; r < R; r++)
        a[r][b] = _mm512_dpbf16_ps(a[r][b], pair_of(x + (size_t)r * x_stride + 4), (__m512bh)second);
    }
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++) _mm512_storeu_ps(acc + (size_t)r * as + b * 16, a[r][b]);
}

INLINE __m512 scales_of(const char *block, size_t number, size_t group) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(block + swerve_group_scales(number, group))));
}

/* acc = sum x scale, on top of what is there unless it is the first group. */
INLINE void add_group(float *acc, __m512 sum, __m512 scale, bool first) {
  _mm512_storeu_ps(acc, _mm512_fmadd_ps(sum, scale, first ? _mm512_setzero_ps() : _mm512_loadu_ps(acc)));
}

/* 4-bit levels of R rows by B blocks, group after group. */
INLINE void few4(const swerve_levels *s, size_t block, const int R, const int B) {
  const __m512i table = _mm512_loadu_si512(swerve_levels_of.four16[0][swerve_four_index(s->format)]);
  const size_t bs = s->block_stride, as = s->acc_stride, xs = s->x_stride, group = s->group;
  const char *blocks = s->w + block * bs, *x = s->x;
  float *acc = s->acc + block * 16;
  for (size_t done = 0, number = s->begin / group; done < s->inputs; done += group, number++) {
    const char *w = blocks + swerve_group_levels(number, group);
    __m512 a[4][8];
    UNROLL for (int r = 0; r < R; r++)
      UNROLL for (int b = 0; b < B; b++) a[r][b] = _mm512_setzero_ps();
    for (size_t k = 0; k < group; k += 8, w += 64, x += 16) {
      UNROLL for (int b = 0; b < B; b++) {
        __m512i four[4];
        _mm_prefetch(w + (size_t)b * bs + AHEAD, _MM_HINT_T0);
        decode4(_mm512_loadu_si512(w + (size_t)b * bs), table, four);
        UNROLL for (int j = 0; j < 4; j++)
          UNROLL for (int r = 0; r < R; r++)
            a[r][b] = _mm512_dpbf16_ps(a[r][b], pair_of(x + (size_t)r * xs + j * 4), (__m512bh)four[j]);
      }
    }
    UNROLL for (int b = 0; b < B; b++) {
      const __m512 scale = scales_of(blocks + (size_t)b * bs, number, group);
      UNROLL for (int r = 0; r < R; r++)
        add_group(acc + (size_t)r * as + b * 16, a[r][b], scale, done == 0);
    }
  }
}

/* What will be unpacked next, fetched while this piece is multiplied: so many bytes of each of 4 blocks for 4 pairs. */
typedef struct {
  const char *levels;
  size_t block_stride, bytes;
} coming;

/* B unpacked blocks, 4 KiB apart, against R rows: added to the sums as they are, or scaled as one group. */
INLINE void many(
  const char *x, size_t x_stride, const char *plain, size_t pairs, float *acc, size_t acc_stride, const __m512 *scales,
  bool first, const coming *next, const int R, const int B
) {
  __m512 a[6][4];
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++)
      a[r][b] = scales || first ? _mm512_setzero_ps() : _mm512_loadu_ps(acc + (size_t)r * acc_stride + b * 16);
  for (size_t k = 0; k < pairs; k++, plain += 64, x += 4) {
    __m512bh v[4];
    if (next) {
      /* Four blocks' lines come evenly over the pairs. */
      const char *line = next->levels + (k & 3) * next->block_stride + k / 4 * next->bytes;
      _mm_prefetch(line, _MM_HINT_T0);
      if (next->bytes == 128) _mm_prefetch(line + 64, _MM_HINT_T0);
    }
    UNROLL for (int b = 0; b < B; b++) v[b] = (__m512bh)_mm512_load_si512(plain + b * PAIRS * 64);
    UNROLL for (int r = 0; r < R; r++) {
      const __m512bh pair = pair_of(x + (size_t)r * x_stride);
      UNROLL for (int b = 0; b < B; b++) a[r][b] = _mm512_dpbf16_ps(a[r][b], pair, v[b]);
    }
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++) {
      float *sum = acc + (size_t)r * acc_stride + b * 16;
      if (scales)
        add_group(sum, a[r][b], scales[b], first);
      else
        _mm512_storeu_ps(sum, a[r][b]);
    }
}

/* What of a matrix is in the first-level cache: up to 4 blocks of some pairs. */
typedef struct {
  _Alignas(64) char plain[BLOCKS][PAIRS * 64];
} piece;

#define MANY(R) \
  case R: \
    if (blocks == 4) many(from, x_stride, p->plain[0], pairs, acc, s->acc_stride, scales, first, g == 0 ? next : NULL, R, 4); \
    else \
      for (size_t b = 0; b < blocks; b++) \
        many( \
          from, x_stride, p->plain[b], pairs, acc + b * 16, s->acc_stride, scales ? scales + b : NULL, first, NULL, R, 1); \
    break

/* Unpacks `pairs` of each block and takes all rows over them, in groups of at most 6 of even size. */
static void many_rows(
  const swerve_levels *s, const char *x, size_t x_stride, size_t block, size_t blocks, size_t levels, size_t pairs,
  const __m512 *scales, bool first, const coming *next
) {
  piece *p = s->scratch;
  for (size_t b = 0; b < blocks; b++)
    s->kernels->unpack[SWERVE_BFLOAT16](
      p->plain[b], s->w + (block + b) * s->block_stride + levels, s->format, pairs);
  const size_t groups = (s->rows + GROUP - 1) / GROUP;
  for (size_t g = 0, row = 0, rows; g < groups; g++, row += rows) {
    rows = (s->rows - row) / (groups - g);
    const char *from = x + row * x_stride;
    float *acc = s->acc + row * s->acc_stride + block * 16;
    switch (rows) { MANY(1); MANY(2); MANY(3); MANY(4); MANY(5); MANY(6); }
  }
}

static void multiply_many4(const swerve_levels *s, size_t block, size_t blocks) {
  const size_t group = s->group;
  for (size_t done = 0, number = s->begin / group; done < s->inputs; done += group, number++) {
    __m512 scales[BLOCKS];
    for (size_t b = 0; b < blocks; b++) scales[b] = scales_of(s->w + (block + b) * s->block_stride, number, group);
    /* After the last group the next panel's first. */
    const bool last = done + group >= s->inputs;
    const coming next = {
      s->w + (block + (last ? blocks : 0)) * s->block_stride +
        swerve_group_levels(last ? s->begin / group : number + 1, group),
      s->block_stride, 64,
    };
    many_rows(
      s, (const char *)s->x + done * 2, s->x_stride, block, blocks, swerve_group_levels(number, group), group / 2, scales,
      done == 0, &next);
  }
}

/* The last one to three inputs of each row, with zeros: what lies beyond a row is not ours to read. */
static const char *rest_of_rows(const swerve_levels *s, size_t pairs) {
  uint16_t (*tail)[4] = (void *)((char *)s->scratch + sizeof(piece));
  memset(tail, 0, s->rows * sizeof tail[0]);
  for (size_t r = 0; r < s->rows; r++)
    memcpy(tail[r], (const char *)s->x + r * s->x_stride + pairs * 4, s->inputs % 4 * 2);
  return (const char *)tail;
}

static void multiply_many8(const swerve_levels *s, size_t block, size_t blocks) {
  const size_t pairs = s->inputs / 4 * 2, levels = 64 + s->begin * 16;
  for (size_t done = 0; done < pairs; done += PAIRS) {
    const bool last = done + PAIRS >= pairs;
    const coming next = {
      s->w + (block + (last ? blocks : 0)) * s->block_stride + levels + (last ? 0 : done + PAIRS) * 32, s->block_stride,
      128,
    };
    many_rows(
      s, (const char *)s->x + done * 4, s->x_stride, block, blocks, levels + done * 32, swerve_min(PAIRS, pairs - done),
      NULL, done == 0, &next);
  }
  if (s->inputs % 4)
    many_rows(s, rest_of_rows(s, pairs), 8, block, blocks, levels + pairs * 32, 2, NULL, pairs == 0, NULL);
}

#define FEW4(R, B) \
  case R: few4(s, block, R, B); break

static void multiply_few4(const swerve_levels *s, size_t block, size_t blocks) {
  if (blocks == 8) {
    switch (s->rows) { FEW4(1, 8); FEW4(2, 8); }
  } else if (blocks == 4) {
    switch (s->rows) { FEW4(1, 4); FEW4(2, 4); FEW4(3, 4); FEW4(4, 4); }
  } else {
    switch (s->rows) { FEW4(1, 1); FEW4(2, 1); FEW4(3, 1); FEW4(4, 1); }
  }
}

#define FEW8(R, B) \
  case R: few8(s, x, x_stride, w, steps, acc, accumulate, R, B); break

static void multiply_few8(
  const swerve_levels *s, size_t block, size_t blocks, const char *x, size_t x_stride, size_t step, size_t steps,
  bool accumulate
) {
  const char *w = s->w + block * s->block_stride + 64 + (s->begin / 2 + step) * 32;
  float *acc = s->acc + block * 16;
  if (blocks == 8) {
    switch (s->rows) { FEW8(1, 8); FEW8(2, 8); }
  } else if (blocks == 4) {
    switch (s->rows) { FEW8(1, 4); FEW8(2, 4); FEW8(3, 4); FEW8(4, 4); }
  } else {
    switch (s->rows) { FEW8(1, 1); FEW8(2, 1); FEW8(3, 1); FEW8(4, 1); }
  }
}

static void few8_with_rest(const swerve_levels *s, size_t block, size_t blocks) {
  const size_t pairs = s->inputs / 4 * 2;
  multiply_few8(s, block, blocks, s->x, s->x_stride, 0, pairs, false);
  if (s->inputs % 4) multiply_few8(s, block, blocks, rest_of_rows(s, pairs), 8, pairs, 2, true);
}

void swerve_avx512bf16_multiply_levels(const swerve_levels *s) {
  const bool bytes = s->format == SWERVE_INT8, few = s->rows <= (bytes ? FEW_BYTES : FEW_NIBBLES);
  for (size_t b = 0, blocks; b < s->blocks; b += blocks) {
    const size_t left = s->blocks - b;
    blocks = left >= 8 && s->rows <= 2 ? 8 : left >= 4 ? 4 : few ? 1 : left;
    if (bytes)
      (few ? few8_with_rest : multiply_many8)(s, b, blocks);
    else
      (few ? multiply_few4 : multiply_many4)(s, b, blocks);
  }
}

#pragma clang attribute pop
#endif
