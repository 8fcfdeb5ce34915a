/* What plain and quantised packing share. Private to this folder. */
#ifndef SWERVE_PACK_H
#define SWERVE_PACK_H

#include "../inner.h"

/* n numbers of a row of the job's source, or of its noise, from a column of the whole row on, in f32. */
void swerve_pack_read(const swerve_pack_job *job, size_t row, size_t column, size_t n, float *out);

/* One row of the source as levels and scales of output `lane` of a block that is zero there. */
void swerve_pack_quantized(const swerve_pack_job *job, char *block, size_t lane, size_t row);

/* The inner loops of rounding; all CPUs give the same bytes. */
typedef struct {
  /* The largest of the magnitudes' bits and `largest`. */
  uint32_t (*magnitude)(const float *x, size_t n, uint32_t largest);
  /* Sum of squared differences of a group to the levels -8 ... 7 of a scale, in 16 lanes. */
  float (*int4_error)(const float *x, size_t n, float scale);
  /* Rounded to binary16. */
  float (*half)(float x, uint16_t *bits);
  /* A group of numbers times `inverse` (0: all zeros) as levels at their places. */
  void (*put_four)(const swerve_pack_job *job, const float *x, float inverse, char *levels, size_t lane);
  /* The same for n numbers from input k on, a multiple of 4; the sum of their levels. */
  int32_t (*put_eight)(
    const swerve_pack_job *job, const float *x, size_t n, float inverse, char *block, size_t k, size_t lane);
} swerve_quantizer;

#if SWERVE_X86
extern const swerve_quantizer swerve_avx512_quantizer;
#endif

#endif
