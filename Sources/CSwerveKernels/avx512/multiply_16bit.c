/* The matrix loop for 16-bit types without instructions of their own: weights and rows are widened into the first-level
 * cache a piece at a time, then the f32 loop runs over the piece. Widening is exact, so this is the f32 order over k. */
#include "../inner.h"

#if SWERVE_X86
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c"))), apply_to = function)

/* Pairs widened at once: 4 blocks x 64 pairs take 32 KiB. */
enum { PIECE = 64, BLOCKS = 4, ROWS = 6 };

#define INLINE static inline __attribute__((always_inline))

INLINE void widen_pair_bf16(float *even, float *odd, const void *pair) {
  const __m512i v = _mm512_loadu_si512(pair);
  _mm512_store_ps(even, _mm512_castsi512_ps(_mm512_slli_epi32(v, 16)));
  _mm512_store_ps(odd, _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32((int)0xffff0000))));
}

INLINE void widen_pair_f16(float *even, float *odd, const void *pair) {
  const __m512i v = _mm512_loadu_si512(pair);
  _mm512_store_ps(even, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)));
  _mm512_store_ps(odd, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(v, 16))));
}

INLINE __m512 widen_row_bf16(const void *x, __mmask16 mask) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x)), 16));
}

INLINE __m512 widen_row_f16(const void *x, __mmask16 mask) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, x));
}

INLINE void multiply(const swerve_tile *t, void (*pair)(float *, float *, const void *),
                     __m512 (*row)(const void *, __mmask16)) {
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
          _mm_prefetch(from + 4096, _MM_HINT_T0);
          pair(&w[i][k * 32], &w[i][k * 32 + 16], from);
        }
      }
      for (size_t r = 0; r < t->rows; r += ROWS) {
        const size_t rows = swerve_min(ROWS, t->rows - r);
        for (size_t i = 0; i < rows; i++) {
          const char *from = (const char *)t->x + (r + i) * t->x_stride + step * 4;
          for (size_t k = 0; k < steps * 2; k += 16) {
            const size_t n = swerve_min(16, steps * 2 - k);
            _mm512_store_ps(&x[i][k], row(from + k * 2, (__mmask16)((1u << n) - 1)));
          }
        }
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

void swerve_avx512_multiply_bf16(const swerve_tile *t) { multiply(t, widen_pair_bf16, widen_row_bf16); }
void swerve_avx512_multiply_f16(const swerve_tile *t) { multiply(t, widen_pair_f16, widen_row_f16); }

#pragma clang attribute pop
#endif
