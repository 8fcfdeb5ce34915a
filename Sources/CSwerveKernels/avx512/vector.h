/* One vector of 16 numbers: what several files of this folder need. */
#ifndef SWERVE_AVX512_VECTOR_H
#define SWERVE_AVX512_VECTOR_H

#include <immintrin.h>
#include <math.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c"))), \
  apply_to = function)

#define INLINE static inline __attribute__((always_inline))

INLINE __m512 load(__mmask16 m, const float *p) { return _mm512_maskz_loadu_ps(m, p); }
INLINE void store(float *p, __mmask16 m, __m512 v) { _mm512_mask_storeu_ps(p, m, v); }

/* exp by 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]; relative error below 2e-7. Exactly 1 at 0, 0 below -87.3. */
INLINE __m512 exponential(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(
    _mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.3888889e-3f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3333333e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1666667e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666667e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  const __m512 y = _mm512_scalef_ps(p, n);
  /* Infinities make r a NaN; both ends are set by comparison. A NaN fails both and stays. */
  const __mmask16 small = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.3f), _CMP_LT_OQ);
  const __mmask16 large = _mm512_cmp_ps_mask(x, _mm512_set1_ps(89.0f), _CMP_GT_OQ);
  return _mm512_mask_blend_ps(large, _mm512_maskz_mov_ps((__mmask16)~small, y), _mm512_set1_ps(INFINITY));
}

/* Nearest even, in integers: VCVTNEPS2BF16 would flush denormals. */
INLINE __m256i rounded_bf16(__m512 x) {
  const __m512i v = _mm512_castps_si512(x);
  const __m512i high = _mm512_srli_epi32(v, 16);
  const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  __m512i r = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(v, _mm512_set1_epi32(0x7fff)), odd), 16);
  r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), high, _mm512_set1_epi32(0x40));
  return _mm512_cvtepi32_epi16(r);
}

INLINE __m256i rounded_f16(__m512 x) {
  return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* silu(gate) up; silu(x) = x / (1 + e^-x). */
INLINE __m512 gated(__m512 gate, __m512 up) {
  const __m512 e = exponential(_mm512_sub_ps(_mm512_setzero_ps(), gate));
  return _mm512_mul_ps(_mm512_div_ps(gate, _mm512_add_ps(_mm512_set1_ps(1.0f), e)), up);
}

#pragma clang attribute pop
#endif
