/* y = x W^T for packed weights, any number of rows, with what follows it: bias, rounding, residual, gated activation.
 * A worker walks panels of output blocks; all rows pass over a panel while it is in its cache. */
#include "../inner.h"

/* Floats of the accumulator: 256 KiB, half of the scratch. */
enum { ACCUMULATORS = 65536, ROW_CHUNK = SWERVE_LEVEL_ROWS };

/* Blocks of quantised weights at once for one or two rows: as many streams of weights. */
enum { LEVEL_PANEL = 8 };

/* Partial sums of segments 0 ..< n over `count` rows of `width`, added pairwise: ((0+1)+(2+3))+((4+5)+(6+7)). The
 * result replaces segment 0. */
static void sum_tree(const swerve_kernels *kernels, float *acc, size_t segment_floats, size_t n) {
  for (size_t step = 1; step < n; step *= 2)
    for (size_t s = 0; s + step < n; s += 2 * step)
      kernels->add(acc + s * segment_floats, acc + (s + step) * segment_floats, segment_floats);
}

static void multiply_segment(
  const swerve_linear_job *j, swerve_tile tile, const char *w, size_t begin, size_t end, void *scratch
) {
  const size_t element = swerve_type_bytes(j->type);
  tile.x = (const char *)tile.x + begin * element;
  if (j->format != SWERVE_PLAIN) {
    const swerve_levels levels = {
      .x = tile.x, .x_stride = tile.x_stride, .w = w, .block_stride = tile.block_stride, .begin = begin,
      .inputs = end - begin, .acc = tile.acc, .acc_stride = tile.acc_stride, .rows = tile.rows, .blocks = tile.blocks,
      .type = j->type, .format = j->format, .group = j->group, .kernels = j->kernels, .scratch = scratch,
    };
    j->kernels->multiply_levels[j->type](&levels);
    return;
  }
  swerve_multiply multiply = j->kernels->multiply[j->type];
  if (j->type == SWERVE_FLOAT32) {
    tile.w = w + begin * 64;
    tile.steps = end - begin;
    multiply(&tile);
    return;
  }
  tile.w = w + begin * 32;
  tile.steps = (end - begin) / 2;
  if (tile.steps > 0 || end == begin) multiply(&tile);
  if ((end - begin) % 2 == 0) return;
  /* A last single input: x beyond the row is not ours to read, so its pair is (x, 0). */
  tile.accumulate = tile.steps > 0;
  const char *x = (const char *)tile.x + tile.steps * 4;
  const size_t x_stride = tile.x_stride, rows = tile.rows;
  tile.w = (const char *)tile.w + tile.steps * 64;
  tile.steps = 1;
  float *acc = tile.acc;
  for (size_t r = 0; r < rows; r++) {
    uint16_t pair[2] = {0, 0};
    memcpy(pair, x + r * x_stride, 2);
    tile.x = pair;
    tile.x_stride = 4;
    tile.rows = 1;
    tile.acc = acc + r * tile.acc_stride;
    multiply(&tile);
  }
}

/* Whole numbers of int8 rows against blocks, as f32 sums. */
static void multiply_dynamic(
  const swerve_linear_job *j, float *acc, const char *w, size_t block_bytes, size_t first, size_t rows, size_t blocks
) {
  const swerve_kernels *kernels = j->kernels;
  const size_t row_bytes = swerve_round_up(j->inputs, 64), width = blocks * 16;
  const swerve_tile tile = {
    .x = (const char *)j->levels + first * row_bytes,
    .x_stride = row_bytes,
    .w = w + 128,
    .block_stride = block_bytes,
    .step_stride = 64,
    .steps = row_bytes / 4,
    .acc = acc,
    .acc_stride = width,
    .rows = rows,
    .blocks = blocks,
  };
  kernels->multiply_int8(&tile);
  for (size_t r = 0; r < rows; r++)
    for (size_t b = 0; b < blocks; b++) {
      float *sums = acc + r * width + b * 16;
      const char *block = w + b * block_bytes;
      kernels->unscale(
        sums, (const int32_t *)sums, (const int32_t *)(block + 64), kernels->level_offset, j->row_scales[first + r],
        (const float *)block, 16);
    }
}

/* Sums of int8 levels times their outputs' scales. */
static void scale_outputs(
  const swerve_linear_job *j, float *acc, const char *w, size_t block_bytes, size_t rows, size_t blocks
) {
  for (size_t r = 0; r < rows; r++)
    for (size_t b = 0; b < blocks; b++) {
      float *sums = acc + (r * blocks + b) * 16;
      j->kernels->scale_weight(sums, sums, 1.0f, (const float *)(w + b * block_bytes), 16);
    }
}

static void finish_row(
  const swerve_linear_job *j, float *acc, size_t row, size_t first_block, size_t blocks, float *out16
) {
  const swerve_kernels *kernels = j->kernels;
  const size_t element = swerve_type_bytes(j->type);
  if (j->bias) kernels->add(acc, j->bias + first_block * 16, blocks * 16);
  if (j->epilogue == SWERVE_OUT_SILU) {
    const size_t column = first_block * 8;
    const size_t n = swerve_min(blocks * 8, j->outputs - column);
    for (size_t b = 0; b < blocks; b += 2)
      kernels->silu_multiply(out16 + b * 8, acc + b * 16, acc + b * 16 + 16, 16);
    kernels->narrow[j->type]((char *)j->y + (row * j->y_stride + column) * element, out16, n);
    return;
  }
  const size_t column = first_block * 16;
  const size_t n = swerve_min(blocks * 16, j->outputs - column);
  switch (j->epilogue) {
  case SWERVE_OUT_F32: memcpy((float *)j->y + row * j->y_stride + column, acc, n * sizeof(float)); break;
  case SWERVE_OUT_ADD: kernels->add((float *)j->y + row * j->y_stride + column, acc, n); break;
  default: kernels->narrow[j->type]((char *)j->y + (row * j->y_stride + column) * element, acc, n);
  }
}

void swerve_linear_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_linear_job *j = job;
  const size_t element = swerve_type_bytes(j->type);
  const size_t block_bytes = swerve_block_bytes(j->inputs, j->type, j->format, j->group);
  const size_t segments = (size_t)j->segments;
  const size_t segment = j->inputs / segments;
  float *acc = scratch;
  float *out16 = acc + ACCUMULATORS;
  char *level_scratch = (char *)scratch + SWERVE_SCRATCH_BYTES - SWERVE_LEVEL_SCRATCH;
  /* A gated unit is a pair of blocks. */
  const size_t unit_blocks = j->epilogue == SWERVE_OUT_SILU ? 2 : 1;
  begin *= unit_blocks;
  end *= unit_blocks;
  const bool few = j->rows <= 2, plain = j->format == SWERVE_PLAIN;
  const size_t panel = !few ? j->kernels->panel : plain ? j->kernels->panel_small : LEVEL_PANEL;
  for (size_t block = begin; block < end; block += panel) {
    const size_t blocks = swerve_min(panel, end - block);
    const size_t width = blocks * 16;
    const size_t chunk = swerve_min(ROW_CHUNK, ACCUMULATORS / (width * segments));
    const char *w = (const char *)j->w + block * block_bytes;
    for (size_t row = 0; row < j->rows; row += chunk) {
      const size_t rows = swerve_min(chunk, j->rows - row);
      swerve_tile tile = {
        .x = (const char *)j->x + row * j->x_stride * element,
        .x_stride = j->x_stride * element,
        .block_stride = block_bytes,
        .step_stride = 64,
        .acc_stride = width,
        .rows = rows,
        .blocks = blocks,
      };
      if (j->format == SWERVE_INT8_DYNAMIC) {
        multiply_dynamic(j, acc, w, block_bytes, row, rows, blocks);
      } else {
        for (size_t s = 0; s < segments; s++) {
          tile.acc = acc + s * rows * width;
          multiply_segment(
            j, tile, w, s * segment, s + 1 == segments ? j->inputs : (s + 1) * segment, level_scratch);
        }
        sum_tree(j->kernels, acc, rows * width, segments);
      }
      if (j->format == SWERVE_INT8) scale_outputs(j, acc, w, block_bytes, rows, blocks);
      for (size_t r = 0; r < rows; r++) finish_row(j, acc + r * width, row + r, block, blocks, out16);
    }
  }
}

void swerve_quantize_rows_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_quantize_rows_job *j = job;
  const swerve_kernels *kernels = j->kernels;
  const size_t row_bytes = swerve_round_up(j->inputs, 64);
  float *wide = scratch;
  for (size_t r = begin; r < end; r++) {
    uint8_t *out = (uint8_t *)j->levels + r * row_bytes;
    const char *x = (const char *)j->x + r * j->x_stride * swerve_type_bytes(j->type);
    kernels->widen[j->type](wide, x, j->inputs);
    j->row_scales[r] = kernels->quantize(out, wide, j->inputs, kernels->level_offset);
    memset(out + j->inputs, 0, row_bytes - j->inputs);
  }
}
