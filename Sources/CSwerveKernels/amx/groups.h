/* Attention's products over groups of 16 tokens in tiles, included after multiply.h, whose macros and tiles it uses. A
 * score takes its dimensions 32 at a time, an output its tokens 16 at a time, a group after the other: which tokens are
 * summed at once depends on their positions alone, not on where the cache has them. */

/* Groups fetched ahead of the one in use. */
enum { LEAD = 4 };

TILE_FUNCTION void fetch_group(const swerve_groups *t, size_t group, size_t lines) {
  if (t->ahead == 0) return;
  const char *next = t->groups[swerve_min(group + LEAD, t->count + t->ahead - 1)];
  for (size_t i = 0; i < swerve_min(lines, SWERVE_AMX_FETCHED_LINES); i++) PREFETCH_LINE(next + i * 64);
}

/* Up to 16 rows against four groups. */
TILE_FUNCTION void score_narrow(TILES, const swerve_groups *t, size_t g, size_t groups) {
  const char *const *w = t->groups + g;
  const size_t bytes = t->acc_stride * sizeof(float);
  ZERO(0); ZERO(1); ZERO(2); ZERO(3);
  for (size_t k = 0; k < t->steps / 16; k++) {
    LOAD(4, (const char *)t->x + k * 64, t->x_stride);
    LOAD(6, w[0] + k * 1024, 64);
    DOT(0, 4, 6);
    if (groups > 1) {
      LOAD(7, w[1] + k * 1024, 64);
      DOT(1, 4, 7);
    }
    if (groups > 2) {
      LOAD(6, w[2] + k * 1024, 64);
      DOT(2, 4, 6);
    }
    if (groups > 3) {
      LOAD(7, w[3] + k * 1024, 64);
      DOT(3, 4, 7);
    }
  }
  STORE(0, t->acc + g * 16, bytes);
  if (groups > 1) STORE(1, t->acc + g * 16 + 16, bytes);
  if (groups > 2) STORE(2, t->acc + g * 16 + 32, bytes);
  if (groups > 3) STORE(3, t->acc + g * 16 + 48, bytes);
}

/* 17 to 32 rows against two. */
TILE_FUNCTION void score_square(TILES, const swerve_groups *t, size_t g, size_t groups) {
  const char *const *w = t->groups + g;
  const size_t bytes = t->acc_stride * sizeof(float);
  ZERO(0); ZERO(1); ZERO(2); ZERO(3);
  for (size_t k = 0; k < t->steps / 16; k++) {
    const char *x = (const char *)t->x + k * 64;
    LOAD(4, x, t->x_stride);
    LOAD(5, x + 16 * t->x_stride, t->x_stride);
    LOAD(6, w[0] + k * 1024, 64);
    DOT(0, 4, 6);
    DOT(2, 5, 6);
    if (groups > 1) {
      LOAD(7, w[1] + k * 1024, 64);
      DOT(1, 4, 7);
      DOT(3, 5, 7);
    }
  }
  float *acc = t->acc + g * 16, *second = acc + 16 * t->acc_stride;
  STORE(0, acc, bytes);
  STORE(2, second, bytes);
  if (groups > 1) STORE(1, acc + 16, bytes);
  if (groups > 1) STORE(3, second + 16, bytes);
}

TILE_FUNCTION void score_groups(TILES, const swerve_groups *t) {
  const int rows0 = (int)swerve_min(16, t->rows), rows1 = (int)t->rows - rows0;
  const size_t step = rows1 ? 2 : 4;
  CONFIGURE(rows0, rows1, 16);
  for (size_t g = 0; g < t->count; g += step) {
    const size_t groups = swerve_min(step, t->count - g);
    for (size_t i = 0; i < groups; i++) fetch_group(t, g + i, t->steps);
    if (rows1) score_square(TILES_ARGUMENT, t, g, groups);
    else score_narrow(TILES_ARGUMENT, t, g, groups);
  }
}

/* Blocks of 16 columns from `block` on: four against up to 16 rows, two against more. */
TILE_FUNCTION void weigh_blocks(TILES, const swerve_groups *t, size_t block, size_t blocks, bool two, bool fetches) {
  pass sums = {
    .acc_bytes = t->acc_stride * sizeof(float), .acc = t->acc + block * 16, .rows1 = two, .blocks = (int)blocks,
  };
  const pass *p = &sums;
  load_sums(TILES_ARGUMENT, p, t->accumulate);
  const char *x = t->x;
  for (size_t g = 0; g < t->count; g++, x += 32) {
    const char *w = t->groups[g] + block * 64;
    LOAD(4, x, t->x_stride);
    LOAD(6, w, t->step_stride);
    DOT(0, 4, 6);
    if (two) {
      LOAD(5, x + 16 * t->x_stride, t->x_stride);
      DOT(2, 5, 6);
    }
    if (blocks > 1) {
      LOAD(7, w + 64, t->step_stride);
      DOT(1, 4, 7);
      if (two) DOT(3, 5, 7);
    }
    if (!two && blocks > 2) {
      LOAD(6, w + 128, t->step_stride);
      DOT(2, 4, 6);
    }
    if (!two && blocks > 3) {
      LOAD(7, w + 192, t->step_stride);
      DOT(3, 4, 7);
    }
    if (fetches) fetch_group(t, g, t->steps * t->blocks);
  }
  store_sums(TILES_ARGUMENT, p);
}

TILE_FUNCTION void weigh_groups(TILES, const swerve_groups *t) {
  const int rows0 = (int)swerve_min(16, t->rows), rows1 = (int)t->rows - rows0;
  const size_t step = rows1 ? 2 : 4;
  CONFIGURE(rows0, rows1, 8);
  for (size_t block = 0; block < t->blocks; block += step) {
    const size_t blocks = swerve_min(step, t->blocks - block);
    weigh_blocks(TILES_ARGUMENT, t, block, blocks, rows1 > 0, block == 0);
  }
}
