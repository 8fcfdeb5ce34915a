/* Searches in one row of logits by the thread that holds it: keys above a floor, counts and masses before a place in the
 * order of sampling. */
#include "../inner.h"

#include <math.h>

static size_t piece_length(const swerve_row *row, size_t piece) {
  return swerve_min(SWERVE_PIECE, row->columns - piece * SWERVE_PIECE);
}

static size_t piece_count(const swerve_row *row) { return (row->columns + SWERVE_PIECE - 1) / SWERVE_PIECE; }

/* Logits of a piece that the bound lets in even where they equal its value: those before its token. */
static size_t inclusive(const swerve_row *row, swerve_bound bound, size_t piece) {
  const size_t first = piece * SWERVE_PIECE;
  return bound.token <= first ? 0 : swerve_min(bound.token - first, piece_length(row, piece));
}

size_t swerve_row_keys(const swerve_row *row, float floor, uint64_t *keys) {
  size_t count = 0;
  for (size_t p = 0; p < piece_count(row); p++) {
    if (!(row->maxima[p] >= floor)) continue;
    const size_t first = p * SWERVE_PIECE;
    count += row->kernels->keys_from(keys + count, row->logits + first, floor, (uint32_t)first, piece_length(row, p));
  }
  return count;
}

size_t swerve_row_count(const swerve_row *row, swerve_bound bound) {
  const float above = nextafterf(bound.value, INFINITY);
  size_t count = 0;
  for (size_t p = 0; p < piece_count(row); p++) {
    if (!(row->maxima[p] >= bound.value)) continue;
    const float *x = row->logits + p * SWERVE_PIECE;
    const size_t with = inclusive(row, bound, p);
    count += row->kernels->count_from(x, bound.value, with) +
      row->kernels->count_from(x + with, above, piece_length(row, p) - with);
  }
  return count;
}

double swerve_row_masses(const swerve_row *row, swerve_bound bound, float shift, double *masses) {
  const float above = nextafterf(bound.value, INFINITY);
  double total = 0;
  for (size_t p = 0; p < piece_count(row); p++) {
    masses[p] = 0;
    if (!(row->maxima[p] >= bound.value)) continue;
    const float *x = row->logits + p * SWERVE_PIECE;
    const size_t with = inclusive(row, bound, p);
    if (with > 0) masses[p] = row->kernels->sum_exp_from(x, shift, bound.value, with);
    const size_t rest = piece_length(row, p) - with;
    if (rest > 0) masses[p] += row->kernels->sum_exp_from(x + with, shift, above, rest);
    total += masses[p];
  }
  return total;
}

/* The first token of a run at which the masses exceed `left`; where their sum by tokens stays below it (the sum by lanes
 * may exceed it by a rounding), the last one that has a mass. -1 where none has. */
static int64_t find_in_run(
  const swerve_row *row, const float *x, size_t n, float floor, float shift, double left) {
  int64_t last = -1;
  double sum = 0;
  for (size_t k = 0; k < n; k++) {
    if (!(x[k] >= floor)) continue;
    const double mass = (double)row->kernels->exp(x[k] - shift);
    if (!(mass > 0)) continue;
    last = (int64_t)k;
    sum += mass;
    if (sum > left) break;
  }
  return last;
}

int64_t swerve_row_find(const swerve_row *row, swerve_bound bound, float shift, size_t piece, double left) {
  /* Sums of short runs first, then one run token by token. */
  enum { RUN = 64 };
  const float above = nextafterf(bound.value, INFINITY);
  const size_t first = piece * SWERVE_PIECE, length = piece_length(row, piece);
  const size_t with = inclusive(row, bound, piece);
  /* The last run with a mass, and the mass left before it. */
  size_t last_run = length;
  for (size_t i = 0; i < length;) {
    const float floor = i < with ? bound.value : above;
    const size_t n = swerve_min(RUN, (i < with ? with : length) - i);
    const float *x = row->logits + first + i;
    const double mass = row->kernels->sum_exp_from(x, shift, floor, n);
    if (mass > left) {
      const int64_t found = find_in_run(row, x, n, floor, shift, left);
      if (found >= 0) return (int64_t)(first + i) + found;
    }
    if (mass > 0) last_run = i;
    left -= mass;
    i += n;
  }
  if (last_run == length) return -1;
  /* What is left beyond the last mass, by a rounding: the last token that has one. */
  const size_t n = swerve_min(RUN, (last_run < with ? with : length) - last_run);
  const int64_t found =
    find_in_run(row, row->logits + first + last_run, n, last_run < with ? bound.value : above, shift, INFINITY);
  return found < 0 ? -1 : (int64_t)(first + last_run) + found;
}
