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
void swerve_scalar_unpack_f32(void *out, const char *levels, int format, size_t steps);
void swerve_scalar_unpack_bf16(void *out, const char *levels, int format, size_t steps);
void swerve_scalar_unpack_f16(void *out, const char *levels, int format, size_t steps);
void swerve_scalar_add_scaled(const swerve_scaled_sums *sums);
void swerve_scalar_multiply_int8(const swerve_tile *tile);
void swerve_scalar_multiply_nibbles(const swerve_nibbles *nibbles);
float swerve_scalar_quantize(uint8_t *out, const float *x, size_t n, int offset);
void swerve_scalar_silu_multiply(float *out, const float *gate, const float *up, size_t n);
void swerve_scalar_finish(const swerve_sums *sums);
void swerve_scalar_encode(uint8_t *out, const float *x, float factor, int type, size_t n);
void swerve_scalar_unpack_codes(
  char *low, char *high, size_t out_step, const uint8_t *in, size_t chunks, const swerve_codes *codes);

#endif
