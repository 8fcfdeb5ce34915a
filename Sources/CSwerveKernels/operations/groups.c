/* Attention's two products for sets that have no loops of their own for them: groups that lie in step go to the matrix
 * loop together. */
#include "../inner.h"

void swerve_groups_score(swerve_multiply multiply, const swerve_groups *t) {
  size_t g = 0;
  while (g < t->count) {
    size_t n = 1;
    const ptrdiff_t step = g + 1 < t->count ? t->groups[g + 1] - t->groups[g] : 0;
    /* Strides are unsigned: a group before its predecessor starts a run of its own. */
    while (step > 0 && g + n < t->count && t->groups[g + n] - t->groups[g + n - 1] == step) n++;
    const swerve_tile tile = {
      .x = t->x,
      .x_stride = t->x_stride,
      .w = t->groups[g],
      .block_stride = (size_t)(step > 0 ? step : 0),
      .step_stride = t->step_stride,
      .steps = t->steps,
      .acc = t->acc + g * 16,
      .acc_stride = t->acc_stride,
      .rows = t->rows,
      .blocks = n,
    };
    multiply(&tile);
    g += n;
  }
}

/* Groups go in pairs, which are copied side by side where they lie apart: a matrix unit sums 32 tokens at once, and
 * which 32 must not depend on where the cache has them. */
void swerve_groups_weigh(swerve_multiply multiply, const swerve_groups *t) {
  const size_t bytes = t->steps * t->step_stride;
  size_t g = 0;
  while (g < t->count) {
    size_t n = 1;
    while (g + n < t->count && t->groups[g + n] == t->groups[g + n - 1] + bytes) n++;
    const char *w = t->groups[g];
    if (n % 2 == 1 && g + n < t->count) n--;
    if (n == 0) {
      n = 2;
      memcpy(t->copy, t->groups[g], bytes);
      memcpy(t->copy + bytes, t->groups[g + 1], bytes);
      w = t->copy;
    }
    const swerve_tile tile = {
      .x = (const char *)t->x + g * t->steps * 4,
      .x_stride = t->x_stride,
      .w = w,
      .block_stride = 64,
      .step_stride = t->step_stride,
      .steps = n * t->steps,
      .acc = t->acc,
      .acc_stride = t->acc_stride,
      .rows = t->rows,
      .blocks = t->blocks,
      .accumulate = t->accumulate || g > 0,
    };
    multiply(&tile);
    g += n;
  }
}
