/* Where levels and scales lie in a quantised block, and what a level stands for. Private to this target. */
#ifndef SWERVE_LEVELS_H
#define SWERVE_LEVELS_H

#include "inner.h"

/* First byte of a group's levels, and of its 16 binary16 scales. */
static inline size_t swerve_group_levels(size_t number, size_t group) {
  return number / 2 * (64 + group * 16) + 64 + number % 2 * group * 8;
}

static inline size_t swerve_group_scales(size_t number, size_t group) {
  return number / 2 * (64 + group * 16) + number % 2 * 32;
}

/* Byte of input k and output `lane` in an int8 block. */
static inline size_t swerve_int8_place(size_t k, size_t lane) {
  const size_t word = lane * 2 + k % 2;
  return 64 + k / 4 * 64 + word / 8 * 16 + k % 4 / 2 * 8 + word % 8;
}

/* Byte of input k and output `lane` in a block for int8 rows. */
static inline size_t swerve_dynamic_place(size_t k, size_t lane) { return 128 + k / 4 * 64 + lane * 4 + k % 4; }

/* Word and shift of input k of a group and output `lane`, from the group's levels. */
static inline size_t swerve_nibble_place(size_t k, size_t lane) { return k / 8 * 64 + (lane * 2 + k % 2) * 2; }
static inline int swerve_nibble_shift(size_t k) { return (int)(k % 8 / 2) * 4; }

/* The same in a group for int8 rows: bytes. */
static inline size_t swerve_byte_nibble_place(size_t k, size_t lane) { return k / 8 * 64 + lane * 4 + k % 4; }
static inline int swerve_byte_nibble_shift(size_t k) { return (int)(k % 8 / 4) * 4; }
/* Two's complement of the low four bits. */
static inline int32_t swerve_nibble_level(unsigned bits) { return (int32_t)((bits & 15) ^ 8) - 8; }

/* The numbers of levels in every type, filled once by swerve_level_tables_fill. */
typedef struct {
  float four[2][16];            /* int4, nf4 */
  uint16_t four16[2][2][32];    /* bfloat16, float16; int4, nf4; twice 16, so that a fifth bit does not matter */
  uint8_t low[2][128], high[2][128]; /* bfloat16, float16: bytes of magnitudes 0 ... 127 */
} swerve_level_tables;

extern swerve_level_tables swerve_levels_of;
void swerve_level_tables_fill(void);

/* Index of a 16-bit type, of a 4-bit format. */
static inline int swerve_half_index(int type) { return type == SWERVE_FLOAT16; }
static inline int swerve_four_index(int format) { return format == SWERVE_NF4; }

/* Of the magnitudes' bits, so that a NaN is the largest; then whether a scale can be made of it. */
static inline uint32_t swerve_magnitude_bits(const float *x, size_t n, uint32_t largest) {
  for (size_t i = 0; i < n; i++) {
    const uint32_t bits = swerve_float_bits(x[i]) & 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

/* Scale and its inverse of levels -127 ... 127. All zeros (or next to it): 0 and 0; not finite: NaN and 0. */
static inline void swerve_int8_scale(uint32_t magnitude_bits, float *scale, float *inverse) {
  const float largest = swerve_bits_float(magnitude_bits);
  const bool finite = magnitude_bits < 0x7f800000, usable = finite && largest > 1e-30f;
  *scale = usable ? largest / 127.0f : finite ? 0.0f : swerve_bits_float(0x7fc00000);
  *inverse = usable ? 127.0f / largest : 0.0f;
}

/* Nearest whole number, ties to even, for magnitudes below 2^22. NaN and infinity times an inverse of 0 give 0. */
static inline int32_t swerve_nearest(float x) {
  const uint32_t bits = swerve_float_bits(x + 12582912.0f);
  return (bits & 0x7f800000) == 0x7f800000 ? 0 : (int32_t)(bits - 0x4b400000u);
}

#endif
