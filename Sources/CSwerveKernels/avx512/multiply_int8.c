/* The matrix loop of bytes by VPDPBUSD: a step adds four products of unsigned bytes of x with signed ones of W to each of
 * 16 sums of whole numbers, which are exact, so that no order matters. Rows carry an offset of 128 that is taken off
 * with the sums of the levels. Up to 6 rows by 4 blocks are held in registers; one or two rows take 8 blocks. */
#include "../inner.h"

#if SWERVE_X86
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))), \
  apply_to = function)

/* Steps that all rows pass before the next are fetched. A few rows pass the whole of K at once. */
enum { CHUNK = 64, GROUP = 6 };

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/* R rows by B blocks. */
INLINE void block(
  const swerve_tile *t, const char *x, const char *w, size_t steps, int32_t *acc, bool accumulate, const int R,
  const int B
) {
  __m512i a[6][8];
  const size_t xs = t->x_stride, bs = t->block_stride, ss = t->step_stride, as = t->acc_stride;
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++)
      a[r][b] = accumulate ? _mm512_loadu_si512(acc + (size_t)r * as + b * 16) : _mm512_setzero_si512();
  const size_t ahead = t->rows <= GROUP ? 1024 : CHUNK * 64;
  for (size_t k = 0; k < steps; k++) {
    __m512i v[8];
    UNROLL for (int b = 0; b < B; b++) {
      v[b] = _mm512_loadu_si512(w + (size_t)b * bs);
      _mm_prefetch(w + (size_t)b * bs + ahead, _MM_HINT_T0);
    }
    UNROLL for (int r = 0; r < R; r++) {
      int four;
      memcpy(&four, x + (size_t)r * xs, 4);
      const __m512i s = _mm512_set1_epi32(four);
      UNROLL for (int b = 0; b < B; b++) a[r][b] = _mm512_dpbusd_epi32(a[r][b], s, v[b]);
    }
    w += ss;
    x += 4;
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++) _mm512_storeu_si512(acc + (size_t)r * as + b * 16, a[r][b]);
}

#define PARAMETERS \
  const swerve_tile *t, const char *x, const char *w, size_t steps, int32_t *acc, bool accumulate, int rows
#define ROWS(R, B) \
  case R: block(t, x, w, steps, acc, accumulate, R, B); break

static void blocks_1(PARAMETERS) {
  switch (rows) { ROWS(1, 1); ROWS(2, 1); ROWS(3, 1); ROWS(4, 1); ROWS(5, 1); ROWS(6, 1); }
}
static void blocks_4(PARAMETERS) {
  switch (rows) { ROWS(1, 4); ROWS(2, 4); ROWS(3, 4); ROWS(4, 4); ROWS(5, 4); ROWS(6, 4); }
}
static void blocks_8(PARAMETERS) {
  switch (rows) { ROWS(1, 8); ROWS(2, 8); }
}

void swerve_avx512_multiply_int8(const swerve_tile *t) {
  const size_t chunk = t->rows <= GROUP ? t->steps : CHUNK;
  for (size_t b = 0, blocks; b < t->blocks; b += blocks) {
    const size_t left = t->blocks - b;
    blocks = left >= 8 && t->rows <= 2 ? 8 : left >= 4 ? 4 : 1;
    for (size_t step = 0; step < t->steps; step += chunk) {
      const char *w = (const char *)t->w + b * t->block_stride + step * t->step_stride;
      const size_t steps = swerve_min(chunk, t->steps - step), groups = (t->rows + GROUP - 1) / GROUP;
      const bool accumulate = t->accumulate || step > 0;
      for (size_t g = 0, row = 0, rows; g < groups; g++, row += rows) {
        rows = (t->rows - row) / (groups - g);
        const char *x = (const char *)t->x + row * t->x_stride + step * 4;
        int32_t *acc = (int32_t *)t->acc + row * t->acc_stride + b * 16;
        switch (blocks) {
        case 8: blocks_8(t, x, w, steps, acc, accumulate, (int)rows); break;
        case 4: blocks_4(t, x, w, steps, acc, accumulate, (int)rows); break;
        default: blocks_1(t, x, w, steps, acc, accumulate, (int)rows); break;
        }
      }
    }
  }
}

#pragma clang attribute pop
#endif
