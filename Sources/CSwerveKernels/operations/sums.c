/* Sums of products whose inputs several ranks share: joined pair by pair, then what SWERVE_OUT_ADD does after its tree, in
 * the same order. */
#include "../inner.h"

/* Numbers widened at once. */
enum { PIECE = 512 };

void swerve_add_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_add_job *j = job;
  float wide[PIECE];
  for (size_t r = begin; r < end; r++) {
    float *sums = j->sums + r * j->sums_stride;
    const char *other = (const char *)j->other + r * j->other_stride * swerve_type_bytes(j->other_type);
    if (j->other_type == SWERVE_FLOAT32) {
      j->kernels->add(sums, (const float *)other, j->columns);
      continue;
    }
    for (size_t c = 0; c < j->columns; c += PIECE) {
      const size_t n = swerve_min(PIECE, j->columns - c);
      j->kernels->widen[j->other_type](wide, other + c * 2, n);
      j->kernels->add(sums + c, wide, n);
    }
  }
}

void swerve_accumulate_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_accumulate_job *j = job;
  const swerve_kernels *kernels = j->kernels;
  for (size_t r = begin; r < end; r++) {
    float *sums = j->sums + r * j->sums_stride;
    if (j->blocks)
      for (size_t c = 0; c < j->columns; c += 16) {
        const float *scales = (const float *)((const char *)j->blocks + c / 16 * j->block_bytes);
        kernels->scale_weight(sums + c, sums + c, 1.0f, scales, swerve_min(16, j->columns - c));
      }
    if (j->bias) kernels->add(sums, j->bias, j->columns);
    kernels->add(j->y + r * j->y_stride, sums, j->columns);
  }
}

void swerve_merge_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_merge_job *j = job;
  for (size_t i = begin; i < end; i++) j->words[i] |= j->other[i];
}
