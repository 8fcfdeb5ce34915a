/* From numbers to levels and scales: rounding a row of weights, or a group of it. Plain arithmetic in a fixed order: the
 * same bytes on every machine. */
#include "../levels.h"
#include "../scalar/scalar.h"
#include "pack.h"

#pragma STDC FP_CONTRACT OFF

enum { PIECE = 512, LARGEST_GROUP = 128 };

/* ---- plain C -------------------------------------------------------------------------------------------------- */

static float rounded_half(float x, uint16_t *bits) {
  float back;
  swerve_scalar_narrow_f16(bits, &x, 1);
  swerve_scalar_widen_f16(&back, bits, 1);
  return back;
}

static float int4_error(const float *x, size_t n, float scale) {
  const float inverse = 1.0f / scale;
  float lane[16] = {0};
  for (size_t i = 0; i < n; i += 16)
    for (size_t l = 0; l < 16; l++) {
      float level = x[i + l] * inverse;
      level = level > 7.0f ? 7.0f : level;
      level = level < -8.0f ? -8.0f : level;
      level = (level + 12582912.0f) - 12582912.0f;
      const float error = x[i + l] - level * scale;
      lane[l] = lane[l] + error * error;
    }
  for (size_t half = 8; half > 0; half /= 2)
    for (size_t l = 0; l < half; l++) lane[l] = lane[l] + lane[l + half];
  return lane[0];
}

static uint16_t int4_level(float scaled) {
  return (uint16_t)(swerve_nearest(scaled > 7.0f ? 7.0f : scaled < -8.0f ? -8.0f : scaled) & 15);
}

/* The nearest of 16 levels: as many as there are midpoints below. */
static uint16_t normal_level(float scaled) {
  const float *levels = swerve_levels_of.four[1];
  uint16_t level = 0;
  for (int i = 0; i < 15; i++) level = (uint16_t)(level + (scaled > (levels[i] + levels[i + 1]) * 0.5f));
  return level;
}

static void put_four(const swerve_pack_job *j, const float *x, float inverse, char *levels, size_t lane) {
  for (size_t k = 0; k < j->group; k += 8) {
    uint16_t level[8];
    for (size_t i = 0; i < 8; i++) {
      const float scaled = inverse == 0 ? 0.0f : x[k + i] * inverse;
      level[i] = j->format == SWERVE_NF4 ? normal_level(scaled) : int4_level(scaled);
    }
    if (j->format == SWERVE_INT4_DYNAMIC) {
      for (size_t i = 0; i < 4; i++)
        levels[swerve_byte_nibble_place(k + i, lane)] = (char)(level[i] | level[i + 4] << 4);
      continue;
    }
    for (size_t i = 0; i < 2; i++) {
      const uint16_t word = (uint16_t)(level[i] | level[i + 2] << 4 | level[i + 4] << 8 | level[i + 6] << 12);
      memcpy(levels + swerve_nibble_place(k + i, lane), &word, 2);
    }
  }
}

static int32_t put_eight(
  const swerve_pack_job *j, const float *x, size_t n, float inverse, char *block, size_t k, size_t lane
) {
  int32_t sum = 0;
  for (size_t i = 0; i < n; i++) {
    const int32_t level = swerve_nearest(x[i] * inverse);
    sum += level;
    if (j->format == SWERVE_INT8_DYNAMIC)
      block[swerve_dynamic_place(k + i, lane)] = (char)level;
    else
      block[swerve_int8_place(k + i, lane)] = (char)(level < 0 ? 0x80 | -level : level);
  }
  return sum;
}

static const swerve_quantizer plain = {
  .magnitude = swerve_magnitude_bits, .int4_error = int4_error, .half = rounded_half, .put_four = put_four,
  .put_eight = put_eight,
};

static const swerve_quantizer *quantizer(void) {
#if SWERVE_X86
  if (swerve_kernels_for(SWERVE_AVX512)) return &swerve_avx512_quantizer;
#endif
  return &plain;
}

/* ---- rows and groups ------------------------------------------------------------------------------------------- */

static void pack_int8(const swerve_pack_job *j, char *block, size_t lane, size_t row) {
  const swerve_quantizer *loops = quantizer();
  float x[PIECE];
  uint32_t largest = 0;
  for (size_t k = 0; k < j->row_columns; k += PIECE) {
    const size_t n = swerve_min(PIECE, j->row_columns - k);
    swerve_pack_read(j, row, k, n, x);
    largest = loops->magnitude(x, n, largest);
  }
  float scale, inverse;
  swerve_int8_scale(largest, &scale, &inverse);
  ((float *)block)[lane] = scale;
  int32_t sum = 0;
  for (size_t k = 0; k < j->columns; k += PIECE) {
    const size_t n = swerve_min(PIECE, j->columns - k);
    swerve_pack_read(j, row, j->first_column + k, n, x);
    sum += loops->put_eight(j, x, n, inverse, block, k, lane);
  }
  if (j->format == SWERVE_INT8_DYNAMIC) ((int32_t *)(block + 64))[lane] = sum;
}

/* Levels that the largest magnitude of a group may fall on: its scale is the magnitude over one of these, of either
 * sign, whichever gives the least squared error. The first wins a tie. */
static const float int4_reach[] = {8.0f, 7.0f, 7.5f, 8.5f, 9.0f, 6.5f};

static float int4_scale(const swerve_quantizer *loops, const float *x, size_t n, float largest, uint16_t *bits) {
  float best = 0, least = 0;
  *bits = 0;
  for (size_t c = 0; c < sizeof int4_reach / sizeof int4_reach[0]; c++)
    for (int sign = 1; sign >= -1; sign -= 2) {
      uint16_t candidate_bits;
      const float candidate = loops->half((float)sign * largest / int4_reach[c], &candidate_bits);
      /* Too small or too large for binary16. */
      if (!(candidate * candidate > 0) || candidate - candidate != 0) continue;
      const float error = loops->int4_error(x, n, candidate);
      if (best != 0 && !(error < least)) continue;
      best = candidate;
      least = error;
      *bits = candidate_bits;
    }
  return best;
}

static void pack_groups(const swerve_pack_job *j, char *block, size_t lane, size_t row) {
  const swerve_quantizer *loops = quantizer();
  float x[LARGEST_GROUP];
  for (size_t number = 0; number < j->columns / j->group; number++) {
    swerve_pack_read(j, row, j->first_column + number * j->group, j->group, x);
    const uint32_t magnitude = loops->magnitude(x, j->group, 0);
    const float largest = swerve_bits_float(magnitude);
    uint16_t bits = 0;
    float scale = 0;
    if (magnitude >= 0x7f800000)
      bits = 0x7e00;
    else
      scale = j->format == SWERVE_NF4 ? loops->half(largest, &bits) : int4_scale(loops, x, j->group, largest, &bits);
    memcpy(block + swerve_group_scales(number, j->group) + lane * 2, &bits, 2);
    const float inverse = scale - scale == 0 && scale != 0 ? 1.0f / scale : 0.0f;
    loops->put_four(j, x, inverse, block + swerve_group_levels(number, j->group), lane);
  }
}

void swerve_pack_quantized(const swerve_pack_job *j, char *block, size_t lane, size_t row) {
  if (j->format == SWERVE_INT8 || j->format == SWERVE_INT8_DYNAMIC)
    pack_int8(j, block, lane, row);
  else
    pack_groups(j, block, lane, row);
}
