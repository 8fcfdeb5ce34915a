/* Attention's products of a few rows with eight-bit keys and values: codes become numbers in registers on their way
 * into VDPBF16PS. Steps are added in the order of groups.c, so both give the same bits. */
#include "../inner.h"

#if SWERVE_X86
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vbmi"))), \
  apply_to = function)

enum { FEW = 8, WIDE = 2, LEAD = 4 };

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

typedef struct {
  __m512i low[2], high[2], sign;
} tables;

INLINE tables load_tables(const swerve_codes *codes) {
  return (tables){
    {_mm512_loadu_si512(codes->low), _mm512_loadu_si512(codes->low + 64)},
    {_mm512_loadu_si512(codes->high), _mm512_loadu_si512(codes->high + 64)},
    _mm512_set1_epi8((char)0x80),
  };
}

/* 16 cells: the pairs of their first and of their second step. */
INLINE void decode(const tables *t, const char *cells, __m512bh *first, __m512bh *second) {
  const __m512i v = _mm512_loadu_si512(cells);
  const __m512i low = _mm512_permutex2var_epi8(t->low[0], v, t->low[1]);
  /* magnitude | (v & sign) */
  const __m512i high =
    _mm512_ternarylogic_epi32(_mm512_permutex2var_epi8(t->high[0], v, t->high[1]), v, t->sign, 0xf8);
  *first = (__m512bh)_mm512_unpacklo_epi8(low, high);
  *second = (__m512bh)_mm512_unpackhi_epi8(low, high);
}

INLINE __m512bh splat(const char *pair) {
  int bits;
  memcpy(&bits, pair, 4);
  return (__m512bh)_mm512_set1_epi32(bits);
}

/* One step of 2 x 2 inputs: R rows against B vectors. */
INLINE void add(
  __m512 a[FEW][WIDE], const char *x, size_t xs, const __m512bh *first, const __m512bh *second, const int R, const int B
) {
  UNROLL for (int r = 0; r < R; r++) {
    const __m512bh s = splat(x + (size_t)r * xs), next = splat(x + (size_t)r * xs + 4);
    UNROLL for (int b = 0; b < B; b++) a[r][b] = _mm512_dpbf16_ps(a[r][b], s, first[b]);
    UNROLL for (int b = 0; b < B; b++) a[r][b] = _mm512_dpbf16_ps(a[r][b], next, second[b]);
  }
}

INLINE void score_block(const swerve_groups *t, const tables *table, size_t group, const int R, const int B) {
  __m512 a[FEW][WIDE];
  const char *w[WIDE], *next[WIDE], *x = t->x;
  const size_t last = t->count + t->ahead - 1;
  UNROLL for (int b = 0; b < B; b++) {
    w[b] = t->groups[group + (size_t)b];
    next[b] = t->groups[swerve_min(group + (size_t)b + LEAD, last)];
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++) a[r][b] = _mm512_setzero_ps();
  for (size_t k = 0; k < t->steps / 2; k++) {
    __m512bh first[WIDE], second[WIDE];
    UNROLL for (int b = 0; b < B; b++) {
      decode(table, w[b] + k * 64, first + b, second + b);
      _mm_prefetch(next[b] + k * 64, _MM_HINT_T0);
    }
    add(a, x + k * 8, t->x_stride, first, second, R, B);
  }
  float *acc = t->acc + group * 16;
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++) _mm512_storeu_ps(acc + (size_t)r * t->acc_stride + b * 16, a[r][b]);
}

INLINE void weigh_block(const swerve_groups *t, const tables *table, size_t block, const int R, const int B) {
  __m512 a[FEW][WIDE];
  const size_t last = t->count + t->ahead - 1;
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++) a[r][b] = _mm512_setzero_ps();
  const char *x = t->x;
  for (size_t g = 0; g < t->count; g++) {
    const char *w = t->groups[g] + block * 64, *next = t->groups[swerve_min(g + LEAD, last)] + block * 64;
    for (size_t quad = 0; quad < 4; quad++) {
      __m512bh first[WIDE], second[WIDE];
      UNROLL for (int b = 0; b < B; b++) {
        decode(table, w + b * 64, first + b, second + b);
        _mm_prefetch(next + b * 64, _MM_HINT_T0);
      }
      add(a, x, t->x_stride, first, second, R, B);
      w += t->step_stride;
      next += t->step_stride;
      x += 8;
    }
  }
  float *acc = t->acc + block * 16;
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++) _mm512_storeu_ps(acc + (size_t)r * t->acc_stride + b * 16, a[r][b]);
}

#define CASE(R, BLOCK) \
  case R: \
    if (left >= 2) BLOCK(t, &table, at, R, 2); \
    else BLOCK(t, &table, at, R, 1); \
    break
#define EACH(COUNT, BLOCK) \
  for (size_t at = 0; at < (COUNT); at += 2) { \
    const size_t left = (COUNT) - at; \
    switch (t->rows) { \
      CASE(1, BLOCK); CASE(2, BLOCK); CASE(3, BLOCK); CASE(4, BLOCK); \
      CASE(5, BLOCK); CASE(6, BLOCK); CASE(7, BLOCK); CASE(8, BLOCK); \
    } \
  }

void swerve_avx512bf16_score_codes(const swerve_groups *t, const swerve_codes *codes) {
  const tables table = load_tables(codes);
  EACH(t->count, score_block)
}

void swerve_avx512bf16_weigh_codes(const swerve_groups *t, const swerve_codes *codes) {
  const tables table = load_tables(codes);
  EACH(t->blocks, weigh_block)
}

#pragma clang attribute pop
#endif
