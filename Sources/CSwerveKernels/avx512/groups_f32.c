/* Attention's products in f32 by fused multiply-add. */
#include "../inner.h"

#if SWERVE_X86
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma"))), apply_to = function)

#define VECTOR __m512
#define LOAD(p) _mm512_loadu_ps(p)
#define SPLAT(p) _mm512_set1_ps(*(const float *)(p))
#define DOT(sum, s, v) _mm512_fmadd_ps(s, v, sum)
#define NAME(product) swerve_avx512_##product##_f32

#include "groups.h"

#pragma clang attribute pop
#endif
