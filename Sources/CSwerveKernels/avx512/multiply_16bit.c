/* The matrix loop for 16-bit types without instructions of their own: both sides are widened to f32, which is exact,
 * and added in the f32 loop's order over k. */
#include "../inner.h"

#if SWERVE_X86
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c"))), \
  apply_to = function)

/* Pairs widened at once: 4 blocks x 64 pairs take 32 KiB. Up to FEW rows widen weights in registers instead. */
enum { PIECE = 64, BLOCKS = 4, ROWS = 6, FEW = 18, FEW_PIECE = 128 };

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/* 16 pairs of outputs' weights into those of the even and those of the odd input. */
INLINE void split_bf16(const void *pair, __m512 *even, __m512 *odd) {
  const __m512i v = _mm512_loadu_si512(pair);
  *even = _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
  *odd = _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32((int)0xffff0000)));
}

INLINE void split_f16(const void *pair, __m512 *even, __m512 *odd) {
  const __m512i v = _mm512_loadu_si512(pair);
  *even = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
  *odd = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(v, 16)));
}

INLINE __m512 widen_row_bf16(const void *x, __mmask16 mask) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x)), 16));
}

INLINE __m512 widen_row_f16(const void *x, __mmask16 mask) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, x));
}

typedef void (*split)(const void *pair, __m512 *even, __m512 *odd);
typedef __m512 (*widen)(const void *x, __mmask16 mask);

/* Rows first ..< first + count, inputs of `pairs` pairs from `step`, in f32. */
INLINE void widen_rows(
  const swerve_tile *t, widen row, float *x, size_t stride, size_t first, size_t count, size_t step, size_t pairs
) {
  for (size_t i = 0; i < count; i++) {
    const char *from = (const char *)t->x + (first + i) * t->x_stride + step * 4;
    for (size_t k = 0; k < pairs * 2; k += 16) {
      const size_t n = swerve_min(16, pairs * 2 - k);
      _mm512_store_ps(x + i * stride + k, row(from + k * 2, (__mmask16)((1u << n) - 1)));
    }
  }
}

/* Many rows: weights are widened into the first-level cache, then the f32 loop runs over the piece. */
INLINE void multiply_many(const swerve_tile *t, split pair, widen row) {
  _Alignas(64) float w[BLOCKS][PIECE * 2 * 16];
  _Alignas(64) float x[ROWS][PIECE * 2];
  for (size_t b = 0; b < t->blocks; b += BLOCKS) {
    const size_t blocks = swerve_min(BLOCKS, t->blocks - b);
    size_t step = 0;
    do {
      const size_t steps = swerve_min(PIECE, t->steps - step);
      for (size_t i = 0; i < blocks; i++) {
        const char *from = (const char *)t->w + (b + i) * t->block_stride + step * t->step_stride;
        for (size_t k = 0; k < steps; k++, from += t->step_stride) {
          __m512 even, odd;
          _mm_prefetch(from + 4096, _MM_HINT_T0);
          pair(from, &even, &odd);
          _mm512_store_ps(&w[i][k * 32], even);
          _mm512_store_ps(&w[i][k * 32 + 16], odd);
        }
      }
      for (size_t r = 0; r < t->rows; r += ROWS) {
        const size_t rows = swerve_min(ROWS, t->rows - r);
        widen_rows(t, row, x[0], PIECE * 2, r, rows, step, steps);
        const swerve_tile piece = {
          .x = x, .x_stride = sizeof x[0], .w = w, .block_stride = sizeof w[0], .step_stride = 64, .steps = steps * 2,
          .acc = t->acc + r * t->acc_stride + b * 16, .acc_stride = t->acc_stride, .rows = rows, .blocks = blocks,
          .accumulate = t->accumulate || step > 0,
        };
        swerve_avx512_multiply_f32(&piece);
      }
      step += steps;
    } while (step < t->steps);
  }
}

/* R rows against B blocks, weights widened in registers: the same products in the same order. */
INLINE void few_block(
  const swerve_tile *t, split pair, const float *x, size_t row, size_t b0, size_t step, size_t steps, const int R,
  const int B
) {
  __m512 a[ROWS][BLOCKS];
  const size_t bs = t->block_stride;
  const char *w = (const char *)t->w + b0 * bs + step * t->step_stride;
  float *acc = t->acc + row * t->acc_stride + b0 * 16;
  const bool accumulate = t->accumulate || step > 0;
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++)
      a[r][b] = accumulate ? _mm512_loadu_ps(acc + (size_t)r * t->acc_stride + b * 16) : _mm512_setzero_ps();
  for (size_t k = 0; k < steps; k++, w += t->step_stride) {
    UNROLL for (int b = 0; b < B; b++) {
      __m512 even, odd;
      _mm_prefetch(w + (size_t)b * bs + 1024, _MM_HINT_T0);
      pair(w + (size_t)b * bs, &even, &odd);
      UNROLL for (int r = 0; r < R; r++) {
        a[r][b] = _mm512_fmadd_ps(_mm512_set1_ps(x[r * FEW_PIECE * 2 + (int)k * 2]), even, a[r][b]);
        a[r][b] = _mm512_fmadd_ps(_mm512_set1_ps(x[r * FEW_PIECE * 2 + (int)k * 2 + 1]), odd, a[r][b]);
      }
    }
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++) _mm512_storeu_ps(acc + (size_t)r * t->acc_stride + b * 16, a[r][b]);
}

#define FEW_ROWS(R) \
  case R: \
    for (; b + 4 <= end; b += 4) few_block(t, pair, x, row, b, step, steps, R, 4); \
    for (; b < end; b++) few_block(t, pair, x, row, b, step, steps, R, 1); \
    break

/* Up to FEW rows in up to three groups; a piece of 4 blocks stays in the first-level cache between them. */
INLINE void multiply_few(const swerve_tile *t, split pair, widen widen_row) {
  _Alignas(64) float all[FEW][FEW_PIECE * 2];
  const size_t groups = (t->rows + ROWS - 1) / ROWS;
  size_t step = 0;
  do {
    const size_t steps = swerve_min(FEW_PIECE, t->steps - step);
    widen_rows(t, widen_row, all[0], FEW_PIECE * 2, 0, t->rows, step, steps);
    for (size_t first = 0; first < t->blocks; first += BLOCKS) {
      const size_t end = swerve_min(first + BLOCKS, t->blocks);
      size_t row = 0;
      for (size_t g = 0; g < groups; g++) {
        const size_t rows = (t->rows - row) / (groups - g);
        const float *x = all[row];
        size_t b = first;
        switch (rows) {
          FEW_ROWS(1);
          FEW_ROWS(2);
          FEW_ROWS(3);
          FEW_ROWS(4);
          FEW_ROWS(5);
          FEW_ROWS(6);
        }
        row += rows;
      }
    }
    step += steps;
  } while (step < t->steps);
}

INLINE void multiply(const swerve_tile *t, split pair, widen row) {
  if (t->rows <= FEW)
    multiply_few(t, pair, row);
  else
    multiply_many(t, pair, row);
}

void swerve_avx512_multiply_bf16(const swerve_tile *t) { multiply(t, split_bf16, widen_row_bf16); }
void swerve_avx512_multiply_f16(const swerve_tile *t) { multiply(t, split_f16, widen_row_f16); }

#pragma clang attribute pop
#endif
