/* Tiles in plain C with TDPBF16PS's rounding as Intel's Instruction Set Extensions reference gives it: even and odd
 * products of a tile are summed apart from zero by fused multiply-add, added, then added to the sum; denormals are
 * zero on the way in and out of each operation; round to nearest even. Bytes (TDPBSSD) are exact. For tests where there
 * is no matrix unit. */
#include "../inner.h"

#define TILE_FUNCTION static

typedef struct {
  uint32_t data[8][16][16];
  int rows[8], columns[8]; /* in 32-bit units */
  bool bytes;
} unit;

static inline float flushed(float x) {
  const uint32_t bits = swerve_float_bits(x);
  return swerve_bits_float((bits & 0x7f800000) ? bits : bits & 0x80000000);
}

/* The product is exact in double, and the sum as good as exact: two numbers of 24 bits only reach beyond 53 bits
 * when the smaller is far below half a unit of the larger. So one rounding to float is the fused operation's. */
static inline float fused(float a, float b, float c) {
  return flushed((float)((double)flushed(a) * (double)flushed(b) + (double)c));
}

static void configure(unit *u, int rows0, int rows1, int depth) {
  const int second = rows1 ? rows1 : rows0;
  const int rows[8] = {rows0, rows0, second, second, rows0, second, depth, depth};
  for (int t = 0; t < 8; t++) {
    u->rows[t] = rows[t];
    u->columns[t] = t == 4 || t == 5 ? depth : 16;
  }
  memset(u->data, 0, sizeof u->data);
}

static void load(unit *u, int tile, const void *from, size_t stride) {
  for (int r = 0; r < u->rows[tile]; r++)
    memcpy(u->data[tile][r], (const char *)from + (size_t)r * stride, (size_t)u->columns[tile] * 4);
}

static void store(const unit *u, int tile, void *to, size_t stride) {
  for (int r = 0; r < u->rows[tile]; r++)
    memcpy((char *)to + (size_t)r * stride, u->data[tile][r], (size_t)u->columns[tile] * 4);
}

/* Four signed bytes a unit of 32 bits. */
static void dot_bytes(unit *u, int sum, int a, int b) {
  for (int m = 0; m < u->rows[sum]; m++)
    for (int k = 0; k < u->columns[a]; k++)
      for (int n = 0; n < 16; n++) {
        int8_t x[4], w[4];
        memcpy(x, &u->data[a][m][k], 4);
        memcpy(w, &u->data[b][k][n], 4);
        u->data[sum][m][n] += (uint32_t)(x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3]);
      }
}

static void dot(unit *u, int sum, int a, int b) {
  for (int m = 0; m < u->rows[sum]; m++) {
    float even[16] = {0}, odd[16] = {0};
    for (int k = 0; k < u->columns[a]; k++) {
      const uint32_t x = u->data[a][m][k];
      const float x0 = swerve_bits_float(x << 16), x1 = swerve_bits_float(x & 0xffff0000);
      for (int n = 0; n < 16; n++) {
        const uint32_t w = u->data[b][k][n];
        even[n] = fused(x0, swerve_bits_float(w << 16), even[n]);
        odd[n] = fused(x1, swerve_bits_float(w & 0xffff0000), odd[n]);
      }
    }
    for (int n = 0; n < 16; n++) {
      const float both = flushed(even[n] + odd[n]);
      u->data[sum][m][n] = swerve_float_bits(flushed(flushed(swerve_bits_float(u->data[sum][m][n])) + both));
    }
  }
}

#define TILES unit *tiles __attribute__((unused))
#define TILES_ARGUMENT tiles
#define CONFIGURE(r0, r1, depth) configure(tiles, r0, r1, depth)
#define ZERO(t) memset(tiles->data[t], 0, sizeof tiles->data[t])
#define LOAD(t, ...) load(tiles, t, __VA_ARGS__)
#define STORE(t, ...) store(tiles, t, __VA_ARGS__)
#define DOT(c, a, b) (tiles->bytes ? dot_bytes : dot)(tiles, c, a, b)
#define PREFETCH(w, stride) (void)0
#define PREFETCH_LINE(line) (void)(line)

#include "multiply.h"
#include "groups.h"

void swerve_amx_emulated_multiply(const swerve_tile *t) {
  unit tiles = {.bytes = false};
  multiply_tiles(&tiles, t);
}

void swerve_amx_emulated_multiply_int8(const swerve_tile *t) {
  unit tiles = {.bytes = true};
  multiply_tiles(&tiles, t);
}

void swerve_amx_emulated_score(const swerve_groups *t) {
  if (t->steps % 16 != 0) {
    swerve_groups_score(swerve_amx_emulated_multiply, t);
    return;
  }
  unit tiles = {.bytes = false};
  score_groups(&tiles, t);
}

void swerve_amx_emulated_weigh(const swerve_groups *t) {
  unit tiles = {.bytes = false};
  weigh_groups(&tiles, t);
}
