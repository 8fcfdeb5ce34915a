/* Quantised weights against up to 32 rows of bfloat16 by TDPBF16PS. A tile of levels becomes numbers in the first-level
 * cache while the tile before it is multiplied, so that a step of a few rows reads packed bytes at the speed of memory. More
 * rows go by way of operations/levels.c. The order of the sums is the same. */
#include "../avx512/levels.h"

#if SWERVE_X86
#include "configuration.h"

#pragma clang attribute push( \
  __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,fma,f16c,avx512vbmi"))), \
  apply_to = function)

/* Rows of a tile of x, bytes of a tile of numbers, bytes fetched ahead of each block. */
enum { ROWS = 16, TILE_BYTES = 1024, AHEAD = 2048 };

typedef struct {
  _Alignas(64) char plain[2][4][TILE_BYTES]; /* this tile of inputs and the next, of up to 4 blocks */
  float sums[2 * ROWS][64];
} room;

_Static_assert(sizeof(room) <= SWERVE_LEVEL_SCRATCH, "the scratch of levels");

/* Tile k, 32 inputs, of B blocks. */
INLINE void unpack(
  room *room, const char *w, size_t k, size_t block_stride, const byte_tables *tables, __m512i table, const bool four,
  const int B
) {
  UNROLL for (int b = 0; b < B; b++) {
    const char *levels = w + (size_t)b * block_stride + k * (four ? 256 : 512);
    if (four) unpack4_lines(room->plain[k % 2][b], levels, 16, table, AHEAD);
    else unpack8_lines(room->plain[k % 2][b], levels, 16, tables, AHEAD);
  }
}

#define DOT(sum, x, block, w) \
  do { \
    _tile_loadd(w, plain[block], 64); \
    _tile_dpbf16ps(sum, x, w); \
  } while (0)

/* Sums of `tiles` tiles of inputs from zero: 16 rows by up to 4 blocks, or 32 by up to 2. */
INLINE void dot(
  room *room, const char *x, size_t x_stride, const char *w, size_t tiles, size_t block_stride,
  const byte_tables *tables, __m512i table, const bool four, const bool two, const int B
) {
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  unpack(room, w, 0, block_stride, tables, table, four, B);
  for (size_t k = 0; k < tiles; k++, x += 64) {
    char (*plain)[TILE_BYTES] = room->plain[k % 2];
    if (k + 1 < tiles) unpack(room, w, k + 1, block_stride, tables, table, four, B);
    _tile_loadd(4, x, x_stride);
    DOT(0, 4, 0, 6);
    if (two) {
      _tile_loadd(5, x + ROWS * x_stride, x_stride);
      _tile_dpbf16ps(2, 5, 6);
    }
    if (B > 1) {
      DOT(1, 4, 1, 7);
      if (two) _tile_dpbf16ps(3, 5, 7);
    }
    if (!two && B > 2) DOT(2, 4, 2, 6);
    if (!two && B > 3) DOT(3, 4, 3, 7);
  }
}

INLINE void store(float *to, size_t stride, const bool two, const int B) {
  const size_t bytes = stride * sizeof(float);
  _tile_stored(0, to, bytes);
  if (B > 1) _tile_stored(1, to + 16, bytes);
  if (two) {
    _tile_stored(2, to + ROWS * stride, bytes);
    if (B > 1) _tile_stored(3, to + ROWS * stride + 16, bytes);
    return;
  }
  if (B > 2) _tile_stored(2, to + 32, bytes);
  if (B > 3) _tile_stored(3, to + 48, bytes);
}

/* acc = sums x scale, on top of what is there unless it is the first group. */
INLINE void add_group(const swerve_levels *s, const room *room, size_t block, size_t number, bool first, const int B) {
  UNROLL for (int b = 0; b < B; b++) {
    const char *scales = s->w + (block + (size_t)b) * s->block_stride + swerve_group_scales(number, s->group);
    const __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)scales));
    for (size_t r = 0; r < s->rows; r++) {
      float *acc = s->acc + r * s->acc_stride + (block + (size_t)b) * 16;
      const __m512 old = first ? _mm512_setzero_ps() : _mm512_loadu_ps(acc);
      _mm512_storeu_ps(acc, _mm512_fmadd_ps(_mm512_loadu_ps(room->sums[r] + b * 16), scale, old));
    }
  }
}

INLINE void blocks(const swerve_levels *s, size_t block, const bool two, const int B) {
  room *room = s->scratch;
  const char *w = s->w + block * s->block_stride;
  if (s->format == SWERVE_INT8) {
    const byte_tables tables = load_tables(0);
    dot(
      room, s->x, s->x_stride, w + 64 + s->begin * 16, s->inputs / 32, s->block_stride, &tables, _mm512_setzero_si512(),
      false, two, B);
    store(s->acc + block * 16, s->acc_stride, two, B);
    return;
  }
  const __m512i table = _mm512_loadu_si512(swerve_levels_of.four16[0][swerve_four_index(s->format)]);
  for (size_t k = 0, number = s->begin / s->group; k < s->inputs; k += s->group, number++) {
    dot(
      room, (const char *)s->x + k * 2, s->x_stride, w + swerve_group_levels(number, s->group), s->group / 32,
      s->block_stride, NULL, table, true, two, B);
    store(room->sums[0], 64, two, B);
    add_group(s, room, block, number, k == 0, B);
  }
}

static void narrow(const swerve_levels *s, size_t block, size_t count) {
  switch (count) {
  case 1: blocks(s, block, false, 1); break;
  case 2: blocks(s, block, false, 2); break;
  case 3: blocks(s, block, false, 3); break;
  default: blocks(s, block, false, 4);
  }
}

static void wide(const swerve_levels *s, size_t block, size_t count) {
  if (count == 1) blocks(s, block, true, 1);
  else blocks(s, block, true, 2);
}

void swerve_amx_multiply_levels(const swerve_levels *s) {
  if (s->rows > 2 * ROWS || s->inputs % 32 != 0) {
    swerve_multiply_levels(s);
    return;
  }
  const int rows = (int)s->rows;
  swerve_amx_configure(rows < ROWS ? rows : ROWS, rows > ROWS ? rows - ROWS : 0, 16);
  const bool two = s->rows > ROWS;
  const size_t step = two ? 2 : 4;
  for (size_t block = 0; block < s->blocks; block += step) {
    const size_t count = swerve_min(step, s->blocks - block);
    if (two) wide(s, block, count);
    else narrow(s, block, count);
  }
  _tile_release();
}

#pragma clang attribute pop
#endif
