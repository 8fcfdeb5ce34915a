/* Between f32 and the 16-bit types, round to nearest even, NaN kept quiet. Bit arithmetic, so that every architecture
 * agrees. In and out may be the same f32 buffer. */
#include "scalar.h"

void swerve_scalar_widen_f32(float *out, const void *in, size_t n) { memmove(out, in, n * 4); }

void swerve_scalar_widen_bf16(float *out, const void *in, size_t n) {
  const uint16_t *x = in;
  for (size_t i = 0; i < n; i++) out[i] = swerve_bits_float((uint32_t)x[i] << 16);
}

void swerve_scalar_widen_f16(float *out, const void *in, size_t n) {
  const uint16_t *x = in;
  for (size_t i = 0; i < n; i++) {
    const uint32_t h = x[i];
    /* The exponent moves by 112; a product with 2^112 does that for denormals too. */
    const uint32_t magnitude = swerve_float_bits(swerve_bits_float((h & 0x7fff) << 13) * 0x1.0p112f);
    const uint32_t special = (h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u;
    out[i] = swerve_bits_float(magnitude | special | (h & 0x8000) << 16);
  }
}

void swerve_scalar_narrow_f32(void *out, const float *in, size_t n) { memmove(out, in, n * 4); }

void swerve_scalar_narrow_bf16(void *out, const float *in, size_t n) {
  uint16_t *y = out;
  for (size_t i = 0; i < n; i++) {
    const uint32_t bits = swerve_float_bits(in[i]);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const uint32_t quiet = bits >> 16 | 0x40;
    y[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
  }
}

void swerve_scalar_narrow_f16(void *out, const float *in, size_t n) {
  uint16_t *y = out;
  for (size_t i = 0; i < n; i++) {
    const uint32_t bits = swerve_float_bits(in[i]);
    const uint32_t magnitude = bits & 0x7fffffff;
    /* Below 2^-14: adding 0.5 leaves the multiple of 2^-24 in the low bits, rounded by the addition. */
    const uint32_t small = swerve_float_bits(swerve_bits_float(magnitude) + 0.5f) - 0x3f000000;
    const uint32_t normal = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    uint32_t half = magnitude < 0x38800000 ? small : normal;
    /* 65520 and more round to infinity. */
    half = magnitude >= 0x477ff000 ? 0x7c00 : half;
    half = magnitude > 0x7f800000 ? 0x7e00 | (magnitude >> 13 & 0x1ff) : half;
    y[i] = (uint16_t)(half | (bits >> 16 & 0x8000));
  }
}
