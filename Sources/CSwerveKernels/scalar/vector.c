/* The reference of every loop over a row. Sums run in 16 lanes that are then added in a fixed tree, so that wider sets
 * keep the same shape. Never fused: every architecture gives the same bits. */
#include "scalar.h"

#include <math.h>

#pragma STDC FP_CONTRACT OFF

static float sum_lanes(float *lane) {
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; i++) lane[i] = lane[i] + lane[i + half];
  return lane[0];
}

/* exp by 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]; relative error below 2e-7. Exactly 1 at 0, exactly 0 below
 * -87.3 (no denormals), infinity above 88.7. */
static inline float exponential(float x) {
  const float clamped = x < -87.3f ? -87.3f : (x > 89.0f ? 89.0f : x);
  /* Adding 1.5 x 2^23 rounds to an integer in the low bits. */
  const float shifted = clamped * 1.44269504f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  const float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.3888889e-3f;
  p = p * r + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  /* Two factors: 2^128 alone is no float. */
  const int32_t e = (int32_t)(swerve_float_bits(shifted) - 0x4b400000u);
  const int32_t first = e >> 1, second = e - first;
  const float y = p * swerve_bits_float((uint32_t)(first + 127) << 23) *
    swerve_bits_float((uint32_t)(second + 127) << 23);
  return x < -87.3f ? 0.0f : (x != x ? x : y);
}

/* 2^x for x of at most about 0; 0 below -125. */
static float exp_one(float x) { return exponential(x); }

static inline float power(float x) { return x < -125.0f ? 0.0f : exponential(x * 0.69314718f); }

static float sum_squares(const float *x, size_t n) {
  float lane[16] = {0};
  size_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int l = 0; l < 16; l++) lane[l] = lane[l] + x[i + (size_t)l] * x[i + (size_t)l];
  for (int l = 0; i < n; i++, l++) lane[l] = lane[l] + x[i] * x[i];
  return sum_lanes(lane);
}

static void add(float *out, const float *x, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = out[i] + x[i];
}

static void scale(float *x, float a, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] = x[i] * a;
}

static void scale_weight(float *out, const float *x, float a, const float *w, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = x[i] * a * w[i];
}

static void blend(float *out, float a, const float *x, float b, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = out[i] * a + x[i] * b;
}

static void rotate(float *low, float *high, const float *c, const float *s, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const float a = low[i], b = high[i];
    low[i] = a * c[i] - b * s[i];
    high[i] = b * c[i] + a * s[i];
  }
}

void swerve_scalar_silu_multiply(float *out, const float *gate, const float *up, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];
}

static float maximum(const float *x, size_t n) {
  float lane[16];
  for (int l = 0; l < 16; l++) lane[l] = -INFINITY;
  size_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int l = 0; l < 16; l++) lane[l] = x[i + (size_t)l] > lane[l] ? x[i + (size_t)l] : lane[l];
  for (int l = 0; i < n; i++, l++) lane[l] = x[i] > lane[l] ? x[i] : lane[l];
  for (int half = 8; half > 0; half /= 2)
    for (int l = 0; l < half; l++) lane[l] = lane[l + half] > lane[l] ? lane[l + half] : lane[l];
  return lane[0];
}

static void power_all(float *x, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] = power(x[i]);
}

/* Numbers of a row that are narrowed at once. */
enum { PIECE = 64 };

static inline float soften(
  void *out, const float *x, float a, float shift, const float *by, size_t n,
  void (*narrow)(void *, const float *, size_t), size_t bytes
) {
  float lane[16] = {0};
  for (size_t begin = 0; begin < n; begin += PIECE) {
    const size_t count = swerve_min(PIECE, n - begin);
    float y[PIECE];
    for (size_t i = 0; i < count; i++) y[i] = power(x[begin + i] * a - shift);
    size_t i = 0;
    for (; i + 16 <= count; i += 16)
      for (int l = 0; l < 16; l++) lane[l] = lane[l] + y[i + (size_t)l];
    for (int l = 0; i < count; i++, l++) lane[l] = lane[l] + y[i];
    if (by)
      for (i = 0; i < count; i++) y[i] = y[i] * by[begin + i];
    narrow((char *)out + begin * bytes, y, count);
  }
  return sum_lanes(lane);
}

static float soften_f32(void *out, const float *x, float a, float shift, const float *by, size_t n) {
  return soften(out, x, a, shift, by, n, swerve_scalar_narrow_f32, 4);
}
static float soften_bf16(void *out, const float *x, float a, float shift, const float *by, size_t n) {
  return soften(out, x, a, shift, by, n, swerve_scalar_narrow_bf16, 2);
}
static float soften_f16(void *out, const float *x, float a, float shift, const float *by, size_t n) {
  return soften(out, x, a, shift, by, n, swerve_scalar_narrow_f16, 2);
}

static float scaled_maximum(float *x, const float *by, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] = x[i] * by[i];
  return maximum(x, n);
}

static int32_t argmax(const float *x, size_t n, float *value) {
  const float top = maximum(x, n);
  *value = top;
  for (size_t i = 0; i < n; i++)
    if (x[i] == top) return (int32_t)i;
  /* Nothing but NaN. */
  return 0;
}

static double sum_exp(const float *x, float shift, size_t n) {
  double sum = 0;
  /* Lanes of f32 over 4,096 numbers, then double: neither many roundings nor a slow loop. */
  for (size_t begin = 0; begin < n; begin += 4096) {
    float lane[16] = {0};
    const size_t end = swerve_min(n, begin + 4096);
    size_t i = begin;
    for (; i + 16 <= end; i += 16)
      for (int l = 0; l < 16; l++) lane[l] = lane[l] + exponential(x[i + (size_t)l] - shift);
    for (int l = 0; i < end; i++, l++) lane[l] = lane[l] + exponential(x[i] - shift);
    sum += (double)sum_lanes(lane);
  }
  return sum;
}

static double sum_exp_from(const float *x, float shift, float floor, size_t n) {
  double sum = 0;
  for (size_t begin = 0; begin < n; begin += 4096) {
    float lane[16] = {0};
    const size_t end = swerve_min(n, begin + 4096);
    for (size_t i = begin; i < end; i++)
      if (x[i] >= floor) lane[i % 16] = lane[i % 16] + exponential(x[i] - shift);
    sum += (double)sum_lanes(lane);
  }
  return sum;
}

static size_t count_from(const float *x, float floor, size_t n) {
  size_t count = 0;
  for (size_t i = 0; i < n; i++) count += x[i] >= floor;
  return count;
}

static size_t keys_from(uint64_t *keys, const float *x, float floor, uint32_t token, size_t n) {
  size_t count = 0;
  for (size_t i = 0; i < n; i++) {
    if (!(x[i] >= floor)) continue;
    /* Adding zero makes the two zeros one. */
    const uint32_t bits = swerve_float_bits(x[i] + 0.0f);
    const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
    keys[count++] = (uint64_t)ordered << 32 | (uint32_t)~(token + (uint32_t)i);
  }
  return count;
}

const swerve_kernels swerve_scalar_kernels = {
  .multiply = {swerve_scalar_multiply_f32, swerve_scalar_multiply_bf16, swerve_scalar_multiply_f16},
  .unpack = {swerve_scalar_unpack_f32, swerve_scalar_unpack_bf16, swerve_scalar_unpack_f16},
  .multiply_levels = {swerve_multiply_levels, swerve_multiply_levels, swerve_multiply_levels},
  .add_scaled = swerve_scalar_add_scaled,
  .multiply_int8 = swerve_scalar_multiply_int8,
  .multiply_nibbles = swerve_scalar_multiply_nibbles,
  .quantize = swerve_scalar_quantize,
  .panel_small = 4,
  .panel = 4,
  .panel_many = 4,
  .row_chunk = SWERVE_LEVEL_ROWS,
  .level_steps = 64,
  .widen = {swerve_scalar_widen_f32, swerve_scalar_widen_bf16, swerve_scalar_widen_f16},
  .narrow = {swerve_scalar_narrow_f32, swerve_scalar_narrow_bf16, swerve_scalar_narrow_f16},
  .sum_squares = sum_squares,
  .add = add,
  .scale = scale,
  .scale_weight = scale_weight,
  .blend = blend,
  .rotate = rotate,
  .finish = swerve_scalar_finish,
  .maximum = maximum,
  .exp2 = power_all,
  .soften = {soften_f32, soften_bf16, soften_f16},
  .scaled_maximum = scaled_maximum,
  .unpack_codes = swerve_scalar_unpack_codes,
  .encode = swerve_scalar_encode,
  .argmax = argmax,
  .exp = exp_one,
  .sum_exp = sum_exp,
  .sum_exp_from = sum_exp_from,
  .count_from = count_from,
  .keys_from = keys_from,
};
