/* What the machine can do at most: reading from memory, and the matrix loop out of the first-level cache. */
#include "../inner.h"

/* Sums `bytes` of memory in plain C, `streams` equal parts in step. */
static uint64_t read_plain(const char *memory, size_t bytes, int streams) {
  const size_t part = bytes / (size_t)streams / 64 * 64;
  uint64_t sum = 0;
  for (size_t i = 0; i < part; i += 64)
    for (int s = 0; s < streams; s++) {
      uint64_t line[8];
      memcpy(line, memory + (size_t)s * part + i, 64);
      for (int j = 0; j < 8; j++) sum += line[j];
    }
  return sum;
}

void swerve_read_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_read_job *j = job;
  const char *memory = (const char *)j->memory + begin * j->bytes_per_unit;
  const size_t bytes = (end - begin) * j->bytes_per_unit;
#if SWERVE_X86
  const bool wide = swerve_kernels_for(SWERVE_AVX512) != NULL;
  const uint64_t sum =
    wide ? swerve_avx512_read(memory, bytes, j->streams) : read_plain(memory, bytes, j->streams);
#else
  const uint64_t sum = read_plain(memory, bytes, j->streams);
#endif
  __atomic_fetch_xor(j->sink, sum, __ATOMIC_RELAXED);
}

/* 48 rows by 4 blocks over 64 steps: 16 KiB of weights, 12 KiB of rows and sums each. */
enum { ROWS = 48, BLOCKS = 4, STEPS = 64 };

double swerve_peak_operations(const swerve_peak_job *j) {
  const double inputs = j->bytes ? 4 * STEPS : j->type == SWERVE_FLOAT32 ? STEPS : 2 * STEPS;
  return 2.0 * ROWS * BLOCKS * 16 * inputs * (double)j->repeats;
}

void swerve_peak_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_peak_job *j = job;
  char *at = scratch;
  memset(at, 0, 64 << 10);
  const swerve_tile tile = {
    .x = at,
    .x_stride = STEPS * 4,
    .w = at + (16 << 10),
    .block_stride = STEPS * 64,
    .step_stride = 64,
    .steps = STEPS,
    .acc = (float *)(at + (32 << 10)),
    .acc_stride = BLOCKS * 16,
    .rows = ROWS,
    .blocks = BLOCKS,
  };
  for (size_t unit = begin; unit < end; unit++)
    for (size_t r = 0; r < j->repeats; r++) (j->bytes ? j->kernels->multiply_int8 : j->kernels->multiply[j->type])(&tile);
}
