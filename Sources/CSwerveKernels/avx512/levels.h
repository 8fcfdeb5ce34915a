/* Levels to numbers of 16 bits in registers: what the unpacking loops and the AVX512-BF16 products share. */
#ifndef SWERVE_AVX512_LEVELS_H
#define SWERVE_AVX512_LEVELS_H

#include "../levels.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
/* number | (from & sign) */
#define SIGNED(number, from, sign) _mm512_ternarylogic_epi64(number, from, sign, 0xf8)

/* Bytes of the numbers 0 ... 127 of a 16-bit type. */
typedef struct {
  __m512i low0, low1, high0, high1;
} byte_tables;

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi"))), \
  apply_to = function)

INLINE byte_tables load_tables(int half) {
  return (byte_tables){
    _mm512_loadu_si512(swerve_levels_of.low[half]), _mm512_loadu_si512(swerve_levels_of.low[half] + 64),
    _mm512_loadu_si512(swerve_levels_of.high[half]), _mm512_loadu_si512(swerve_levels_of.high[half] + 64),
  };
}

/* 64 bytes of sign and magnitude: two pairs of inputs by 16 outputs. VPERMI2B looks at the low 7 bits alone. */
INLINE void decode8(__m512i line, const byte_tables *t, __m512i *first, __m512i *second) {
  const __m512i low = _mm512_permutex2var_epi8(t->low0, line, t->low1);
  const __m512i magnitude = _mm512_permutex2var_epi8(t->high0, line, t->high1);
  const __m512i high = SIGNED(magnitude, line, _mm512_set1_epi8((char)0x80));
  *first = _mm512_unpacklo_epi8(low, high);
  *second = _mm512_unpackhi_epi8(low, high);
}

/* `steps` pairs of inputs, an even number, of which the bytes `ahead` are fetched. */
INLINE void unpack8_lines(char *out, const char *levels, size_t steps, const byte_tables *tables, size_t ahead) {
  for (size_t k = 0; k < steps; k += 2, levels += 64) {
    _mm_prefetch(levels + ahead, _MM_HINT_T0);
    __m512i first, second;
    decode8(_mm512_loadu_si512(levels), tables, &first, &second);
    _mm512_storeu_si512(out + k * 64, first);
    _mm512_storeu_si512(out + k * 64 + 64, second);
  }
}

#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw"))), apply_to = function)

/* 64 bytes of nibbles: four pairs of inputs by 16 outputs. VPERMW looks at the low 5 bits; the table is twice 16. */
INLINE void decode4(__m512i line, __m512i table, __m512i four[4]) {
  four[0] = _mm512_permutexvar_epi16(line, table);
  four[1] = _mm512_permutexvar_epi16(_mm512_srli_epi16(line, 4), table);
  four[2] = _mm512_permutexvar_epi16(_mm512_srli_epi16(line, 8), table);
  four[3] = _mm512_permutexvar_epi16(_mm512_srli_epi16(line, 12), table);
}

/* `steps` pairs of inputs, a multiple of 4, of which the bytes `ahead` are fetched. */
INLINE void unpack4_lines(char *out, const char *levels, size_t steps, __m512i table, size_t ahead) {
  for (size_t k = 0; k < steps; k += 4, levels += 64) {
    _mm_prefetch(levels + ahead, _MM_HINT_T0);
    __m512i four[4];
    decode4(_mm512_loadu_si512(levels), table, four);
    UNROLL for (int j = 0; j < 4; j++) _mm512_storeu_si512(out + (k + (size_t)j) * 64, four[j]);
  }
}

#pragma clang attribute pop
#endif
