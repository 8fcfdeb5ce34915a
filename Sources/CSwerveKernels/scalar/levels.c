/* The reference of quantised weights and rows: unpacking, scales, products of bytes. */
#include "../levels.h"
#include "scalar.h"

#pragma STDC FP_CONTRACT OFF

/* One level of 8 bits as its place among bytes of sign and magnitude says. */
static inline float level8(uint8_t byte) { return byte & 0x80 ? -(float)(byte & 0x7f) : (float)byte; }

void swerve_scalar_unpack_f32(void *out, const char *levels, int format, size_t steps) {
  float *y = out;
  for (size_t k = 0; k < steps * 2; k++)
    for (size_t lane = 0; lane < 16; lane++) {
      if (format == SWERVE_INT8) {
        y[k * 16 + lane] = level8((uint8_t)levels[swerve_int8_place(k, lane) - 64]);
      } else {
        uint16_t word;
        memcpy(&word, levels + swerve_nibble_place(k, lane), 2);
        y[k * 16 + lane] = swerve_levels_of.four[swerve_four_index(format)][word >> swerve_nibble_shift(k) & 15];
      }
    }
}

static inline void unpack16(uint16_t *y, const char *levels, int format, size_t steps, int half) {
  const uint8_t *low = swerve_levels_of.low[half], *high = swerve_levels_of.high[half];
  const uint16_t *four = swerve_levels_of.four16[half][swerve_four_index(format)];
  for (size_t k = 0; k < steps * 2; k++)
    for (size_t lane = 0; lane < 16; lane++) {
      uint16_t bits;
      if (format == SWERVE_INT8) {
        const uint8_t byte = (uint8_t)levels[swerve_int8_place(k, lane) - 64];
        bits = (uint16_t)(low[byte & 0x7f] | high[byte & 0x7f] << 8 | (byte & 0x80) << 8);
      } else {
        uint16_t word;
        memcpy(&word, levels + swerve_nibble_place(k, lane), 2);
        bits = four[word >> swerve_nibble_shift(k) & 15];
      }
      y[k / 2 * 32 + lane * 2 + k % 2] = bits;
    }
}

void swerve_scalar_unpack_bf16(void *out, const char *levels, int format, size_t steps) {
  unpack16(out, levels, format, steps, 0);
}

void swerve_scalar_unpack_f16(void *out, const char *levels, int format, size_t steps) {
  unpack16(out, levels, format, steps, 1);
}

void swerve_scalar_add_scaled(const swerve_scaled_sums *p) {
  for (size_t r = 0; r < p->rows; r++) {
    float *acc = p->acc + r * p->acc_stride;
    const float *sum = p->sums + r * p->sums_stride;
    for (size_t i = 0; i < p->blocks * 16; i++) acc[i] = (p->first ? 0 : acc[i]) + sum[i] * p->scales[i];
  }
}

void swerve_scalar_multiply_int8(const swerve_tile *t) {
  for (size_t b = 0; b < t->blocks; b++)
    for (size_t r = 0; r < t->rows; r++) {
      const int8_t *x = (const int8_t *)t->x + r * t->x_stride;
      const int8_t *w = (const int8_t *)t->w + b * t->block_stride;
      int32_t *acc = (int32_t *)t->acc + r * t->acc_stride + b * 16;
      int32_t a[16];
      for (int o = 0; o < 16; o++) a[o] = t->accumulate ? acc[o] : 0;
      for (size_t k = 0; k < t->steps; k++, x += 4, w += t->step_stride)
        for (int o = 0; o < 16; o++)
          a[o] += x[0] * w[o * 4] + x[1] * w[o * 4 + 1] + x[2] * w[o * 4 + 2] + x[3] * w[o * 4 + 3];
      memcpy(acc, a, sizeof a);
    }
}

float swerve_scalar_quantize(uint8_t *out, const float *x, size_t n, int offset) {
  float scale, inverse;
  swerve_int8_scale(swerve_magnitude_bits(x, n, 0), &scale, &inverse);
  for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(swerve_nearest(x[i] * inverse) + offset);
  return scale;
}
