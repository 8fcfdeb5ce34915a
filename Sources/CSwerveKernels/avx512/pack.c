/* Packing 16-bit numbers of the right type by transposing: 16 rows of 32 inputs are a 16 x 16 matrix of pairs, and the
 * tile is its transpose. Moves bits and computes nothing, so that it agrees with the scalar scatter. */
#include "../inner.h"

#if SWERVE_X86
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw"))), apply_to = function)

/* 16 x 16 words of 32 bits: within 128-bit lanes, then the lanes. */
static inline __attribute__((always_inline)) void transpose(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 4) {
    const __m512i a = _mm512_unpacklo_epi32(r[i], r[i + 1]), b = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    const __m512i c = _mm512_unpacklo_epi32(r[i + 2], r[i + 3]), d = _mm512_unpackhi_epi32(r[i + 2], r[i + 3]);
    t[i] = _mm512_unpacklo_epi64(a, c);
    t[i + 1] = _mm512_unpackhi_epi64(a, c);
    t[i + 2] = _mm512_unpacklo_epi64(b, d);
    t[i + 3] = _mm512_unpackhi_epi64(b, d);
  }
  /* t[4 q + j] holds, in lane l, column 4 l + j of rows 4 q ... 4 q + 3. */
  for (int j = 0; j < 4; j++) {
    const __m512i a = _mm512_shuffle_i32x4(t[j], t[4 + j], 0x44), b = _mm512_shuffle_i32x4(t[j], t[4 + j], 0xee);
    const __m512i c = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0x44);
    const __m512i d = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0xee);
    r[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    r[4 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    r[8 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    r[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
}

void swerve_avx512_pack16(char *block, const char *source, size_t stride, size_t columns) {
  for (size_t column = 0; column < columns; column += 32) {
    const size_t n = columns - column;
    const __mmask32 mask = n >= 32 ? 0xffffffffu : (1u << n) - 1;
    __m512i r[16];
    for (size_t i = 0; i < 16; i++) r[i] = _mm512_maskz_loadu_epi16(mask, source + i * stride + column * 2);
    transpose(r);
    for (size_t i = 0; i < 16; i++) _mm512_storeu_si512(block + column * 32 + i * 64, r[i]);
  }
}

#pragma clang attribute pop
#endif
