/* Reading as fast as the memory gives: several streams in step, a cache line from each. */
#include "../inner.h"

#if SWERVE_X86
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)

uint64_t swerve_avx512_read(const char *memory, size_t bytes, int streams) {
  const size_t part = bytes / (size_t)streams / 256 * 256;
  __m512i sum = _mm512_setzero_si512();
  for (size_t i = 0; i < part; i += 256)
    for (int s = 0; s < streams; s++) {
      const char *p = memory + (size_t)s * part + i;
      const __m512i a = _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_loadu_si512(p + 64));
      const __m512i b = _mm512_xor_si512(_mm512_loadu_si512(p + 128), _mm512_loadu_si512(p + 192));
      sum = _mm512_xor_si512(sum, _mm512_xor_si512(a, b));
    }
  return (uint64_t)_mm512_reduce_add_epi64(sum);
}

#pragma clang attribute pop
#endif
