/* The matrix loop of bfloat16, and that of bytes, over tiles, included once for the instructions (native.c) and once for their emulation
 * (emulated.c), which define TILES, CONFIGURE, ZERO, LOAD, STORE, DOT and PREFETCH.
 *
 * Tiles 0 ... 3 hold sums, 4 and 5 rows of x, 6 and 7 weights. Up to 16 rows go against 4 blocks, more against 2
 * blocks 32 at a time. Every sum takes its inputs in tiles of 32 (bytes: 64) from first to last, whatever the number of rows; a
 * last, shorter tile has fewer columns. */

/* Rows and inputs of one pass. */
typedef struct {
  const char *x, *w;
  size_t x_stride, block_stride, step_stride, acc_bytes;
  float *acc;
  int rows0, rows1; /* of the first and second tile of rows; rows1 may be 0 */
  int blocks;
  bool cold;        /* the weights come from memory: fetch them ahead */
} pass;

#define SUM(tile, row, block) (p->acc + (size_t)(row) * (p->acc_bytes / 4) + (block) * 16), p->acc_bytes

TILE_FUNCTION void load_sums(TILES, const pass *p, bool accumulate) {
  if (!accumulate) {
    ZERO(0); ZERO(1); ZERO(2); ZERO(3);
    return;
  }
  LOAD(0, SUM(0, 0, 0));
  if (p->blocks > 1) LOAD(1, SUM(1, 0, 1));
  if (p->rows1) {
    LOAD(2, SUM(2, 16, 0));
    if (p->blocks > 1) LOAD(3, SUM(3, 16, 1));
  } else {
    if (p->blocks > 2) LOAD(2, SUM(2, 0, 2));
    if (p->blocks > 3) LOAD(3, SUM(3, 0, 3));
  }
}

TILE_FUNCTION void store_sums(TILES, const pass *p) {
  STORE(0, SUM(0, 0, 0));
  if (p->blocks > 1) STORE(1, SUM(1, 0, 1));
  if (p->rows1) {
    STORE(2, SUM(2, 16, 0));
    if (p->blocks > 1) STORE(3, SUM(3, 16, 1));
  } else {
    if (p->blocks > 2) STORE(2, SUM(2, 0, 2));
    if (p->blocks > 3) STORE(3, SUM(3, 0, 3));
  }
}

/* Up to 16 rows against 4 blocks: four streams of weights. */
TILE_FUNCTION void dot_four(TILES, const pass *p, size_t tiles_of_k, const bool cold) {
  const size_t xs = p->x_stride, bs = p->block_stride, ss = p->step_stride;
  const char *x = p->x, *w = p->w;
  for (size_t k = 0; k < tiles_of_k; k++) {
    LOAD(4, x, xs);
    LOAD(6, w, ss);
    if (cold) PREFETCH(w, ss);
    DOT(0, 4, 6);
    LOAD(7, w + bs, ss);
    if (cold) PREFETCH(w + bs, ss);
    DOT(1, 4, 7);
    LOAD(6, w + 2 * bs, ss);
    if (cold) PREFETCH(w + 2 * bs, ss);
    DOT(2, 4, 6);
    LOAD(7, w + 3 * bs, ss);
    if (cold) PREFETCH(w + 3 * bs, ss);
    DOT(3, 4, 7);
    x += 64;
    w += 16 * ss;
  }
}

/* The same against fewer blocks. */
TILE_FUNCTION void dot_narrow(TILES, const pass *p, size_t tiles_of_k) {
  const size_t xs = p->x_stride, bs = p->block_stride, ss = p->step_stride;
  const char *x = p->x, *w = p->w;
  for (size_t k = 0; k < tiles_of_k; k++) {
    LOAD(4, x, xs);
    LOAD(6, w, ss);
    if (p->cold) PREFETCH(w, ss);
    DOT(0, 4, 6);
    if (p->blocks > 1) {
      LOAD(7, w + bs, ss);
      if (p->cold) PREFETCH(w + bs, ss);
      DOT(1, 4, 7);
    }
    if (p->blocks > 2) {
      LOAD(6, w + 2 * bs, ss);
      if (p->cold) PREFETCH(w + 2 * bs, ss);
      DOT(2, 4, 6);
    }
    x += 64;
    w += 16 * ss;
  }
}

/* 17 to 32 rows against two blocks: four products for four loads. */
TILE_FUNCTION void dot_square(TILES, const pass *p, size_t tiles_of_k, const bool cold) {
  const size_t xs = p->x_stride, bs = p->block_stride, ss = p->step_stride;
  const char *x = p->x, *w = p->w;
  for (size_t k = 0; k < tiles_of_k; k++) {
    LOAD(4, x, xs);
    LOAD(6, w, ss);
    DOT(0, 4, 6);
    LOAD(5, x + 16 * xs, xs);
    DOT(2, 5, 6);
    if (cold) PREFETCH(w, ss);
    LOAD(7, w + bs, ss);
    DOT(1, 4, 7);
    if (cold) PREFETCH(w + bs, ss);
    DOT(3, 5, 7);
    x += 64;
    w += 16 * ss;
  }
}

/* The same against one block. */
TILE_FUNCTION void dot_column(TILES, const pass *p, size_t tiles_of_k) {
  const char *x = p->x, *w = p->w;
  for (size_t k = 0; k < tiles_of_k; k++) {
    LOAD(4, x, p->x_stride);
    LOAD(6, w, p->step_stride);
    DOT(0, 4, 6);
    LOAD(5, x + 16 * p->x_stride, p->x_stride);
    DOT(2, 5, 6);
    if (p->cold) PREFETCH(w, p->step_stride);
    x += 64;
    w += 16 * p->step_stride;
  }
}

TILE_FUNCTION void dot_pass(TILES, const pass *p, size_t tiles_of_k) {
  if (p->rows1) {
    if (p->blocks < 2) dot_column(TILES_ARGUMENT, p, tiles_of_k);
    else if (p->cold) dot_square(TILES_ARGUMENT, p, tiles_of_k, true);
    else dot_square(TILES_ARGUMENT, p, tiles_of_k, false);
  } else {
    if (p->blocks < 4) dot_narrow(TILES_ARGUMENT, p, tiles_of_k);
    else if (p->cold) dot_four(TILES_ARGUMENT, p, tiles_of_k, true);
    else dot_four(TILES_ARGUMENT, p, tiles_of_k, false);
  }
}

TILE_FUNCTION void run_pass(TILES, pass *p, size_t steps, bool accumulate) {
  const size_t whole = steps / 16, rest = steps % 16;
  if (whole > 0 || rest == 0) {
    CONFIGURE(p->rows0, p->rows1, 16);
    load_sums(TILES_ARGUMENT, p, accumulate);
    dot_pass(TILES_ARGUMENT, p, whole);
    store_sums(TILES_ARGUMENT, p);
    accumulate = true;
  }
  if (rest == 0) return;
  p->x += whole * 64;
  p->w += whole * 16 * p->step_stride;
  CONFIGURE(p->rows0, p->rows1, (int)rest);
  load_sums(TILES_ARGUMENT, p, accumulate);
  dot_pass(TILES_ARGUMENT, p, 1);
  store_sums(TILES_ARGUMENT, p);
}

TILE_FUNCTION void multiply_tiles(TILES, const swerve_tile *t) {
  for (size_t row = 0; row < t->rows; row += 32) {
    const int rows = (int)swerve_min(32, t->rows - row);
    const size_t wide = rows > 16 ? 2 : 4;
    for (size_t b = 0; b < t->blocks; b += wide) {
      pass p = {
        .x = (const char *)t->x + row * t->x_stride,
        .w = (const char *)t->w + b * t->block_stride,
        .x_stride = t->x_stride,
        .block_stride = t->block_stride,
        .step_stride = t->step_stride,
        .acc_bytes = t->acc_stride * sizeof(float),
        .acc = t->acc + row * t->acc_stride + b * 16,
        .rows0 = rows > 16 ? 16 : rows,
        .rows1 = rows > 16 ? rows - 16 : 0,
        .blocks = (int)swerve_min(wide, t->blocks - b),
        .cold = t->cold && row == 0,
      };
      run_pass(TILES_ARGUMENT, &p, t->steps, t->accumulate);
    }
  }
}
