/* The reference of the matrix loop: plain C in groups of 16 outputs, multiply then add (never fused, so that every
 * architecture gives the same bits), one sum over k from first to last. */
#include "../inner.h"
#include "scalar.h"

#pragma STDC FP_CONTRACT OFF

/* One row against one block, k steps of f32 weights. */
static inline void row_block(
  float *restrict acc, const float *restrict x, const float *restrict w, size_t step, size_t steps, bool accumulate
) {
  float a[16];
  for (int o = 0; o < 16; o++) a[o] = accumulate ? acc[o] : 0.0f;
  for (size_t k = 0; k < steps; k++) {
    const float xk = x[k];
    const float *wk = w + k * step;
    for (int o = 0; o < 16; o++) a[o] = a[o] + xk * wk[o];
  }
  for (int o = 0; o < 16; o++) acc[o] = a[o];
}

void swerve_scalar_multiply_f32(const swerve_tile *t) {
  for (size_t b = 0; b < t->blocks; b++) {
    const float *w = (const float *)((const char *)t->w + b * t->block_stride);
    for (size_t r = 0; r < t->rows; r++) {
      const float *x = (const float *)((const char *)t->x + r * t->x_stride);
      row_block(t->acc + r * t->acc_stride + b * 16, x, w, t->step_stride / 4, t->steps, t->accumulate);
    }
  }
}

/* Steps of 16-bit pairs that are widened at once: 16 KiB of weights. */
enum { PIECE = 128 };

static void multiply_pairs(const swerve_tile *t, void (*widen)(float *, const void *, size_t)) {
  float w[PIECE * 2][16];
  float x[PIECE * 2];
  for (size_t b = 0; b < t->blocks; b++) {
    const char *block = (const char *)t->w + b * t->block_stride;
    for (size_t step = 0; step < t->steps || (step == 0 && t->steps == 0); step += PIECE) {
      const size_t n = swerve_min(PIECE, t->steps - step);
      for (size_t k = 0; k < n; k++) {
        float pair[32];
        widen(pair, block + (step + k) * t->step_stride, 32);
        for (int o = 0; o < 16; o++) {
          w[k * 2][o] = pair[o * 2];
          w[k * 2 + 1][o] = pair[o * 2 + 1];
        }
      }
      for (size_t r = 0; r < t->rows; r++) {
        widen(x, (const char *)t->x + r * t->x_stride + step * 4, n * 2);
        row_block(t->acc + r * t->acc_stride + b * 16, x, w[0], 16, n * 2, t->accumulate || step > 0);
      }
    }
  }
}

void swerve_scalar_multiply_bf16(const swerve_tile *t) { multiply_pairs(t, swerve_scalar_widen_bf16); }
void swerve_scalar_multiply_f16(const swerve_tile *t) { multiply_pairs(t, swerve_scalar_widen_f16); }
