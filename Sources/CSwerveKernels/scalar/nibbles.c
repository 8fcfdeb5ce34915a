/* Four-bit levels against rows of int8: whole numbers within a group, which are exact, times its scale. */
#include "scalar.h"

#include "../levels.h"

static void group_sums(const swerve_nibbles *n, const int8_t *x, const uint8_t *levels, int32_t sums[16]) {
  memset(sums, 0, 16 * sizeof *sums);
  for (size_t k = 0; k < n->group; k++)
    for (size_t lane = 0; lane < 16; lane++)
      sums[lane] += x[k] * swerve_nibble_level(levels[swerve_byte_nibble_place(k, lane)] >> swerve_byte_nibble_shift(k));
}

void swerve_scalar_multiply_nibbles(const swerve_nibbles *n) {
  for (size_t b = 0; b < n->blocks; b++) {
    const char *block = n->w + b * n->block_stride;
    for (size_t k = 0, number = 0; k < n->inputs; k += n->group, number++) {
      float scales[16];
      swerve_scalar_widen_f16(scales, block + swerve_group_scales(number, n->group), 16);
      const uint8_t *levels = (const uint8_t *)block + swerve_group_levels(number, n->group);
      for (size_t r = 0; r < n->rows; r++) {
        float *acc = n->acc + r * n->acc_stride + b * 16;
        int32_t sums[16];
        group_sums(n, (const int8_t *)n->x + r * n->x_stride + k, levels, sums);
        for (size_t lane = 0; lane < 16; lane++)
          acc[lane] = (k == 0 ? 0 : acc[lane]) + (float)sums[lane] * scales[lane];
      }
    }
  }
}
