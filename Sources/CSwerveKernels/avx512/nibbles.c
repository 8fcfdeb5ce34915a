/* Four-bit levels against rows of int8 by VPDPBUSD. A level and 8 is an unsigned byte, of which a line of 64 holds two
 * steps of four inputs by 16 outputs; the eights are taken off by the sum of the row's bytes. Up to 4 rows by 4 blocks
 * are held in registers; one or two rows take 8 blocks, as many streams of weights. */
#include "../levels.h"

#if SWERVE_X86
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c"))), \
  apply_to = function)

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/* Bytes fetched ahead of each block. */
enum { AHEAD = 1024 };

/* What the eights of a group add to a row's sums. */
INLINE __m512i eights(const char *x, size_t group) {
  __m512i sum = _mm512_setzero_si512();
  for (size_t k = 0; k < group; k += 64) {
    const __mmask64 m = group - k >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (group - k)) - 1;
    sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(8), _mm512_maskz_loadu_epi8(m, x + k));
  }
  return _mm512_set1_epi32(-_mm512_reduce_add_epi32(sum));
}

INLINE __m512i four_of(const char *x) {
  int four;
  memcpy(&four, x, 4);
  return _mm512_set1_epi32(four);
}

/* One group of R rows by B blocks. */
INLINE void group_of(
  const swerve_nibbles *n, const char *x, const char *w, size_t number, float *acc, const int R, const int B
) {
  const size_t xs = n->x_stride, bs = n->block_stride, as = n->acc_stride;
  const __m512i low = _mm512_set1_epi8(15), flip = _mm512_set1_epi8(8);
  __m512i a[4][8];
  UNROLL for (int r = 0; r < R; r++) {
    const __m512i start = eights(x + (size_t)r * xs, n->group);
    UNROLL for (int b = 0; b < B; b++) a[r][b] = start;
  }
  const char *levels = w + swerve_group_levels(number, n->group);
  for (size_t k = 0; k < n->group; k += 8, levels += 64) {
    UNROLL for (int b = 0; b < B; b++) {
      const char *line = levels + (size_t)b * bs;
      _mm_prefetch(line + AHEAD, _MM_HINT_T0);
      const __m512i both = _mm512_loadu_si512(line);
      const __m512i first = _mm512_xor_si512(_mm512_and_si512(both, low), flip);
      const __m512i second = _mm512_xor_si512(_mm512_and_si512(_mm512_srli_epi16(both, 4), low), flip);
      UNROLL for (int r = 0; r < R; r++) {
        a[r][b] = _mm512_dpbusd_epi32(a[r][b], first, four_of(x + (size_t)r * xs + k));
        a[r][b] = _mm512_dpbusd_epi32(a[r][b], second, four_of(x + (size_t)r * xs + k + 4));
      }
    }
  }
  UNROLL for (int b = 0; b < B; b++) {
    const char *scales = w + (size_t)b * bs + swerve_group_scales(number, n->group);
    const __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)scales));
    UNROLL for (int r = 0; r < R; r++) {
      float *to = acc + (size_t)r * as + b * 16;
      const __m512 old = number == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(to);
      _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(a[r][b]), scale, old));
    }
  }
}

INLINE void block(const swerve_nibbles *n, size_t row, size_t first, const int R, const int B) {
  const char *x = n->x + row * n->x_stride, *w = n->w + first * n->block_stride;
  float *acc = n->acc + row * n->acc_stride + first * 16;
  for (size_t number = 0; number < n->inputs / n->group; number++, x += n->group) group_of(n, x, w, number, acc, R, B);
}

#define ROWS(R, B) \
  case R: block(n, row, first, R, B); break

static void blocks_1(const swerve_nibbles *n, size_t row, size_t first, size_t rows) {
  switch (rows) { ROWS(1, 1); ROWS(2, 1); ROWS(3, 1); ROWS(4, 1); }
}
static void blocks_4(const swerve_nibbles *n, size_t row, size_t first, size_t rows) {
  switch (rows) { ROWS(1, 4); ROWS(2, 4); ROWS(3, 4); ROWS(4, 4); }
}
static void blocks_8(const swerve_nibbles *n, size_t row, size_t first, size_t rows) {
  switch (rows) { ROWS(1, 8); ROWS(2, 8); }
}

void swerve_avx512_multiply_nibbles(const swerve_nibbles *n) {
  for (size_t first = 0, blocks; first < n->blocks; first += blocks) {
    const size_t left = n->blocks - first;
    blocks = left >= 8 && n->rows <= 2 ? 8 : left >= 4 ? 4 : 1;
    for (size_t row = 0, rows; row < n->rows; row += rows) {
      rows = swerve_min(4, n->rows - row);
      switch (blocks) {
      case 8: blocks_8(n, row, first, rows); break;
      case 4: blocks_4(n, row, first, rows); break;
      default: blocks_1(n, row, first, rows); break;
      }
    }
  }
}

#pragma clang attribute pop
#endif
