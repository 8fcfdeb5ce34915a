/* Products of rows of int8 with levels of 8 and 4 bits: whole numbers, which are exact in any order. */
#include "avx2.h"

#if SWERVE_X86
#pragma STDC FP_CONTRACT OFF

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

enum { BYTE_ROWS = 2, NIBBLE_ROWS = 4 };

INLINE int four_of(const char *x) {
  int four;
  memcpy(&four, x, 4);
  return four;
}

/* Sums of 8 outputs from those of the halves of each: 4 outputs in `a`, 4 in `b`. */
INLINE __m256i joined(__m256i a, __m256i b) { return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8); }

/* R rows against a block of 16 outputs: four inputs of four outputs at a time, as 16-bit numbers. */
INLINE void multiply_bytes(const swerve_tile *t, size_t row, size_t block, const int R) {
  const char *x = (const char *)t->x + row * t->x_stride, *w = (const char *)t->w + block * t->block_stride;
  __m256i a[BYTE_ROWS][4];
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int q = 0; q < 4; q++) a[r][q] = _mm256_setzero_si256();
  for (size_t k = 0; k < t->steps; k++, x += 4, w += t->step_stride) {
    __m256i four[BYTE_ROWS];
    UNROLL for (int r = 0; r < R; r++)
      four[r] = _mm256_broadcastq_epi64(_mm_cvtepi8_epi16(_mm_cvtsi32_si128(four_of(x + (size_t)r * t->x_stride))));
    UNROLL for (int q = 0; q < 4; q++) {
      const __m256i levels = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(w + q * 16)));
      UNROLL for (int r = 0; r < R; r++) a[r][q] = _mm256_add_epi32(a[r][q], _mm256_madd_epi16(levels, four[r]));
    }
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int h = 0; h < 2; h++) {
      __m256i *to = (__m256i *)(t->acc + (row + (size_t)r) * t->acc_stride + block * 16 + h * 8);
      const __m256i sums = joined(a[r][h * 2], a[r][h * 2 + 1]);
      _mm256_storeu_si256(to, t->accumulate ? _mm256_add_epi32(sums, _mm256_loadu_si256(to)) : sums);
    }
}

void swerve_avx2_multiply_int8(const swerve_tile *t) {
  for (size_t row = 0, rows; row < t->rows; row += rows) {
    rows = swerve_min(BYTE_ROWS, t->rows - row);
    for (size_t b = 0; b < t->blocks; b++) switch (rows) {
      case 1: multiply_bytes(t, row, b, 1); break;
      default: multiply_bytes(t, row, b, 2); break;
      }
  }
}

/* What levels that are 8 too large add to a row's sums over a group. */
INLINE __m256i eights(const char *x, size_t group) {
  __m256i sum = _mm256_setzero_si256();
  for (size_t k = 0; k < group; k += 32) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(8), _mm256_loadu_si256((const __m256i *)(x + k)));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1));
  return _mm256_broadcastd_epi32(half);
}

/* A group of R rows against a block. A level and 8 is an unsigned byte of at most 15: four products of it with a signed one
 * are far from the ends of 16 bits. */
INLINE void multiply_group(const swerve_nibbles *n, const char *x, const char *w, size_t number, float *acc, const int R) {
  const __m256i low = _mm256_set1_epi8(15), flip = _mm256_set1_epi8(8), ones = _mm256_set1_epi16(1);
  __m256i a[NIBBLE_ROWS][2];
  UNROLL for (int r = 0; r < R; r++) a[r][0] = a[r][1] = _mm256_setzero_si256();
  const char *levels = w + swerve_group_levels(number, n->group);
  for (size_t k = 0; k < n->group; k += 8, levels += 64)
    UNROLL for (int h = 0; h < 2; h++) {
      const __m256i both = _mm256_loadu_si256((const __m256i *)(levels + h * 32));
      const __m256i first = _mm256_xor_si256(_mm256_and_si256(both, low), flip);
      const __m256i second = _mm256_xor_si256(_mm256_and_si256(_mm256_srli_epi16(both, 4), low), flip);
      UNROLL for (int r = 0; r < R; r++) {
        const char *at = x + (size_t)r * n->x_stride + k;
        const __m256i sums = _mm256_add_epi16(
          _mm256_maddubs_epi16(first, _mm256_set1_epi32(four_of(at))),
          _mm256_maddubs_epi16(second, _mm256_set1_epi32(four_of(at + 4))));
        a[r][h] = _mm256_add_epi32(a[r][h], _mm256_madd_epi16(sums, ones));
      }
    }
  const char *scales = w + swerve_group_scales(number, n->group);
  UNROLL for (int r = 0; r < R; r++) {
    const __m256i surplus = eights(x + (size_t)r * n->x_stride, n->group);
    UNROLL for (int h = 0; h < 2; h++) {
      float *to = acc + (size_t)r * n->acc_stride + h * 8;
      const __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(scales + h * 16)));
      const __m256 sums = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(a[r][h], surplus)), scale);
      _mm256_storeu_ps(to, _mm256_add_ps(number == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(to), sums));
    }
  }
}

INLINE void multiply_groups(const swerve_nibbles *n, size_t row, size_t block, const int R) {
  const char *x = n->x + row * n->x_stride, *w = n->w + block * n->block_stride;
  float *acc = n->acc + row * n->acc_stride + block * 16;
  for (size_t number = 0; number < n->inputs / n->group; number++, x += n->group)
    multiply_group(n, x, w, number, acc, R);
}

void swerve_avx2_multiply_nibbles(const swerve_nibbles *n) {
  for (size_t b = 0; b < n->blocks; b++)
    for (size_t row = 0, rows; row < n->rows; row += rows) {
      rows = swerve_min(NIBBLE_ROWS, n->rows - row);
      switch (rows) {
      case 1: multiply_groups(n, row, b, 1); break;
      case 2: multiply_groups(n, row, b, 2); break;
      case 3: multiply_groups(n, row, b, 3); break;
      default: multiply_groups(n, row, b, 4); break;
      }
    }
}

#pragma clang attribute pop
#endif
