/* The numbers behind eight-bit keys and values, and the scale that goes with a head's numbers of one token. */
#include "../inner.h"

static swerve_codes tables[3];

/* Magnitude of an index. Codes that mean infinity or NaN elsewhere go on as numbers here: memory that was never written
 * holds any code, and its weight of zero must stay zero. */
static float magnitude(int type, int index) {
  if (type == SWERVE_KV_INT8) return (float)index;
  const int mantissa = type == SWERVE_FP8_E4M3 ? 3 : 2, bias = type == SWERVE_FP8_E4M3 ? 7 : 15;
  const int exponent = index >> mantissa;
  const float fraction = (float)(index & ((1 << mantissa) - 1)) / (float)(1 << mantissa);
  const float power = swerve_bits_float((uint32_t)(127 - bias + (exponent > 0 ? exponent : 1)) << 23);
  return power * (exponent > 0 ? 1 + fraction : fraction);
}

void swerve_codes_fill(void) {
  for (int type = SWERVE_KV_INT8; type <= SWERVE_FP8_E5M2; type++)
    for (int i = 0; i < 128; i++) {
      const uint32_t bits = swerve_float_bits(magnitude(type, i));
      tables[type - SWERVE_KV_INT8].low[i] = (uint8_t)(bits >> 16);
      tables[type - SWERVE_KV_INT8].high[i] = (uint8_t)(bits >> 24);
    }
}

const swerve_codes *swerve_codes_of(int type) { return &tables[type - SWERVE_KV_INT8]; }

float swerve_codes_scale(const float *x, size_t n, int type, float *factor) {
  int32_t top = 0;
  for (size_t i = 0; i < n; i++) {
    const int32_t bits = (int32_t)(swerve_float_bits(x[i]) & 0x7fffffff);
    top = bits > top ? bits : top;
  }
  *factor = 0;
  /* One number that is infinite or none makes all of the token's so: what it touches shows it. */
  if (top >= 0x7f800000) return swerve_bits_float(0x7fc00000);
  if (top < 0x04000000) return 0; /* below 2^-119 a reciprocal would overflow */
  const float most = type == SWERVE_KV_INT8 ? 127 : type == SWERVE_FP8_E4M3 ? 448 : 57344;
  /* To 16 bits, upwards, so that the largest number is not clamped. */
  uint32_t scale = (swerve_float_bits(swerve_bits_float((uint32_t)top) / most) + 0xffff) & 0xffff0000;
  if (scale < 0x00800000) scale = 0x00800000; /* the smallest normal number */
  *factor = 1 / swerve_bits_float(scale);
  return swerve_bits_float(scale);
}
