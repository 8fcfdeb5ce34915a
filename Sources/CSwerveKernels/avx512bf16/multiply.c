/* The matrix loop of bfloat16 by VDPBF16PS: a step adds a pair of products to each of 16 f32 sums (denormals are
 * flushed), one sum over the pairs from first to last. Up to 6 rows by 4 blocks are held in registers; one or two
 * rows take 8 blocks, which reads 8 streams of weights at once. */
#include "../inner.h"

#if SWERVE_X86
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,avx512bf16"))), \
  apply_to = function)

/* Steps that all rows pass before the next are fetched: 4 blocks x 64 x 64 bytes, and the next as many, stay in the
 * first-level cache. A few rows pass the whole of K at once. */
enum { CHUNK = 64, GROUP = 6 };

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/* What a group of rows fetches ahead: `count` blocks from `first`, `ahead` bytes on from the step it is at. The groups
 * share the blocks of a chunk, so that each line is asked for once and the requests spread over the time they have.
 * What lies ahead of the last `near` steps of K is the next panel, `jump` bytes further. */
typedef struct {
  size_t ahead, near, jump;
  int first, count;
} fetch;

/* R rows by B blocks, fetching P blocks ahead. */
INLINE void block(
  const swerve_tile *t, const char *x, const char *w, size_t steps, float *acc, bool accumulate, fetch f, const int R,
  const int B, const int P
) {
  __m512 a[6][8];
  const size_t xs = t->x_stride, bs = t->block_stride, ss = t->step_stride, as = t->acc_stride;
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++)
      a[r][b] = accumulate ? _mm512_loadu_ps(acc + (size_t)r * as + b * 16) : _mm512_setzero_ps();
  const char *ahead = w + f.ahead + (size_t)f.first * bs;
  const size_t turn = steps - f.near;
  for (size_t k = 0; k < steps; k++) {
    if (k == turn) ahead += f.jump;
    __m512i v[8];
    UNROLL for (int p = 0; p < P; p++) _mm_prefetch(ahead + (size_t)p * bs, _MM_HINT_T0);
    UNROLL for (int b = 0; b < B; b++) v[b] = _mm512_loadu_si512(w + (size_t)b * bs);
    UNROLL for (int r = 0; r < R; r++) {
      int pair;
      memcpy(&pair, x + (size_t)r * xs, 4);
      const __m512bh s = (__m512bh)_mm512_set1_epi32(pair);
      UNROLL for (int b = 0; b < B; b++) a[r][b] = _mm512_dpbf16_ps(a[r][b], s, (__m512bh)v[b]);
    }
    w += ss;
    ahead += ss;
    x += 4;
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++) _mm512_storeu_ps(acc + (size_t)r * as + b * 16, a[r][b]);
}

#define PARAMETERS \
  const swerve_tile *t, const char *x, const char *w, size_t steps, float *acc, bool accumulate, fetch f, int rows
#define ROWS(R, B) \
  case R: \
    if (f.count == 0) block(t, x, w, steps, acc, accumulate, f, R, B, 0); \
    else if (f.count == 1) block(t, x, w, steps, acc, accumulate, f, R, B, 1); \
    else if (f.count == 2 || B < 4) block(t, x, w, steps, acc, accumulate, f, R, B, B < 2 ? 1 : 2); \
    else block(t, x, w, steps, acc, accumulate, f, R, B, B); \
    break

static void blocks_1(PARAMETERS) {
  switch (rows) { ROWS(1, 1); ROWS(2, 1); ROWS(3, 1); ROWS(4, 1); ROWS(5, 1); ROWS(6, 1); }
}
static void blocks_2(PARAMETERS) {
  switch (rows) { ROWS(1, 2); ROWS(2, 2); ROWS(3, 2); ROWS(4, 2); ROWS(5, 2); ROWS(6, 2); }
}
static void blocks_4(PARAMETERS) {
  switch (rows) { ROWS(1, 4); ROWS(2, 4); ROWS(3, 4); ROWS(4, 4); ROWS(5, 4); ROWS(6, 4); }
}
static void blocks_8(PARAMETERS) {
  switch (rows) { ROWS(1, 8); ROWS(2, 8); }
}

/* All rows, in groups of at most 6 of even size, over some steps of up to 8 blocks. */
static void rows_by(const swerve_tile *t, size_t blocks, size_t first_block, size_t step, size_t steps) {
  const char *w = (const char *)t->w + first_block * t->block_stride + step * t->step_stride;
  const bool accumulate = t->accumulate || step > 0, last = step + steps == t->steps;
  const bool few = t->rows <= GROUP;
  const size_t groups = (t->rows + GROUP - 1) / GROUP;
  size_t row = 0;
  for (size_t g = 0; g < groups; g++) {
    const size_t rows = (t->rows - row) / (groups - g);
    const char *x = (const char *)t->x + row * t->x_stride + step * 4;
    float *acc = t->acc + row * t->acc_stride + first_block * 16;
    const size_t share = (blocks + groups - 1) / groups;
    const fetch f = {
      /* 1 KiB for a few rows, a whole chunk for many. */
      .ahead = few ? 1024 : CHUNK * 64,
      .near = !last ? 0 : few ? swerve_min(steps, 16) : steps,
      .jump = (blocks - 1) * t->block_stride,
      .first = (int)(g * share),
      .count = g * share >= blocks ? 0 : (int)swerve_min(share, blocks - g * share),
    };
    switch (blocks) {
    case 8: blocks_8(t, x, w, steps, acc, accumulate, f, (int)rows); break;
    case 4: blocks_4(t, x, w, steps, acc, accumulate, f, (int)rows); break;
    case 2: blocks_2(t, x, w, steps, acc, accumulate, f, (int)rows); break;
    default: blocks_1(t, x, w, steps, acc, accumulate, f, (int)rows); break;
    }
    row += rows;
  }
}

void swerve_avx512bf16_multiply(const swerve_tile *t) {
  for (size_t b = 0; b < t->blocks;) {
    const size_t left = t->blocks - b;
    const size_t blocks = left >= 8 && t->rows <= 2 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    const size_t chunk = t->rows <= GROUP ? t->steps : CHUNK;
    size_t step = 0;
    do {
      const size_t steps = swerve_min(chunk, t->steps - step);
      rows_by(t, blocks, b, step, steps);
      step += steps;
    } while (step < t->steps);
    b += blocks;
  }
}

#pragma clang attribute pop
#endif
