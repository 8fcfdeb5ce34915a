/* Maxima, their places and exp-sums of rows of logits by piece, on their own or behind the output head's product while a
 * piece is in the cache. */
#include "../inner.h"

#include <math.h>

/* The piece at `x` of `n` logits. */
static void measure(
  const swerve_kernels *kernels, swerve_row_request request, float *x, size_t n, const swerve_statistics *s, size_t at
) {
  if (request.wanted == SWERVE_WANTS_NOTHING) return;
  if (request.factor != 1.0f) kernels->scale(x, request.factor, n);
  float maximum;
  s->places[at] = kernels->argmax(x, n, &maximum);
  s->maxima[at] = maximum;
  if (request.wanted != SWERVE_WANTS_SUMS) return;
  /* All -infinity: the sum is zero, its logarithm too; exp must not see inf - inf. */
  s->log_sums[at] = isinf(maximum) ? maximum : maximum + (float)log(kernels->sum_exp(x, maximum, n));
}

void swerve_statistics_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_statistics_job *j = job;
  for (size_t unit = begin; unit < end; unit++) {
    const size_t row = unit / j->statistics.pieces, first = unit % j->statistics.pieces * SWERVE_PIECE;
    measure(
      j->kernels, j->requests[row], j->logits + row * j->stride + first, swerve_min(SWERVE_PIECE, j->columns - first),
      &j->statistics, unit);
  }
}

/* Rows of a panel: a quarter of the second-level cache, and all of a decode step's usual rows. */
enum { PANEL_ROWS = SWERVE_PANEL_BYTES / (SWERVE_PIECE * sizeof(float)) };

void swerve_head_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_head_job *j = job;
  float *panel = (float *)((char *)scratch + SWERVE_SCRATCH_BYTES);
  const size_t chunk = j->keeps ? j->linear.rows : PANEL_ROWS;
  for (size_t piece = begin; piece < end; piece++) {
    const size_t first = piece * SWERVE_PIECE, n = swerve_min(SWERVE_PIECE, j->linear.outputs - first);
    for (size_t row = 0; row < j->linear.rows; row += chunk) {
      swerve_linear_job linear = j->linear;
      linear.rows = swerve_min(chunk, j->linear.rows - row);
      linear.x = (const char *)linear.x + row * linear.x_stride * swerve_type_bytes(linear.type);
      if (!j->keeps) {
        /* The product writes row r's column c at y + r y_stride + c: the panel stands where column `first` would be. */
        linear.y = (void *)((uintptr_t)panel - first * sizeof(float));
        linear.y_stride = SWERVE_PIECE;
      }
      swerve_linear_task(&linear, first / 16, (first + n + 15) / 16, scratch);
      for (size_t r = 0; r < linear.rows; r++)
        measure(
          linear.kernels, j->requests[row + r], (float *)linear.y + r * linear.y_stride + first, n, &j->statistics,
          (row + r) * j->statistics.pieces + piece);
    }
  }
}
