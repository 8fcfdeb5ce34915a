/* What the sampler asks of whole rows of logits. */
#include "../inner.h"

#include <math.h>

void swerve_logits_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_logits_job *j = job;
  const swerve_kernels *kernels = j->kernels;
  for (size_t r = begin; r < end; r++) {
    float *x = j->logits + r * j->stride;
    if (j->scale) kernels->scale(x, j->scale[r], j->columns);
    if (!j->argmax && !j->maximum && !j->log_sum_exp) continue;
    float maximum;
    const int32_t index = kernels->argmax(x, j->columns, &maximum);
    if (j->argmax) j->argmax[r] = index;
    if (j->maximum) j->maximum[r] = maximum;
    if (j->log_sum_exp) {
      /* All -infinity: the sum is zero, its logarithm too; exp must not see inf - inf. */
      j->log_sum_exp[r] = isinf(maximum)
        ? maximum
        : maximum + (float)log(kernels->sum_exp(x, maximum, j->columns));
    }
  }
}
