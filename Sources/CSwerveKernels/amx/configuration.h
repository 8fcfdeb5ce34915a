/* What LDTILECFG reads, for the eight tiles of this folder's loops: sums 0 ... 3, rows 4 and 5, weights 6 and 7. */
#ifndef SWERVE_AMX_CONFIGURATION_H
#define SWERVE_AMX_CONFIGURATION_H

#include <immintrin.h>
#include <stdint.h>

#pragma clang attribute push(__attribute__((target("amx-tile"))), apply_to = function)

/* Sums of `rows0` and `rows1` rows (0: of rows0 as well); `depth` inputs at once in units of 32 bits. */
static inline void swerve_amx_configure(int rows0, int rows1, int depth) {
  const uint8_t first = (uint8_t)rows0, second = (uint8_t)(rows1 ? rows1 : rows0);
  const uint8_t rows[8] = {first, first, second, second, first, second, (uint8_t)depth, (uint8_t)depth};
  _Alignas(64) struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
  } tiles = {.palette = 1};
  for (int tile = 0; tile < 8; tile++) {
    tiles.column_bytes[tile] = tile == 4 || tile == 5 ? (uint16_t)(depth * 4) : 64;
    tiles.rows[tile] = rows[tile];
  }
  _tile_loadconfig(&tiles);
}

#pragma clang attribute pop
#endif
