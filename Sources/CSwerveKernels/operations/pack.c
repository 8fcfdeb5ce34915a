/* From row-major matrices of any type to packed blocks, and seeded noise in the same form. */
#include "../inner.h"

/* A 64-bit mix of (seed, row, column): two rounds of multiply and xor-shift. */
static inline uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93u;
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93u;
  x ^= x >> 32;
  return x;
}

/* Uniform in [-sqrt 3, sqrt 3): unit variance. */
static inline float noise(uint64_t base, uint64_t index) {
  const int32_t top = (int32_t)(mix(base + index) >> 32);
  return (float)top * (1.7320508f / 2147483648.0f);
}

void swerve_random_f32(float *out, size_t count, uint64_t seed, float scale) {
  const uint64_t base = mix(seed + 0x9e3779b97f4a7c15u);
  for (size_t i = 0; i < count; i++) out[i] = scale * noise(base, i);
}

/* One row of 16-bit numbers into lane `lane` of a block. */
static void scatter16(uint16_t *block, size_t lane, const uint16_t *row, size_t n) {
  size_t k = 0;
  for (; k + 2 <= n; k += 2) memcpy(block + k * 16 + lane * 2, row + k, 4);
  if (k < n) block[k * 16 + lane * 2] = row[k];
}

static void scatter32(float *block, size_t lane, const float *row, size_t n) {
  for (size_t k = 0; k < n; k++) block[k * 16 + lane] = row[k];
}

/* Columns handled at once: the 16 rows of a block stay in the first-level cache. */
enum { PIECE = 512 };

static void pack_piece(const swerve_pack_job *j, char *block, size_t lane, size_t row, size_t column, size_t n) {
  const swerve_kernels *k = &swerve_scalar_kernels;
  float wide[PIECE];
  uint16_t narrow[PIECE];
  const void *source = NULL;
  if (j->source) {
    const size_t at = row * j->source_stride + column;
    source = (const char *)j->source + at * swerve_type_bytes(j->source_type);
  }
  if (source && j->source_type == j->type) {
    if (j->type == SWERVE_FLOAT32) {
      /* Mapped files promise no alignment. */
      memcpy(wide, source, n * 4);
      scatter32((float *)(block + column * 64), lane, wide, n);
    } else {
      memcpy(narrow, source, n * 2);
      scatter16((uint16_t *)(block + column * 32), lane, narrow, n);
    }
    return;
  }
  if (!source) {
    const uint64_t base = mix(j->seed + 0x9e3779b97f4a7c15u * (row + 1));
    for (size_t i = 0; i < n; i++) wide[i] = j->scale * noise(base, column + i);
  } else if (j->source_type == SWERVE_FLOAT32) {
    memcpy(wide, source, n * 4);
  } else {
    memcpy(narrow, source, n * 2);
    k->widen[j->source_type](wide, narrow, n);
  }
  if (j->type == SWERVE_FLOAT32) {
    scatter32((float *)(block + column * 64), lane, wide, n);
  } else {
    k->narrow[j->type](narrow, wide, n);
    scatter16((uint16_t *)(block + column * 32), lane, narrow, n);
  }
}

void swerve_pack_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_pack_job *j = job;
  const size_t block_bytes = swerve_block_bytes(j->columns, j->type);
  const size_t offset = j->first_row % 16;
  for (size_t unit = begin; unit < end; unit++) {
    char *block = (char *)j->packed + (j->first_block + j->first_row / 16 + unit * j->block_step) * block_bytes;
    for (size_t column = 0; column < j->columns; column += PIECE) {
      const size_t n = swerve_min(PIECE, j->columns - column);
      for (size_t lane = 0; lane < 16; lane++) {
        const size_t row = unit * 16 + lane;
        if (row < offset || row - offset >= j->rows) continue;
        pack_piece(j, block, lane, row - offset, column, n);
      }
    }
  }
}
