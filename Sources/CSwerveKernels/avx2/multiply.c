/* The matrix loop in 256-bit vectors for CPUs without AVX-512, with the bits of the scalar set: every element is one chain
 * over k, whatever rows and blocks are beside it. 16-bit numbers are widened, which is exact, and so are their products
 * unless they are below 2^-126: there a fused multiply-add rounds as a product and a sum do. Products of f32 are rounded
 * first, as the reference's. */
#include "avx2.h"

#if SWERVE_X86
#pragma STDC FP_CONTRACT OFF

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

/* Rows and blocks of 16 outputs whose sums fit the 16 registers; inputs of rows that are widened at once. */
enum { ROWS = 6, BLOCKS = 4, PIECE = 256 };

/* Eight outputs' weights of the even and of the odd input of a pair. */
INLINE __m256 even_bf16(const char *pairs) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)pairs), 16));
}

INLINE __m256 odd_bf16(const char *pairs) {
  const __m256i mask = _mm256_set1_epi32((int)0xffff0000);
  return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256((const __m256i *)pairs), mask));
}

INLINE void split_f16(const char *pairs, __m256 *even, __m256 *odd) {
  const __m256i apart = _mm256_broadcastsi128_si256(
    _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
  const __m256i v = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)pairs), apart);
  const __m256i sorted = _mm256_permute4x64_epi64(v, 0xd8);
  *even = _mm256_cvtph_ps(_mm256_castsi256_si128(sorted));
  *odd = _mm256_cvtph_ps(_mm256_extracti128_si256(sorted, 1));
}

/* Rows in f32, `stride` floats apart, from the first of the inputs that are met. */
typedef struct {
  const float *x;
  size_t stride;
} wide_rows;

INLINE __m256 sum(__m256 x, __m256 w, __m256 a, const int type) {
  return type == SWERVE_FLOAT32 ? _mm256_add_ps(a, _mm256_mul_ps(x, w)) : _mm256_fmadd_ps(x, w, a);
}

INLINE void add_input(
  __m256 a[ROWS][BLOCKS][2], wide_rows rows, size_t input, __m256 low, __m256 high, const int type, const int R,
  const int b
) {
  UNROLL for (int r = 0; r < R; r++) {
    const __m256 x = _mm256_broadcast_ss(rows.x + (size_t)r * rows.stride + input);
    a[r][b][0] = sum(x, low, a[r][b][0], type);
    a[r][b][1] = sum(x, high, a[r][b][1], type);
  }
}

/* R rows against B blocks over `steps` steps from `step`. */
INLINE void multiply_tile(
  const swerve_tile *t, wide_rows rows, size_t row, size_t block, size_t step, size_t steps, const int type, const int R,
  const int B
) {
  __m256 a[ROWS][BLOCKS][2];
  float *acc = t->acc + row * t->acc_stride + block * 16;
  const bool accumulate = t->accumulate || step > 0;
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++)
      UNROLL for (int h = 0; h < 2; h++)
        a[r][b][h] = accumulate ? _mm256_loadu_ps(acc + (size_t)r * t->acc_stride + b * 16 + h * 8) : _mm256_setzero_ps();
  const size_t bs = t->block_stride;
  const char *w = (const char *)t->w + block * bs + step * t->step_stride;
  for (size_t k = 0; k < steps; k++, w += t->step_stride)
    UNROLL for (int b = 0; b < B; b++) {
      const char *at = w + (size_t)b * bs;
      if (type == SWERVE_FLOAT32) {
        add_input(a, rows, k, _mm256_loadu_ps((const float *)at), _mm256_loadu_ps((const float *)at + 8), type, R, b);
      } else if (type == SWERVE_BFLOAT16) {
        /* One after the other, so that weights take two registers. */
        add_input(a, rows, k * 2, even_bf16(at), even_bf16(at + 32), type, R, b);
        add_input(a, rows, k * 2 + 1, odd_bf16(at), odd_bf16(at + 32), type, R, b);
      } else {
        __m256 even[2], odd[2];
        split_f16(at, &even[0], &odd[0]);
        split_f16(at + 32, &even[1], &odd[1]);
        add_input(a, rows, k * 2, even[0], even[1], type, R, b);
        add_input(a, rows, k * 2 + 1, odd[0], odd[1], type, R, b);
      }
    }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++)
      UNROLL for (int h = 0; h < 2; h++)
        _mm256_storeu_ps(acc + (size_t)r * t->acc_stride + b * 16 + h * 8, a[r][b][h]);
}

/* All blocks, as many at once as there are registers for. */
#define ALL_BLOCKS(R, B) \
  case R: \
    for (; b + B <= t->blocks; b += B) multiply_tile(t, rows, row, b, step, steps, type, R, B); \
    for (; b < t->blocks; b++) multiply_tile(t, rows, row, b, step, steps, type, R, 1); \
    break

INLINE void multiply_blocks(
  const swerve_tile *t, wide_rows rows, size_t row, size_t count, size_t step, size_t steps, const int type
) {
  size_t b = 0;
  switch (count) {
    ALL_BLOCKS(1, 4);
    ALL_BLOCKS(2, 2);
    ALL_BLOCKS(3, 2);
    ALL_BLOCKS(4, 1);
    ALL_BLOCKS(5, 1);
    ALL_BLOCKS(6, 1);
  }
}

/* `n` numbers of a row in f32, nothing beyond them read. */
INLINE void widen_row(float *out, const char *x, size_t n, const int type) {
  size_t k = 0;
  for (; k + 8 <= n; k += 8) {
    const __m128i v = _mm_loadu_si128((const __m128i *)(x + k * 2));
    const __m256 wide = type == SWERVE_FLOAT16
      ? _mm256_cvtph_ps(v) : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
    _mm256_storeu_ps(out + k, wide);
  }
  for (; k < n; k++) {
    uint16_t bits;
    memcpy(&bits, x + k * 2, 2);
    out[k] = type == SWERVE_FLOAT16 ? _cvtsh_ss(bits) : swerve_bits_float((uint32_t)bits << 16);
  }
}

INLINE void multiply(const swerve_tile *t, const int type) {
  /* Both halves of a pair of binary16 weights take registers at a time. */
  const size_t most = type == SWERVE_FLOAT16 ? 4 : ROWS;
  const size_t groups = (t->rows + most - 1) / most;
  size_t row = 0;
  for (size_t g = 0; g < groups; g++) {
    const size_t count = (t->rows - row) / (groups - g);
    const char *x = (const char *)t->x + row * t->x_stride;
    if (type == SWERVE_FLOAT32) {
      const wide_rows rows = {(const float *)x, t->x_stride / sizeof(float)};
      multiply_blocks(t, rows, row, count, 0, t->steps, type);
    } else {
      float wide[ROWS][PIECE];
      const wide_rows rows = {wide[0], PIECE};
      size_t step = 0;
      do {
        const size_t steps = swerve_min(PIECE / 2, t->steps - step);
        for (size_t r = 0; r < count; r++) widen_row(wide[r], x + r * t->x_stride + step * 4, steps * 2, type);
        multiply_blocks(t, rows, row, count, step, steps, type);
        step += steps;
      } while (step < t->steps);
    }
    row += count;
  }
}

void swerve_avx2_multiply_f32(const swerve_tile *t) { multiply(t, SWERVE_FLOAT32); }
void swerve_avx2_multiply_bf16(const swerve_tile *t) { multiply(t, SWERVE_BFLOAT16); }
void swerve_avx2_multiply_f16(const swerve_tile *t) { multiply(t, SWERVE_FLOAT16); }

#pragma clang attribute pop
#endif
