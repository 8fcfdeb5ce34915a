/* What the files of this set give each other. */
#ifndef SWERVE_AVX2_H
#define SWERVE_AVX2_H

#include "../levels.h"

#if SWERVE_X86
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

void swerve_avx2_multiply_f32(const swerve_tile *tile);
void swerve_avx2_multiply_bf16(const swerve_tile *tile);
void swerve_avx2_multiply_f16(const swerve_tile *tile);
void swerve_avx2_multiply_int8(const swerve_tile *tile);
void swerve_avx2_multiply_nibbles(const swerve_nibbles *nibbles);
void swerve_avx2_unpack_bf16(void *out, const char *levels, int format, size_t steps);
void swerve_avx2_unpack_f16(void *out, const char *levels, int format, size_t steps);
void swerve_avx2_unpack_codes(
  char *low, char *high, size_t out_step, const uint8_t *in, size_t chunks, const swerve_codes *codes);
#endif

#endif
