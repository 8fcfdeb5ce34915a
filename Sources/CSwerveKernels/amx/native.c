/* Tiles as the matrix unit has them: TDPBF16PS, and TDPBSSD for bytes. */
#include "../inner.h"

#if SWERVE_X86
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("amx-tile,amx-bf16,amx-int8,avx512f"))), apply_to = function)

#define TILE_FUNCTION static inline __attribute__((always_inline))

/* What LDTILECFG reads. */
typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t column_bytes[16];
  uint8_t rows[16];
} configuration;

/* Configured last: LDTILECFG costs tens of cycles. */
typedef struct {
  int rows0, rows1, depth;
  bool bytes;
} unit;

TILE_FUNCTION void configure(unit *u, int rows0, int rows1, int depth) {
  if (u->rows0 == rows0 && u->rows1 == rows1 && u->depth == depth) return;
  *u = (unit){rows0, rows1, depth, u->bytes};
  const uint8_t second = (uint8_t)(rows1 ? rows1 : rows0);
  _Alignas(64) configuration c = {.palette = 1};
  for (int tile = 0; tile < 4; tile++) {
    c.column_bytes[tile] = 64;
    c.rows[tile] = tile < 2 ? (uint8_t)rows0 : second;
  }
  c.column_bytes[4] = c.column_bytes[5] = (uint16_t)(depth * 4);
  c.rows[4] = (uint8_t)rows0;
  c.rows[5] = second;
  c.column_bytes[6] = c.column_bytes[7] = 64;
  c.rows[6] = c.rows[7] = (uint8_t)depth;
  _tile_loadconfig(&c);
}

TILE_FUNCTION void fetch(const char *w, size_t stride) {
  for (int i = 0; i < 16; i++) _mm_prefetch(w + 4096 + (size_t)i * stride, _MM_HINT_T0);
}

#define TILES unit *tiles __attribute__((unused))
#define TILES_ARGUMENT tiles
#define CONFIGURE(r0, r1, depth) configure(tiles, r0, r1, depth)
#define ZERO(t) _tile_zero(t)
#define LOAD(t, ...) LOAD_(t, __VA_ARGS__)
#define LOAD_(t, p, stride) _tile_loadd(t, p, stride)
#define STORE(t, ...) STORE_(t, __VA_ARGS__)
#define STORE_(t, p, stride) _tile_stored(t, p, stride)
#define DOT(c, a, b) \
  do { \
    if (tiles->bytes) _tile_dpbssd(c, a, b); \
    else _tile_dpbf16ps(c, a, b); \
  } while (0)
#define PREFETCH(w, stride) fetch(w, stride)
#define PREFETCH_LINE(line) _mm_prefetch(line, _MM_HINT_T0)

#include "multiply.h"
#include "groups.h"

void swerve_amx_multiply(const swerve_tile *t) {
  unit tiles = {0, 0, 0, false};
  multiply_tiles(&tiles, t);
  _tile_release();
}

void swerve_amx_multiply_int8(const swerve_tile *t) {
  unit tiles = {0, 0, 0, true};
  multiply_tiles(&tiles, t);
  _tile_release();
}

void swerve_amx_score(const swerve_groups *t) {
  if (t->steps % 16 != 0) {
    swerve_groups_score(swerve_amx_multiply, t);
    return;
  }
  unit tiles = {0, 0, 0, false};
  score_groups(&tiles, t);
  _tile_release();
}

void swerve_amx_weigh(const swerve_groups *t) {
  unit tiles = {0, 0, 0, false};
  weigh_groups(&tiles, t);
  _tile_release();
}

#pragma clang attribute pop
#endif
