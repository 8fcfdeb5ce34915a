/* What follows a product's sums, a row at a time: the reference of the fused passes. */
#include "scalar.h"

/* Partial sums of segments 0 ..< n over `count` rows of `width`, added pairwise: ((0+1)+(2+3))+((4+5)+(6+7)). The
 * result replaces segment 0. */
static void sum_tree(const swerve_kernels *kernels, float *acc, size_t segment_floats, size_t n) {
  for (size_t step = 1; step < n; step *= 2)
    for (size_t s = 0; s + step < n; s += 2 * step)
      kernels->add(acc + s * segment_floats, acc + (s + step) * segment_floats, segment_floats);
}

/* Whole numbers without what `quantize` added to the levels, times both scales, as f32. */
static void unscale(const swerve_sums *p) {
  const swerve_linear_job *j = p->job;
  const uint32_t offset = (uint32_t)j->kernels->level_offset;
  for (size_t r = 0; r < p->rows; r++)
    for (size_t b = 0; b < p->blocks; b++) {
      float *sums = p->acc + (r * p->blocks + b) * 16;
      const char *block = p->w + b * p->block_bytes;
      const float *scale = (const float *)block;
      const int32_t *weight_sum = (const int32_t *)(block + 64);
      for (size_t i = 0; i < 16; i++) {
        const int32_t whole = (int32_t)((uint32_t)((const int32_t *)sums)[i] - offset * (uint32_t)weight_sum[i]);
        sums[i] = (float)whole * j->row_scales[p->first_row + r] * scale[i];
      }
    }
}

/* Sums times their rows' scales. */
static void scale_rows(const swerve_sums *p) {
  for (size_t r = 0; r < p->rows; r++)
    p->job->kernels->scale(p->acc + r * p->blocks * 16, p->job->row_scales[p->first_row + r], p->blocks * 16);
}

/* Sums of int8 levels times their outputs' scales. */
static void scale_outputs(const swerve_sums *p) {
  for (size_t r = 0; r < p->rows; r++)
    for (size_t b = 0; b < p->blocks; b++) {
      float *sums = p->acc + (r * p->blocks + b) * 16;
      p->job->kernels->scale_weight(sums, sums, 1.0f, (const float *)(p->w + b * p->block_bytes), 16);
    }
}

static void finish_row(const swerve_linear_job *j, float *acc, size_t row, size_t first_block, size_t blocks) {
  const swerve_kernels *kernels = j->kernels;
  const size_t element = swerve_type_bytes(j->type);
  if (j->bias && j->epilogue != SWERVE_OUT_SUMS) kernels->add(acc, j->bias + first_block * 16, blocks * 16);
  if (j->epilogue == SWERVE_OUT_SILU) {
    for (size_t b = 0; b < blocks; b += 2) {
      const size_t column = (first_block + b) * 8;
      float gated[16];
      swerve_scalar_silu_multiply(gated, acc + b * 16, acc + b * 16 + 16, 16);
      kernels->narrow[j->type](
        (char *)j->y + (row * j->y_stride + column) * element, gated, swerve_min(16, j->outputs - column));
    }
    return;
  }
  const size_t column = first_block * 16;
  const size_t n = swerve_min(blocks * 16, j->outputs - column);
  switch (j->epilogue) {
  case SWERVE_OUT_F32:
  case SWERVE_OUT_SUMS: memcpy((float *)j->y + row * j->y_stride + column, acc, n * sizeof(float)); break;
  case SWERVE_OUT_ADD: kernels->add((float *)j->y + row * j->y_stride + column, acc, n); break;
  default: kernels->narrow[j->type]((char *)j->y + (row * j->y_stride + column) * element, acc, n);
  }
}

void swerve_scalar_finish(const swerve_sums *p) {
  if (p->job->format == SWERVE_INT8_DYNAMIC) unscale(p);
  else if (p->job->format == SWERVE_INT4_DYNAMIC) scale_rows(p);
  else sum_tree(p->job->kernels, p->acc, p->segment_floats, (size_t)p->job->segments);
  if (p->job->format == SWERVE_INT8 && p->job->epilogue != SWERVE_OUT_SUMS) scale_outputs(p);
  for (size_t r = 0; r < p->rows; r++)
    finish_row(p->job, p->acc + r * p->blocks * 16, p->first_row + r, p->first_block, p->blocks);
}
