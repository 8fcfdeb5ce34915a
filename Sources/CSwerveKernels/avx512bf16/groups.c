/* Attention's products in bfloat16 by VDPBF16PS. */
#include "../inner.h"

#if SWERVE_X86
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,avx512bf16"))), \
  apply_to = function)

static inline __attribute__((always_inline)) __m512bh splat(const char *pair) {
  int bits;
  memcpy(&bits, pair, 4);
  return (__m512bh)_mm512_set1_epi32(bits);
}

#define VECTOR __m512bh
#define LOAD(p) (__m512bh)_mm512_loadu_si512(p)
#define SPLAT(p) splat(p)
#define DOT(sum, s, v) _mm512_dpbf16_ps(sum, s, v)
#define NAME(product) swerve_avx512bf16_##product

#include "../avx512/groups.h"

#pragma clang attribute pop
#endif
