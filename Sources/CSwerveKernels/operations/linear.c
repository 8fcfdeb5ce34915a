/* y = x W^T for packed weights, any number of rows, with what follows it: bias, rounding, residual, gated activation.
 * A worker walks panels of output blocks; all rows pass over a panel while it is in its cache. */
#include "../inner.h"

/* Floats of the accumulator: 512 KiB, a quarter of the second-level cache of a CPU with a matrix unit. Others use less. */
enum { ACCUMULATORS = 131072 };

/* Blocks of quantised weights at once for one or two rows: as many streams of weights. */
enum { LEVEL_PANEL = 8 };

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

/* Whole numbers of int8 rows against blocks. */
static void multiply_dynamic(
  const swerve_linear_job *j, float *acc, const char *w, size_t block_bytes, size_t first, size_t rows, size_t blocks
) {
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
  j->kernels->multiply_int8(&tile);
}

/* The same against levels of four bits: sums in f32. */
static void multiply_nibbles(
  const swerve_linear_job *j, float *acc, const char *w, size_t block_bytes, size_t first, size_t rows, size_t blocks,
  void *scratch
) {
  const size_t row_bytes = swerve_round_up(j->inputs, 64);
  const swerve_nibbles nibbles = {
    .x = (const char *)j->levels + first * row_bytes,
    .x_stride = row_bytes,
    .w = w,
    .block_stride = block_bytes,
    .inputs = j->inputs,
    .group = j->group,
    .acc = acc,
    .acc_stride = blocks * 16,
    .rows = rows,
    .blocks = blocks,
    .scratch = scratch,
  };
  j->kernels->multiply_nibbles(&nibbles);
}

static size_t unit_blocks(const swerve_linear_job *j) { return j->epilogue == SWERVE_OUT_SILU ? 2 : 1; }

/* Blocks of outputs that all rows pass over before the next. From many rows on a panel is as wide as the set likes: the
 * panel, the rows and their sums then share the second-level cache, and rows are fetched into it less often. */
static size_t panel_of(const swerve_linear_job *j) {
  if (j->rows <= 2) return j->format == SWERVE_PLAIN ? j->kernels->panel_small : LEVEL_PANEL;
  if (j->rows < SWERVE_MANY_ROWS) return j->kernels->panel;
  return j->segments > 1 ? swerve_min(8, j->kernels->panel_many) : j->kernels->panel_many;
}

size_t swerve_linear_panel(const swerve_linear_job *j) { return panel_of(j) / unit_blocks(j); }

void swerve_linear_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_linear_job *j = job;
  const size_t element = swerve_type_bytes(j->type);
  const size_t block_bytes = swerve_block_bytes(j->inputs, j->type, j->format, j->group);
  const size_t segments = (size_t)j->segments;
  const size_t segment = j->inputs / segments;
  float *acc = scratch;
  char *level_scratch = (char *)scratch + SWERVE_SCRATCH_BYTES - SWERVE_LEVEL_SCRATCH;
  /* A gated unit is a pair of blocks. */
  begin *= unit_blocks(j);
  end *= unit_blocks(j);
  const size_t panel = panel_of(j);
  const bool dynamic = j->format == SWERVE_INT8_DYNAMIC || j->format == SWERVE_INT4_DYNAMIC;
  const bool levels = j->format != SWERVE_PLAIN && !dynamic;
  const size_t most = levels ? SWERVE_LEVEL_ROWS : j->kernels->row_chunk;
  for (size_t block = begin; block < end; block += panel) {
    const size_t blocks = swerve_min(panel, end - block);
    const size_t width = blocks * 16;
    const size_t chunk = swerve_min(most, ACCUMULATORS / (width * segments));
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
        .cold = row == 0,
      };
      if (j->format == SWERVE_INT8_DYNAMIC) {
        multiply_dynamic(j, acc, w, block_bytes, row, rows, blocks);
      } else if (dynamic) {
        multiply_nibbles(j, acc, w, block_bytes, row, rows, blocks, level_scratch);
      } else {
        for (size_t s = 0; s < segments; s++) {
          tile.acc = acc + s * rows * width;
          multiply_segment(
            j, tile, w, s * segment, s + 1 == segments ? j->inputs : (s + 1) * segment, level_scratch);
        }
      }
      const swerve_sums sums = {
        .job = j, .acc = acc, .segment_floats = rows * width, .rows = rows, .blocks = blocks, .first_row = row,
        .first_block = block, .w = w, .block_bytes = block_bytes,
      };
      j->kernels->finish(&sums);
    }
  }
}

void swerve_quantize_rows_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_quantize_rows_job *j = job;
  const swerve_kernels *kernels = j->kernels;
  const size_t row_bytes = swerve_round_up(j->inputs, 64);
  const int offset = j->format == SWERVE_INT8_DYNAMIC ? kernels->level_offset : 0;
  float *wide = scratch;
  for (size_t r = begin; r < end; r++) {
    uint8_t *out = (uint8_t *)j->levels + r * row_bytes;
    const char *x = (const char *)j->x + r * j->x_stride * swerve_type_bytes(j->type);
    kernels->widen[j->type](wide, x, j->inputs);
    j->row_scales[r] = kernels->quantize(out, wide, j->inputs, offset);
    memset(out + j->inputs, 0, row_bytes - j->inputs);
  }
}
