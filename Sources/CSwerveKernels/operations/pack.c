/* From row-major matrices of any type to packed blocks, and seeded noise in the same form. */
#include "pack.h"

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

static const void *source_at(const swerve_pack_job *j, size_t row, size_t column) {
  if (!j->source) return NULL;
  return (const char *)j->source + (row * j->source_stride + column) * swerve_type_bytes(j->source_type);
}

void swerve_pack_read(const swerve_pack_job *j, size_t row, size_t column, size_t n, float *out) {
  const void *source = source_at(j, row, column);
  if (!source) {
    const uint64_t base = mix(j->seed + 0x9e3779b97f4a7c15u * (j->source_row + row + 1));
    for (size_t i = 0; i < n; i++) out[i] = j->scale * noise(base, column + i);
  } else if (j->source_type == SWERVE_FLOAT32) {
    /* Mapped files promise no alignment. */
    memcpy(out, source, n * 4);
  } else {
    uint16_t narrow[PIECE];
    for (size_t i = 0; i < n; i += PIECE) {
      const size_t count = swerve_min(PIECE, n - i);
      memcpy(narrow, (const char *)source + i * 2, count * 2);
      swerve_scalar_kernels.widen[j->source_type](out + i, narrow, count);
    }
  }
}

static void pack_piece(const swerve_pack_job *j, char *block, size_t lane, size_t row, size_t column, size_t n) {
  float wide[PIECE];
  uint16_t narrow[PIECE];
  const void *source = source_at(j, row, j->first_column + column);
  if (source && j->source_type == j->type && j->type != SWERVE_FLOAT32) {
    memcpy(narrow, source, n * 2);
    scatter16((uint16_t *)(block + column * 32), lane, narrow, n);
    return;
  }
  swerve_pack_read(j, row, j->first_column + column, n, wide);
  if (j->type == SWERVE_FLOAT32) {
    scatter32((float *)(block + column * 64), lane, wide, n);
  } else {
    swerve_scalar_kernels.narrow[j->type](narrow, wide, n);
    scatter16((uint16_t *)(block + column * 32), lane, narrow, n);
  }
}

/* A whole block of 16-bit numbers at the speed of memory, where this CPU can; false where somebody else must. */
static bool pack_whole(const swerve_pack_job *j, char *block, size_t row) {
#if SWERVE_X86
  if (!j->source || j->source_type != j->type || j->type == SWERVE_FLOAT32) return false;
  if (!swerve_kernels_for(SWERVE_AVX512)) return false;
  swerve_avx512_pack16(block, source_at(j, row, j->first_column), j->source_stride * 2, j->columns);
  return true;
#else
  (void)j, (void)block, (void)row;
  return false;
#endif
}

void swerve_pack_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_pack_job *j = job;
  const size_t block_bytes = swerve_block_bytes(j->columns, j->type, j->format, j->group);
  const size_t offset = j->first_row % 16;
  for (size_t unit = begin; unit < end; unit++) {
    char *block = (char *)j->packed + (j->first_block + j->first_row / 16 + unit * j->block_step) * block_bytes;
    const size_t from = unit == 0 ? offset : 0, to = swerve_min(16, offset + j->rows - unit * 16);
    if (j->format != SWERVE_PLAIN) {
      for (size_t lane = from; lane < to; lane++) swerve_pack_quantized(j, block, lane, unit * 16 + lane - offset);
      continue;
    }
    if (from == 0 && to == 16 && pack_whole(j, block, unit * 16 - offset)) continue;
    for (size_t column = 0; column < j->columns; column += PIECE) {
      const size_t n = swerve_min(PIECE, j->columns - column);
      for (size_t lane = from; lane < to; lane++)
        pack_piece(j, block, lane, unit * 16 + lane - offset, column, n);
    }
  }
}
