/* Attention's products over groups of 16 tokens, included once for f32 (groups_f32.c) and once for pairs of bfloat16
 * (avx512bf16/groups.c), which define VECTOR, LOAD, SPLAT, DOT and NAME. One sum over the steps from first to last; up
 * to 6 rows by 4 groups or blocks are held in registers. While a group is read, the group LEAD places on is fetched:
 * a cache line for a cache line, so that memory sees several streams. */

enum { ROWS = 6, FEW = 8, WIDE = 4, LEAD = 4, CHUNK = 8 };

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/* R rows against B groups. */
INLINE void score_block(
  const swerve_groups *t, const char *x, size_t group, float *acc, const bool fetch, const int R, const int B
) {
  __m512 a[FEW][WIDE];
  const char *w[WIDE], *next[WIDE];
  const size_t xs = t->x_stride, last = t->count + t->ahead - 1;
  UNROLL for (int b = 0; b < B; b++) {
    w[b] = t->groups[group + (size_t)b];
    next[b] = t->groups[swerve_min(group + (size_t)b + LEAD, last)];
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++) a[r][b] = _mm512_setzero_ps();
  for (size_t k = 0; k < t->steps; k++) {
    VECTOR v[WIDE];
    UNROLL for (int b = 0; b < B; b++) {
      v[b] = LOAD(w[b] + k * 64);
      if (fetch) _mm_prefetch(next[b] + k * 64, _MM_HINT_T0);
    }
    UNROLL for (int r = 0; r < R; r++) {
      const VECTOR s = SPLAT(x + (size_t)r * xs + k * 4);
      UNROLL for (int b = 0; b < B; b++) a[r][b] = DOT(a[r][b], s, v[b]);
    }
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++) _mm512_storeu_ps(acc + (size_t)r * t->acc_stride + b * 16, a[r][b]);
}

/* R rows against B blocks of columns of groups begin ..< end. */
INLINE void weigh_block(
  const swerve_groups *t, const char *x, size_t begin, size_t end, size_t block, float *acc, const bool fetch,
  const int R, const int B
) {
  __m512 a[FEW][WIDE];
  const size_t xs = t->x_stride, as = t->acc_stride, ss = t->step_stride, last = t->count + t->ahead - 1;
  const bool accumulate = t->accumulate || begin > 0;
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++)
      a[r][b] = accumulate ? _mm512_loadu_ps(acc + (size_t)r * as + b * 16) : _mm512_setzero_ps();
  for (size_t g = begin; g < end; g++) {
    const char *w = t->groups[g] + block * 64;
    const char *next = t->groups[swerve_min(g + LEAD, last)] + block * 64;
    for (size_t k = 0; k < t->steps; k++) {
      VECTOR v[WIDE];
      UNROLL for (int b = 0; b < B; b++) {
        v[b] = LOAD(w + b * 64);
        if (fetch) _mm_prefetch(next + b * 64, _MM_HINT_T0);
      }
      UNROLL for (int r = 0; r < R; r++) {
        const VECTOR s = SPLAT(x + (size_t)r * xs);
        UNROLL for (int b = 0; b < B; b++) a[r][b] = DOT(a[r][b], s, v[b]);
      }
      w += ss;
      next += ss;
      x += 4;
    }
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int b = 0; b < B; b++) _mm512_storeu_ps(acc + (size_t)r * as + b * 16, a[r][b]);
}

#define SCORE(R, B) \
  case R: score_block(t, x, group, acc, fetch, R, B); break
#define SCORE_ROWS(B) \
  switch (rows) { SCORE(1, B); SCORE(2, B); SCORE(3, B); SCORE(4, B); SCORE(5, B); SCORE(6, B); }
#define SCORE_FEW(B) \
  switch (rows) { SCORE(7, B); SCORE(8, B); }

INLINE void score_rows(
  const swerve_groups *t, const char *x, size_t group, size_t width, float *acc, size_t rows, const bool fetch
) {
  if (rows > ROWS) {
    if (width == 2) SCORE_FEW(2)
    else SCORE_FEW(1)
    return;
  }
  switch (width) {
  case 4: SCORE_ROWS(4) break;
  case 2: SCORE_ROWS(2) break;
  default: SCORE_ROWS(1) break;
  }
}

#define WEIGH(R, B) \
  case R: weigh_block(t, x, begin, end, block, acc, fetch, R, B); break
#define WEIGH_ROWS(B) \
  switch (rows) { WEIGH(1, B); WEIGH(2, B); WEIGH(3, B); WEIGH(4, B); WEIGH(5, B); WEIGH(6, B); }
#define WEIGH_FEW(B) \
  switch (rows) { WEIGH(7, B); WEIGH(8, B); }

INLINE void weigh_rows(
  const swerve_groups *t, const char *x, size_t begin, size_t end, size_t block, size_t width, float *acc, size_t rows,
  const bool fetch
) {
  if (rows > ROWS) {
    if (width == 2) WEIGH_FEW(2)
    else WEIGH_FEW(1)
    return;
  }
  switch (width) {
  case 4: WEIGH_ROWS(4) break;
  case 2: WEIGH_ROWS(2) break;
  default: WEIGH_ROWS(1) break;
  }
}

/* The two below are kept apart from their callers so that a tile's code is not copied for each. */
static __attribute__((noinline)) void score_first(
  const swerve_groups *t, const char *x, size_t group, size_t width, float *acc, size_t rows
) {
  score_rows(t, x, group, width, acc, rows, true);
}
static __attribute__((noinline)) void score_rest(
  const swerve_groups *t, const char *x, size_t group, size_t width, float *acc, size_t rows
) {
  score_rows(t, x, group, width, acc, rows, false);
}

void NAME(score)(const swerve_groups *t) {
  const size_t passes = t->rows <= FEW ? 1 : (t->rows + ROWS - 1) / ROWS;
  for (size_t group = 0; group < t->count;) {
    const size_t left = t->count - group, width = left >= 4 && (passes > 1 || t->rows <= ROWS) ? 4 : left >= 2 ? 2 : 1;
    size_t row = 0;
    for (size_t p = 0; p < passes; p++) {
      const size_t rows = (t->rows - row) / (passes - p);
      const char *x = (const char *)t->x + row * t->x_stride;
      float *acc = t->acc + row * t->acc_stride + group * 16;
      if (p == 0 && t->ahead > 0) score_first(t, x, group, width, acc, rows);
      else score_rest(t, x, group, width, acc, rows);
      row += rows;
    }
    group += width;
  }
}

static __attribute__((noinline)) void weigh_first(
  const swerve_groups *t, const char *x, size_t begin, size_t end, size_t block, size_t width, float *acc, size_t rows
) {
  weigh_rows(t, x, begin, end, block, width, acc, rows, true);
}
static __attribute__((noinline)) void weigh_rest(
  const swerve_groups *t, const char *x, size_t begin, size_t end, size_t block, size_t width, float *acc, size_t rows
) {
  weigh_rows(t, x, begin, end, block, width, acc, rows, false);
}

void NAME(weigh)(const swerve_groups *t) {
  const size_t passes = t->rows <= FEW ? 1 : (t->rows + ROWS - 1) / ROWS;
  /* Groups that all rows pass before the next are fetched stay in the first-level cache. */
  const size_t chunk = passes == 1 ? t->count : CHUNK;
  for (size_t begin = 0; begin < t->count; begin += chunk) {
    const size_t end = swerve_min(begin + chunk, t->count);
    for (size_t block = 0; block < t->blocks;) {
      const size_t left = t->blocks - block;
      const size_t width = left >= 4 && (passes > 1 || t->rows <= ROWS) ? 4 : left >= 2 ? 2 : 1;
      size_t row = 0;
      for (size_t p = 0; p < passes; p++) {
        const size_t rows = (t->rows - row) / (passes - p);
        const char *x = (const char *)t->x + row * t->x_stride + begin * t->steps * 4;
        float *acc = t->acc + row * t->acc_stride + block * 16;
        if (p == 0 && t->ahead > 0) weigh_first(t, x, begin, end, block, width, acc, rows);
        else weigh_rest(t, x, begin, end, block, width, acc, rows);
        row += rows;
      }
      block += width;
    }
  }
}
