/* Loops over a row in 512-bit vectors; tails by masks, so that no element's arithmetic depends on its place. */
#include "../scalar/scalar.h"

#if SWERVE_X86
#include "vector.h"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c"))), \
  apply_to = function)

/* i over a row of n by 16; `m` selects the lanes inside. */
#define EACH16(n) \
  for (size_t i = 0; i < (n); i += 16) \
    for (__mmask16 m = (n) - i >= 16 ? 0xffff : (__mmask16)((1u << ((n) - i)) - 1), once = 1; once; once = 0)

static float exp_one(float x) { return _mm512_cvtss_f32(exponential(_mm512_set1_ps(x))); }

static void widen_bf16(float *out, const void *in, size_t n) {
  const uint16_t *x = in;
  EACH16(n) {
    const __m512i v = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, x + i));
    store(out + i, m, _mm512_castsi512_ps(_mm512_slli_epi32(v, 16)));
  }
}

static void widen_f16(float *out, const void *in, size_t n) {
  const uint16_t *x = in;
  EACH16(n) store(out + i, m, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, x + i)));
}

static void narrow_bf16(void *out, const float *in, size_t n) {
  uint16_t *y = out;
  EACH16(n) _mm256_mask_storeu_epi16(y + i, m, rounded_bf16(load(m, in + i)));
}

static void narrow_f16(void *out, const float *in, size_t n) {
  uint16_t *y = out;
  EACH16(n)
    _mm256_mask_storeu_epi16(y + i, m, rounded_f16(load(m, in + i)));
}

/* Four sums over vectors 0, 1, 2, 3, 0, ...; the rest of a row goes to the first. */
static float sum_squares(const float *x, size_t n) {
  __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    const __m512 p = _mm512_loadu_ps(x + i), q = _mm512_loadu_ps(x + i + 16);
    const __m512 r = _mm512_loadu_ps(x + i + 32), s = _mm512_loadu_ps(x + i + 48);
    a = _mm512_fmadd_ps(p, p, a);
    b = _mm512_fmadd_ps(q, q, b);
    c = _mm512_fmadd_ps(r, r, c);
    d = _mm512_fmadd_ps(s, s, d);
  }
  for (; i < n; i += 16) {
    const __m512 v = load(n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1), x + i);
    a = _mm512_fmadd_ps(v, v, a);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)));
}

static void add(float *out, const float *x, size_t n) {
  EACH16(n) store(out + i, m, _mm512_add_ps(load(m, out + i), load(m, x + i)));
}

static void scale(float *x, float a, size_t n) {
  const __m512 factor = _mm512_set1_ps(a);
  EACH16(n) store(x + i, m, _mm512_mul_ps(load(m, x + i), factor));
}

static void scale_weight(float *out, const float *x, float a, const float *w, size_t n) {
  const __m512 factor = _mm512_set1_ps(a);
  EACH16(n) store(out + i, m, _mm512_mul_ps(_mm512_mul_ps(load(m, x + i), factor), load(m, w + i)));
}

static void blend(float *out, float a, const float *x, float b, size_t n) {
  const __m512 old = _mm512_set1_ps(a), new = _mm512_set1_ps(b);
  EACH16(n) store(out + i, m, _mm512_fmadd_ps(load(m, x + i), new, _mm512_mul_ps(load(m, out + i), old)));
}

INLINE void add_scaled_blocks(const swerve_scaled_sums *p, const int B) {
  __m512 scales[4];
  for (int b = 0; b < B; b++) scales[b] = _mm512_loadu_ps(p->scales + b * 16);
  for (size_t r = 0; r < p->rows; r++) {
    float *acc = p->acc + r * p->acc_stride;
    const float *sums = p->sums + r * p->sums_stride;
    for (int b = 0; b < B; b++) {
      const __m512 old = p->first ? _mm512_setzero_ps() : _mm512_loadu_ps(acc + b * 16);
      _mm512_storeu_ps(acc + b * 16, _mm512_fmadd_ps(_mm512_loadu_ps(sums + b * 16), scales[b], old));
    }
  }
}

static void add_scaled(const swerve_scaled_sums *p) {
  if (p->blocks == 4) add_scaled_blocks(p, 4);
  else for (size_t b = 0; b < p->blocks; b++) {
    swerve_scaled_sums one = *p;
    one.acc += b * 16;
    one.sums += b * 16;
    one.scales += b * 16;
    add_scaled_blocks(&one, 1);
  }
}

static void rotate(float *low, float *high, const float *c, const float *s, size_t n) {
  EACH16(n) {
    const __m512 a = load(m, low + i), b = load(m, high + i), cosine = load(m, c + i), sine = load(m, s + i);
    store(low + i, m, _mm512_fmsub_ps(a, cosine, _mm512_mul_ps(b, sine)));
    store(high + i, m, _mm512_fmadd_ps(b, cosine, _mm512_mul_ps(a, sine)));
  }
}

static float maximum(const float *x, size_t n) {
  const __m512 lowest = _mm512_set1_ps(-INFINITY);
  __m512 a = lowest, b = lowest;
  /* The second operand wins over a NaN in the first. */
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    a = _mm512_max_ps(_mm512_loadu_ps(x + i), a);
    b = _mm512_max_ps(_mm512_loadu_ps(x + i + 16), b);
  }
  for (; i < n; i += 16) {
    const __mmask16 m = n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
    a = _mm512_max_ps(_mm512_mask_loadu_ps(lowest, m, x + i), a);
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}

static int32_t argmax(const float *x, size_t n, float *value) {
  const float top = maximum(x, n);
  *value = top;
  const __m512 target = _mm512_set1_ps(top);
  EACH16(n) {
    const __mmask16 hits = _mm512_mask_cmp_ps_mask(m, load(m, x + i), target, _CMP_EQ_OQ);
    if (hits) return (int32_t)(i + (size_t)__builtin_ctz(hits));
  }
  /* Nothing but NaN. */
  return 0;
}

static double sum_exp(const float *x, float shift, size_t n) {
  double sum = 0;
  const __m512 by = _mm512_set1_ps(shift);
  for (size_t begin = 0; begin < n; begin += 4096) {
    __m512 a = _mm512_setzero_ps();
    const size_t count = swerve_min(4096, n - begin);
    EACH16(count) a = _mm512_mask_add_ps(a, m, a, exponential(_mm512_sub_ps(load(m, x + begin + i), by)));
    sum += (double)_mm512_reduce_add_ps(a);
  }
  return sum;
}

static double sum_exp_from(const float *x, float shift, float floor, size_t n) {
  double sum = 0;
  const __m512 by = _mm512_set1_ps(shift), least = _mm512_set1_ps(floor);
  for (size_t begin = 0; begin < n; begin += 4096) {
    __m512 a = _mm512_setzero_ps();
    const size_t count = swerve_min(4096, n - begin);
    EACH16(count) {
      const __m512 v = load(m, x + begin + i);
      const __mmask16 hits = _mm512_mask_cmp_ps_mask(m, v, least, _CMP_GE_OQ);
      if (hits) a = _mm512_mask_add_ps(a, hits, a, exponential(_mm512_sub_ps(v, by)));
    }
    sum += (double)_mm512_reduce_add_ps(a);
  }
  return sum;
}

static size_t count_from(const float *x, float floor, size_t n) {
  const __m512 least = _mm512_set1_ps(floor);
  size_t count = 0;
  EACH16(n)
    count += (size_t)__builtin_popcount(_mm512_mask_cmp_ps_mask(m, load(m, x + i), least, _CMP_GE_OQ));
  return count;
}

/* Of sixteen hits at most eight by eight: the value's ordered bits above, the complement of the token below. */
static size_t keys_from(uint64_t *keys, const float *x, float floor, uint32_t token, size_t n) {
  const __m512 least = _mm512_set1_ps(floor);
  const __m512i steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  size_t count = 0;
  EACH16(n) {
    const __m512 v = load(m, x + i);
    const __mmask16 hits = _mm512_mask_cmp_ps_mask(m, v, least, _CMP_GE_OQ);
    if (!hits) continue;
    const __m512i bits = _mm512_castps_si512(_mm512_add_ps(v, _mm512_setzero_ps()));
    const __m512i flip = _mm512_or_si512(_mm512_srai_epi32(bits, 31), _mm512_set1_epi32((int32_t)0x80000000u));
    const __m512i above = _mm512_maskz_compress_epi32(hits, _mm512_xor_si512(bits, flip));
    const __m512i place = _mm512_add_epi32(_mm512_set1_epi32((int32_t)(token + (uint32_t)i)), steps);
    const __m512i below = _mm512_maskz_compress_epi32(hits, _mm512_xor_si512(place, _mm512_set1_epi32(-1)));
    const int found = __builtin_popcount(hits);
    for (int half = 0; half * 8 < found; half++) {
      const __m256i high = half ? _mm512_extracti64x4_epi64(above, 1) : _mm512_castsi512_si256(above);
      const __m256i low = half ? _mm512_extracti64x4_epi64(below, 1) : _mm512_castsi512_si256(below);
      const __m512i key = _mm512_or_si512(
        _mm512_slli_epi64(_mm512_cvtepu32_epi64(high), 32), _mm512_cvtepu32_epi64(low));
      const int left = found - half * 8;
      _mm512_mask_storeu_epi64(keys + count + half * 8, (__mmask8)(left >= 8 ? 0xff : (1 << left) - 1), key);
    }
    count += (size_t)found;
  }
  return count;
}

void swerve_avx512_fill(swerve_kernels *t) {
  *t = (swerve_kernels){
    .multiply = {swerve_avx512_multiply_f32, swerve_avx512_multiply_bf16, swerve_avx512_multiply_f16},
    .unpack = {swerve_scalar_unpack_f32, swerve_scalar_unpack_bf16, swerve_scalar_unpack_f16},
    .multiply_levels = {swerve_multiply_levels, swerve_multiply_levels, swerve_multiply_levels},
    .add_scaled = add_scaled,
    .multiply_int8 = swerve_scalar_multiply_int8,
    .multiply_nibbles = swerve_scalar_multiply_nibbles,
    .quantize = swerve_scalar_quantize,
    .panel_small = 4,
    .panel = 4,
    .panel_many = 4,
    .row_chunk = SWERVE_LEVEL_ROWS,
    .level_steps = 64,
    .widen = {swerve_scalar_kernels.widen[0], widen_bf16, widen_f16},
    .narrow = {swerve_scalar_kernels.narrow[0], narrow_bf16, narrow_f16},
    .sum_squares = sum_squares,
    .add = add,
    .scale = scale,
    .scale_weight = scale_weight,
    .blend = blend,
    .rotate = rotate,
    .finish = swerve_avx512_finish,
    .maximum = maximum,
    .argmax = argmax,
    .exp = exp_one,
    .sum_exp = sum_exp,
    .score = {swerve_avx512_score_f32},
    .weigh = {swerve_avx512_weigh_f32},
    .sum_exp_from = sum_exp_from,
    .count_from = count_from,
    .keys_from = keys_from,
  };
  swerve_avx512_softmax_fill(t);
}

#pragma clang attribute pop
#endif
