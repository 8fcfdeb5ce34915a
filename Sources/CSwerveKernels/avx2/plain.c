/* The reference's loops compiled a second time, for 256-bit vectors: the same C, and the same bits, since nothing in it is
 * fused. Where the set has loops of its own the table takes those. */
#include "avx2.h"

#if SWERVE_X86
#include <math.h>

#define swerve_scalar_kernels swerve_wide_kernels
#define swerve_scalar_multiply_f32 swerve_avx2_multiply_f32
#define swerve_scalar_multiply_bf16 swerve_avx2_multiply_bf16
#define swerve_scalar_multiply_f16 swerve_avx2_multiply_f16
#define swerve_scalar_multiply_int8 swerve_wide_multiply_int8
#define swerve_scalar_multiply_nibbles swerve_avx2_multiply_nibbles
#define swerve_scalar_widen_f32 swerve_wide_widen_f32
#define swerve_scalar_widen_bf16 swerve_wide_widen_bf16
#define swerve_scalar_widen_f16 swerve_wide_widen_f16
#define swerve_scalar_narrow_f32 swerve_wide_narrow_f32
#define swerve_scalar_narrow_bf16 swerve_wide_narrow_bf16
#define swerve_scalar_narrow_f16 swerve_wide_narrow_f16
#define swerve_scalar_unpack_f32 swerve_wide_unpack_f32
#define swerve_scalar_unpack_bf16 swerve_wide_unpack_bf16
#define swerve_scalar_unpack_f16 swerve_wide_unpack_f16
#define swerve_scalar_add_scaled swerve_wide_add_scaled
#define swerve_scalar_quantize swerve_wide_quantize
#define swerve_scalar_silu_multiply swerve_wide_silu_multiply
#define swerve_scalar_finish swerve_wide_finish
#define swerve_scalar_encode swerve_wide_encode
#define swerve_scalar_unpack_codes swerve_wide_unpack_codes

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#include "../scalar/codes.c"
#include "../scalar/convert.c"
#include "../scalar/finish.c"
#include "../scalar/levels.c"
#include "../scalar/vector.c"

#pragma clang attribute pop

void swerve_avx2_fill(swerve_kernels *table) {
  *table = swerve_wide_kernels;
  table->unpack[SWERVE_BFLOAT16] = swerve_avx2_unpack_bf16;
  table->unpack[SWERVE_FLOAT16] = swerve_avx2_unpack_f16;
  table->multiply_int8 = swerve_avx2_multiply_int8;
  table->unpack_codes = swerve_avx2_unpack_codes;
}
#endif
