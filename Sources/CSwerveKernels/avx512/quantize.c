/* Rounding weights to levels, 16 at a time: the arithmetic of operations/quantize.c in the same order, so the same bytes. */
#include "../levels.h"
#include "../operations/pack.h"

#if SWERVE_X86
#include <immintrin.h>

#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,f16c,bmi2"))), \
  apply_to = function)

static __mmask16 first_lanes(size_t n) { return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1); }

static uint32_t magnitude(const float *x, size_t n, uint32_t largest) {
  __m512i most = _mm512_set1_epi32((int32_t)largest);
  for (size_t i = 0; i < n; i += 16) {
    const __m512i bits = _mm512_maskz_loadu_epi32(first_lanes(n - i), x + i);
    most = _mm512_max_epu32(most, _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)));
  }
  return _mm512_reduce_max_epu32(most);
}

static float halves(__m512 v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(two) + _mm_cvtss_f32(_mm_shuffle_ps(two, two, 1));
}

static __m512 clamped(__m512 level) {
  return _mm512_max_ps(_mm512_min_ps(level, _mm512_set1_ps(7)), _mm512_set1_ps(-8));
}

static float int4_error(const float *x, size_t n, float scale) {
  const __m512 inverse = _mm512_set1_ps(1.0f / scale), by = _mm512_set1_ps(scale), round = _mm512_set1_ps(12582912.0f);
  __m512 sum = _mm512_setzero_ps();
  for (size_t i = 0; i < n; i += 16) {
    const __m512 v = _mm512_loadu_ps(x + i);
    const __m512 level = _mm512_sub_ps(_mm512_add_ps(clamped(_mm512_mul_ps(v, inverse)), round), round);
    const __m512 error = _mm512_sub_ps(v, _mm512_mul_ps(level, by));
    sum = _mm512_add_ps(sum, _mm512_mul_ps(error, error));
  }
  return halves(sum);
}

static float half(float x, uint16_t *bits) {
  *bits = _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT);
  return _cvtsh_ss(*bits);
}

/* As many as there are midpoints below. */
static __m512i normal_levels(__m512 scaled) {
  const float *levels = swerve_levels_of.four[1];
  __m512i level = _mm512_setzero_si512();
  for (int i = 0; i < 15; i++) {
    const __m512 middle = _mm512_set1_ps((levels[i] + levels[i + 1]) * 0.5f);
    const __mmask16 above = _mm512_cmp_ps_mask(scaled, middle, _CMP_GT_OQ);
    level = _mm512_mask_add_epi32(level, above, level, _mm512_set1_epi32(1));
  }
  return level;
}

static void put_four(const swerve_pack_job *j, const float *x, float inverse, char *levels, size_t lane) {
  const __m512 by = _mm512_set1_ps(inverse);
  for (size_t k = 0; k < j->group; k += 16) {
    const __m512 scaled = inverse == 0 ? _mm512_setzero_ps() : _mm512_mul_ps(_mm512_loadu_ps(x + k), by);
    const __m512i level = j->format == SWERVE_NF4
      ? normal_levels(scaled)
      : _mm512_and_si512(_mm512_cvtps_epi32(clamped(scaled)), _mm512_set1_epi32(15));
    uint64_t eight[2];
    _mm_storeu_si128((__m128i *)eight, _mm512_cvtepi32_epi8(level));
    for (size_t i = 0; i < 2; i++) {
      const uint64_t bytes = eight[i];
      const uint32_t word = j->format == SWERVE_INT4_DYNAMIC
        ? (uint32_t)bytes | (uint32_t)(bytes >> 32) << 4
        : (uint32_t)_pext_u64(bytes, 0x000f000f000f000f) | (uint32_t)_pext_u64(bytes, 0x0f000f000f000f00) << 16;
      memcpy(levels + (k / 8 + i) * 64 + lane * 4, &word, 4);
    }
  }
}

static int32_t put_eight(const swerve_pack_job *j, const float *x, size_t n, float inverse, char *block, size_t k, size_t lane) {
  const __m512 by = _mm512_set1_ps(inverse);
  __m512i sum = _mm512_setzero_si512();
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 m = first_lanes(n - i);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), by);
    /* Not a number where x is not finite: level 0, as in the reference. */
    const __mmask16 ordered = _mm512_cmp_ps_mask(scaled, scaled, _CMP_ORD_Q);
    const __m512i level = _mm512_maskz_cvt_roundps_epi32(ordered, scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    sum = _mm512_add_epi32(sum, level);
    uint8_t bytes[16];
    if (j->format == SWERVE_INT8_DYNAMIC) {
      _mm_storeu_si128((__m128i *)bytes, _mm512_cvtepi32_epi8(level));
      for (size_t b = 0; b < 16 && i + b < n; b += 4)
        memcpy(block + swerve_dynamic_place(k + i + b, lane), bytes + b, swerve_min(4, n - i - b));
      continue;
    }
    const __m512i sign = _mm512_and_si512(_mm512_srai_epi32(level, 31), _mm512_set1_epi32(0x80));
    _mm_storeu_si128((__m128i *)bytes, _mm512_cvtepi32_epi8(_mm512_or_si512(_mm512_abs_epi32(level), sign)));
    for (size_t b = 0; b < 16 && i + b < n; b += 2)
      memcpy(block + swerve_int8_place(k + i + b, lane), bytes + b, swerve_min(2, n - i - b));
  }
  return _mm512_reduce_add_epi32(sum);
}

const swerve_quantizer swerve_avx512_quantizer = {
  .magnitude = magnitude, .int4_error = int4_error, .half = half, .put_four = put_four, .put_eight = put_eight,
};

#pragma clang attribute pop
#endif
