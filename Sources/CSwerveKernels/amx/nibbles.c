/* Four-bit levels against rows of int8 by TDPBSSD. A group of up to 4 blocks becomes bytes in the first-level cache while
 * the group before it is multiplied; all rows pass over it there. Sums of a group are whole numbers, exact whatever the
 * number of rows; they are scaled and added from the first group to the last. */
#include "../levels.h"

#if SWERVE_X86
#include "configuration.h"

#pragma clang attribute push( \
  __attribute__((target("amx-tile,amx-int8,avx512f,avx512bw,avx512vl,avx512dq,fma,f16c"))), apply_to = function)

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/* Rows of a tile, bytes of a tile of levels, bytes fetched ahead of each block. */
enum { ROWS = 16, TILE_BYTES = 1024, AHEAD = 2048, BLOCKS = 4, FEW = 4 };

typedef struct {
  _Alignas(64) char plain[2][BLOCKS][2 * TILE_BYTES]; /* this group and the next */
  int32_t sums[2 * ROWS][BLOCKS * 16];
} room;

_Static_assert(sizeof(room) <= SWERVE_LEVEL_SCRATCH, "the scratch of levels");

/* Group `number` of B blocks, two's complement. */
INLINE void unpack(const swerve_nibbles *n, room *room, const char *w, size_t number, const int B) {
  const __m512i low = _mm512_set1_epi8(15), flip = _mm512_set1_epi8(8);
  UNROLL for (int b = 0; b < B; b++) {
    const char *levels = w + (size_t)b * n->block_stride + swerve_group_levels(number, n->group);
    char *out = room->plain[number % 2][b];
    for (size_t k = 0; k < n->group; k += 8, levels += 64, out += 128) {
      _mm_prefetch(levels + AHEAD, _MM_HINT_T0);
      const __m512i both = _mm512_loadu_si512(levels);
      const __m512i first = _mm512_xor_si512(_mm512_and_si512(both, low), flip);
      const __m512i second = _mm512_xor_si512(_mm512_and_si512(_mm512_srli_epi16(both, 4), low), flip);
      _mm512_storeu_si512(out, _mm512_sub_epi8(first, flip));
      _mm512_storeu_si512(out + 64, _mm512_sub_epi8(second, flip));
    }
  }
}

/* 16 rows against B blocks. */
INLINE void narrow(const swerve_nibbles *n, room *room, const char *x, size_t number, const int B) {
  char (*plain)[2 * TILE_BYTES] = room->plain[number % 2];
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  for (size_t k = 0; k < n->group; k += 64) {
    const size_t at = k * 16;
    _tile_loadd(4, x + k, n->x_stride);
    _tile_loadd(6, plain[0] + at, 64);
    _tile_dpbssd(0, 4, 6);
    if (B > 1) { _tile_loadd(7, plain[1] + at, 64); _tile_dpbssd(1, 4, 7); }
    if (B > 2) { _tile_loadd(6, plain[2] + at, 64); _tile_dpbssd(2, 4, 6); }
    if (B > 3) { _tile_loadd(7, plain[3] + at, 64); _tile_dpbssd(3, 4, 7); }
  }
  _tile_stored(0, room->sums[0], sizeof room->sums[0]);
  if (B > 1) _tile_stored(1, room->sums[0] + 16, sizeof room->sums[0]);
  if (B > 2) _tile_stored(2, room->sums[0] + 32, sizeof room->sums[0]);
  if (B > 3) _tile_stored(3, room->sums[0] + 48, sizeof room->sums[0]);
}

/* 32 rows, the second 16 of them perhaps fewer, against B blocks two at a time. */
INLINE void wide(const swerve_nibbles *n, room *room, const char *x, size_t number, const int B) {
  char (*plain)[2 * TILE_BYTES] = room->plain[number % 2];
  UNROLL for (int b = 0; b < B; b += 2) {
    _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    for (size_t k = 0; k < n->group; k += 64) {
      const size_t at = k * 16;
      _tile_loadd(4, x + k, n->x_stride);
      _tile_loadd(6, plain[b] + at, 64);
      _tile_dpbssd(0, 4, 6);
      _tile_loadd(5, x + k + ROWS * n->x_stride, n->x_stride);
      _tile_dpbssd(2, 5, 6);
      if (b + 1 < B) {
        _tile_loadd(7, plain[b + 1] + at, 64);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(3, 5, 7);
      }
    }
    _tile_stored(0, room->sums[0] + b * 16, sizeof room->sums[0]);
    _tile_stored(2, room->sums[ROWS] + b * 16, sizeof room->sums[0]);
    if (b + 1 < B) {
      _tile_stored(1, room->sums[0] + b * 16 + 16, sizeof room->sums[0]);
      _tile_stored(3, room->sums[ROWS] + b * 16 + 16, sizeof room->sums[0]);
    }
  }
}

/* acc (+)= sums x scales. */
INLINE void add(
  const swerve_nibbles *n, const room *room, const char *w, size_t number, float *acc, size_t rows, const int B
) {
  __m512 scale[BLOCKS];
  UNROLL for (int b = 0; b < B; b++) {
    const char *scales = w + (size_t)b * n->block_stride + swerve_group_scales(number, n->group);
    scale[b] = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)scales));
  }
  for (size_t r = 0; r < rows; r++, acc += n->acc_stride)
    UNROLL for (int b = 0; b < B; b++) {
      const __m512 sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(room->sums[r] + b * 16));
      const __m512 old = number == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(acc + b * 16);
      _mm512_storeu_ps(acc + b * 16, _mm512_fmadd_ps(sum, scale[b], old));
    }
}

/* Rows in tiles of `tile` rows, all of the same shape, against B blocks. */
INLINE void blocks(const swerve_nibbles *n, size_t first, size_t row, size_t rows, size_t tile, const int B) {
  room *room = n->scratch;
  const char *w = n->w + first * n->block_stride;
  const size_t groups = n->inputs / n->group;
  unpack(n, room, w, 0, B);
  for (size_t number = 0; number < groups; number++) {
    if (number + 1 < groups) unpack(n, room, w, number + 1, B);
    for (size_t r = row; r < row + rows; r += tile) {
      const char *x = n->x + r * n->x_stride + number * n->group;
      if (tile > ROWS) wide(n, room, x, number, B);
      else narrow(n, room, x, number, B);
      add(n, room, w, number, n->acc + r * n->acc_stride + first * 16, tile, B);
    }
  }
}

static void pass(const swerve_nibbles *n, size_t row, size_t rows, size_t tile) {
  const int depth = (int)swerve_min(n->group, 64) / 4;
  swerve_amx_configure(tile < ROWS ? (int)tile : ROWS, tile > ROWS ? (int)tile - ROWS : 0, depth);
  for (size_t first = 0; first < n->blocks; first += BLOCKS) {
    switch (swerve_min(BLOCKS, n->blocks - first)) {
    case 1: blocks(n, first, row, rows, tile, 1); break;
    case 2: blocks(n, first, row, rows, tile, 2); break;
    case 3: blocks(n, first, row, rows, tile, 3); break;
    default: blocks(n, first, row, rows, tile, 4);
    }
  }
}

void swerve_amx_multiply_nibbles(const swerve_nibbles *n) {
  /* Whole numbers are the same however they are made: without tiles a few rows need no bytes unpacked. */
  if (n->rows <= FEW) {
    swerve_avx512_multiply_nibbles(n);
    return;
  }
  const size_t whole = n->rows / (2 * ROWS) * (2 * ROWS);
  if (whole > 0) pass(n, 0, whole, 2 * ROWS);
  if (n->rows > whole) pass(n, whole, n->rows - whole, n->rows - whole);
  _tile_release();
}

#pragma clang attribute pop
#endif
