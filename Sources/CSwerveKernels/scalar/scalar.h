/* The scalar loops that other files of this target call by name. */
#ifndef SWERVE_SCALAR_H
#define SWERVE_SCALAR_H

#include "../inner.h"

void swerve_scalar_multiply_f32(const swerve_tile *tile);
void swerve_scalar_multiply_bf16(const swerve_tile *tile);
void swerve_scalar_multiply_f16(const swerve_tile *tile);
void swerve_scalar_widen_f32(float *out, const void *in, size_t n);
void swerve_scalar_widen_bf16(float *out, const void *in, size_t n);
void swerve_scalar_widen_f16(float *out, const void *in, size_t n);
void swerve_scalar_narrow_f32(void *out, const float *in, size_t n);
void swerve_scalar_narrow_bf16(void *out, const float *in, size_t n);
void swerve_scalar_narrow_f16(void *out, const float *in, size_t n);
void swerve_scalar_encode(uint8_t *out, const float *x, float factor, int type, size_t n);
void swerve_scalar_unpack(
  char *low, char *high, size_t out_step, const uint8_t *in, size_t chunks, const swerve_codes *codes);

#endif
