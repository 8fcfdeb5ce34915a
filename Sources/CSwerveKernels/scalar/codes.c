/* The reference of eight-bit keys and values: numbers to codes, codes to pairs. */
#include "scalar.h"

#pragma STDC FP_CONTRACT OFF

/* Nearest even, for 0 ... 2^22. */
static inline uint32_t whole(float x) { return swerve_float_bits(x + 8388608.0f) & 0x7fffff; }

/* A float of `mantissa` fraction bits whose exponent 1 is 2^least. */
static inline uint32_t small_float(float x, int mantissa, int least) {
  const float smallest = swerve_bits_float((uint32_t)(127 + least) << 23);
  /* Below it, multiples of one step. */
  if (x < smallest) return whole(x / smallest * (float)(1 << mantissa));
  const int cut = 23 - mantissa;
  const uint32_t bits = swerve_float_bits(x);
  const uint32_t rounded = (bits + (1u << (cut - 1)) - 1 + (bits >> cut & 1)) >> cut;
  return rounded - ((uint32_t)(126 + least) << mantissa);
}

void swerve_scalar_encode(uint8_t *out, const float *x, float factor, int type, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const uint32_t bits = swerve_float_bits(x[i]);
    const float y = swerve_bits_float(bits & 0x7fffffff) * factor;
    uint32_t code, most;
    switch (type) {
    case SWERVE_KV_INT8: code = whole(y), most = 127; break;
    case SWERVE_FP8_E4M3: code = small_float(y, 3, -6), most = 0x7e; break;
    default: code = small_float(y, 2, -14), most = 0x7b; break;
    }
    out[i] = (uint8_t)(swerve_min(code, most) | (bits >> 24 & 0x80));
  }
}

void swerve_scalar_unpack_codes(
  char *low, char *high, size_t out_step, const uint8_t *in, size_t chunks, const swerve_codes *codes
) {
  for (size_t c = 0; c < chunks; c++)
    for (size_t i = 0; i < 64; i++) {
      const uint8_t code = in[c * 64 + i];
      const uint16_t number = (uint16_t)(codes->high[code & 127] << 8 | codes->low[code & 127] | (code & 0x80) << 8);
      const size_t place = i / 16 * 8 + i % 8;
      memcpy((i & 8 ? high : low) + c * out_step + place * 2, &number, 2);
    }
}
