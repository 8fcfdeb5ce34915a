/* Attention's loops over scores and eight-bit codes in 512-bit vectors; tails by masks. */
#include "../inner.h"

#if SWERVE_X86
#include "vector.h"

#define MASK(n, i) ((n) - (i) >= 16 ? 0xffff : (__mmask16)((1u << ((n) - (i))) - 1))

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c"))), \
  apply_to = function)

/* 2^x by 2^floor(x) times a polynomial on [0, 1] that is 1 at 0; relative error 8e-8 and, for weights that are rounded
 * to 16 bits, 3e-6. 0 at -infinity, NaN at NaN. */
INLINE __m512 power(__m512 x, const bool rounded) {
  const __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p;
  if (rounded) {
    p = _mm512_set1_ps(0.013426685f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.052242473f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.2412802f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.69304484f));
  } else {
    p = _mm512_set1_ps(0.00186713f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.009017031f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.055799913f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.24016444f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.6931513f));
  }
  return _mm512_scalef_ps(_mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f)), x);
}

INLINE void store_f32(void *out, size_t i, __mmask16 m, __m512 v) { _mm512_mask_storeu_ps((float *)out + i, m, v); }

INLINE void store_bf16(void *out, size_t i, __mmask16 m, __m512 v) {
  _mm256_mask_storeu_epi16((uint16_t *)out + i, m, rounded_bf16(v));
}

INLINE void store_f16(void *out, size_t i, __mmask16 m, __m512 v) {
  _mm256_mask_storeu_epi16((uint16_t *)out + i, m, rounded_f16(v));
}

typedef void (*storing)(void *out, size_t i, __mmask16 m, __m512 v);

/* 16 weights, their powers to `sum`. */
INLINE void soften_piece(
  void *out, size_t i, __mmask16 m, __m512 x, const float *by, __m512 factor, __m512 top, __m512 *sum, storing store,
  const bool rounded
) {
  __m512 y = power(_mm512_fmsub_ps(x, factor, top), rounded);
  *sum = _mm512_mask_add_ps(*sum, m, *sum, y);
  if (by) y = _mm512_mul_ps(y, _mm512_maskz_loadu_ps(m, by + i));
  store(out, i, m, y);
}

/* Two sums over vectors 0, 1, 0, 1, ...: their additions do not wait for each other. */
INLINE float soften(
  void *out, const float *x, float scale, float shift, const float *by, size_t n, storing store, const bool rounded
) {
  __m512 even = _mm512_setzero_ps(), odd = even;
  const __m512 factor = _mm512_set1_ps(scale), top = _mm512_set1_ps(shift);
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    soften_piece(out, i, 0xffff, _mm512_loadu_ps(x + i), by, factor, top, &even, store, rounded);
    soften_piece(out, i + 16, 0xffff, _mm512_loadu_ps(x + i + 16), by, factor, top, &odd, store, rounded);
  }
  for (; i < n; i += 16) {
    const __mmask16 m = MASK(n, i);
    soften_piece(
      out, i, m, _mm512_maskz_loadu_ps(m, x + i), by, factor, top, i / 16 % 2 ? &odd : &even, store, rounded);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(even, odd));
}

static float soften_f32(void *out, const float *x, float scale, float shift, const float *by, size_t n) {
  return soften(out, x, scale, shift, by, n, store_f32, false);
}
static float soften_bf16(void *out, const float *x, float scale, float shift, const float *by, size_t n) {
  return soften(out, x, scale, shift, by, n, store_bf16, true);
}
static float soften_f16(void *out, const float *x, float scale, float shift, const float *by, size_t n) {
  return soften(out, x, scale, shift, by, n, store_f16, true);
}

static void exp2_all(float *x, size_t n) {
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 m = MASK(n, i);
    _mm512_mask_storeu_ps(x + i, m, power(_mm512_maskz_loadu_ps(m, x + i), false));
  }
}

static float scaled_maximum(float *x, const float *by, size_t n) {
  const __m512 lowest = _mm512_set1_ps(-INFINITY);
  __m512 a = lowest, b = lowest;
  /* The second operand wins over a NaN in the first. */
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const __m512 y = _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_loadu_ps(by + i));
    const __m512 z = _mm512_mul_ps(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(by + i + 16));
    _mm512_storeu_ps(x + i, y);
    _mm512_storeu_ps(x + i + 16, z);
    a = _mm512_max_ps(y, a);
    b = _mm512_max_ps(z, b);
  }
  for (; i < n; i += 16) {
    const __mmask16 m = MASK(n, i);
    const __m512 y = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), _mm512_maskz_loadu_ps(m, by + i));
    _mm512_mask_storeu_ps(x + i, m, y);
    a = _mm512_mask_max_ps(a, m, y, a);
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}

/* 32 codes to 32 numbers: two tables of 64, chosen by the index's highest bit. */
INLINE __m512i decode(__m256i codes, const __m512i *table) {
  const __m512i wide = _mm512_cvtepu8_epi16(codes);
  const __m512i small = _mm512_permutex2var_epi16(table[0], wide, table[1]);
  const __m512i large = _mm512_permutex2var_epi16(table[2], wide, table[3]);
  const __m512i number = _mm512_mask_blend_epi16(_mm512_test_epi16_mask(wide, _mm512_set1_epi16(64)), small, large);
  return _mm512_or_si512(number, _mm512_and_si512(_mm512_slli_epi16(wide, 8), _mm512_set1_epi16((short)0x8000)));
}

static void unpack_codes(
  char *low, char *high, size_t out_step, const uint8_t *in, size_t chunks, const swerve_codes *codes
) {
  __m512i table[4];
  for (int i = 0; i < 4; i++) {
    const __m512i l = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(codes->low + i * 32)));
    const __m512i h = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(codes->high + i * 32)));
    table[i] = _mm512_or_si512(l, _mm512_slli_epi16(h, 8));
  }
  const __m512i halves = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  for (size_t c = 0; c < chunks; c++) {
    const __m512i v = _mm512_permutexvar_epi64(halves, _mm512_loadu_si512(in + c * 64));
    _mm512_storeu_si512(low + c * out_step, decode(_mm512_castsi512_si256(v), table));
    _mm512_storeu_si512(high + c * out_step, decode(_mm512_extracti64x4_epi64(v, 1), table));
  }
}

/* A float of `mantissa` fraction bits whose exponent 1 is 2^least. */
INLINE __m512i small_float(__m512 y, const int mantissa, const int least) {
  const int cut = 23 - mantissa;
  const __m512 smallest = _mm512_castsi512_ps(_mm512_set1_epi32((127 + least) << 23));
  const __m512i bits = _mm512_castps_si512(y);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, (unsigned)cut), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32((1 << (cut - 1)) - 1));
  const __m512i normal =
    _mm512_sub_epi32(_mm512_srli_epi32(up, (unsigned)cut), _mm512_set1_epi32((126 + least) << mantissa));
  const __m512 step = _mm512_castsi512_ps(_mm512_set1_epi32((127 - least + mantissa) << 23));
  const __m512i small = _mm512_cvt_roundps_epi32(
    _mm512_mul_ps(y, step), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(y, smallest, _CMP_LT_OQ), normal, small);
}

static void encode(uint8_t *out, const float *x, float factor, int type, size_t n) {
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 m = MASK(n, i);
    const __m512 v = _mm512_maskz_loadu_ps(m, x + i);
    const __m512 y = _mm512_mul_ps(_mm512_abs_ps(v), _mm512_set1_ps(factor));
    __m512i code;
    if (type == SWERVE_KV_INT8) {
      code = _mm512_cvt_roundps_epi32(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
      code = _mm512_min_epi32(code, _mm512_set1_epi32(127));
    } else if (type == SWERVE_FP8_E4M3) {
      code = _mm512_min_epi32(small_float(y, 3, -6), _mm512_set1_epi32(0x7e));
    } else {
      code = _mm512_min_epi32(small_float(y, 2, -14), _mm512_set1_epi32(0x7b));
    }
    const __m512i sign = _mm512_and_si512(_mm512_srli_epi32(_mm512_castps_si512(v), 24), _mm512_set1_epi32(0x80));
    _mm512_mask_cvtepi32_storeu_epi8(out + i, m, _mm512_or_si512(code, sign));
  }
}

void swerve_avx512_softmax_fill(swerve_kernels *t) {
  t->soften[SWERVE_FLOAT32] = soften_f32;
  t->soften[SWERVE_BFLOAT16] = soften_bf16;
  t->soften[SWERVE_FLOAT16] = soften_f16;
  t->exp2 = exp2_all;
  t->scaled_maximum = scaled_maximum;
  t->unpack_codes = unpack_codes;
  t->encode = encode;
}

#pragma clang attribute pop

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c,avx512bf16"))), \
  apply_to = function)

/* VCVTNEPS2BF16 flushes denormals, as the product with values would. */
INLINE void store_native(void *out, size_t i, __mmask16 m, __m512 v) {
  _mm256_mask_storeu_epi16((uint16_t *)out + i, m, (__m256i)_mm512_cvtneps_pbh(v));
}

float swerve_avx512bf16_soften(void *out, const float *x, float scale, float shift, const float *by, size_t n) {
  return by ? soften(out, x, scale, shift, by, n, store_native, true)
            : soften(out, x, scale, shift, NULL, n, store_native, true);
}

#pragma clang attribute pop

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi"))), apply_to = function)

/* 64 codes at once: the two bytes of a number from two tables of 128. */
void swerve_avx512vbmi_unpack_codes(
  char *low, char *high, size_t out_step, const uint8_t *in, size_t chunks, const swerve_codes *codes
) {
  const __m512i low0 = _mm512_loadu_si512(codes->low), low1 = _mm512_loadu_si512(codes->low + 64);
  const __m512i high0 = _mm512_loadu_si512(codes->high), high1 = _mm512_loadu_si512(codes->high + 64);
  const __m512i sign = _mm512_set1_epi8((char)0x80);
  for (size_t c = 0; c < chunks; c++) {
    const __m512i v = _mm512_loadu_si512(in + c * 64);
    const __m512i l = _mm512_permutex2var_epi8(low0, v, low1);
    /* high | (v & sign) */
    const __m512i h = _mm512_ternarylogic_epi32(_mm512_permutex2var_epi8(high0, v, high1), v, sign, 0xf8);
    _mm512_storeu_si512(low + c * out_step, _mm512_unpacklo_epi8(l, h));
    _mm512_storeu_si512(high + c * out_step, _mm512_unpackhi_epi8(l, h));
  }
}

#pragma clang attribute pop
#endif
