/* What follows a product's sums, in one pass over them: the tree of segments, scales, bias, the epilogue. The same
 * arithmetic in the same order as operations/finish.c has it. */
#include "../inner.h"

#if SWERVE_X86
#include "vector.h"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c"))), \
  apply_to = function)

#define UNROLL _Pragma("clang loop unroll(full)")

/* Sums of 16 outputs of a row, S segments added pairwise. */
INLINE __m512 tree(const float *acc, size_t segment_floats, const int S) {
  __m512 v[8];
  UNROLL for (int s = 0; s < S; s++) v[s] = _mm512_loadu_ps(acc + (size_t)s * segment_floats);
  UNROLL for (int step = 1; step < S; step *= 2)
    UNROLL for (int s = 0; s + step < S; s += 2 * step) v[s] = _mm512_add_ps(v[s], v[s + step]);
  return v[0];
}

/* Block b of a row: F is the format, S the number of segments. */
INLINE __m512 sum_of(const swerve_sums *p, size_t r, size_t b, const int F, const int S) {
  const swerve_linear_job *j = p->job;
  const float *acc = p->acc + r * p->blocks * 16 + b * 16;
  const char *block = p->w + b * p->block_bytes;
  __m512 v;
  if (F == SWERVE_INT8_DYNAMIC) {
    const __m512i by = _mm512_set1_epi32(j->kernels->level_offset);
    const __m512i whole =
      _mm512_sub_epi32(_mm512_loadu_si512(acc), _mm512_mullo_epi32(by, _mm512_loadu_si512(block + 64)));
    v = _mm512_mul_ps(_mm512_cvtepi32_ps(whole), _mm512_set1_ps(j->row_scales[p->first_row + r]));
    v = _mm512_mul_ps(v, _mm512_loadu_ps(block));
  } else if (F == SWERVE_INT4_DYNAMIC) {
    v = _mm512_mul_ps(_mm512_loadu_ps(acc), _mm512_set1_ps(j->row_scales[p->first_row + r]));
  } else {
    v = tree(acc, p->segment_floats, S);
    if (F == SWERVE_INT8) v = _mm512_mul_ps(v, _mm512_loadu_ps(block));
  }
  return j->bias && j->epilogue != SWERVE_OUT_SUMS ? _mm512_add_ps(v, _mm512_loadu_ps(j->bias + (p->first_block + b) * 16)) : v;
}

INLINE void store_as(int type, void *row, size_t column, __mmask16 m, __m512 v) {
  switch (type) {
  case SWERVE_FLOAT32: _mm512_mask_storeu_ps((float *)row + column, m, v); break;
  case SWERVE_BFLOAT16: _mm256_mask_storeu_epi16((uint16_t *)row + column, m, rounded_bf16(v)); break;
  default: _mm256_mask_storeu_epi16((uint16_t *)row + column, m, rounded_f16(v));
  }
}

INLINE __mmask16 inside(const swerve_linear_job *j, size_t column) {
  return j->outputs - column >= 16 ? 0xffff : (__mmask16)((1u << (j->outputs - column)) - 1);
}

INLINE void finish(const swerve_sums *p, const int F, const int S) {
  const swerve_linear_job *j = p->job;
  const bool is_f32 = j->epilogue == SWERVE_OUT_F32 || j->epilogue == SWERVE_OUT_ADD || j->epilogue == SWERVE_OUT_SUMS;
  const size_t element = is_f32 ? 4 : swerve_type_bytes(j->type);
  for (size_t r = 0; r < p->rows; r++) {
    char *y = (char *)j->y + (p->first_row + r) * j->y_stride * element;
    if (j->epilogue == SWERVE_OUT_SILU) {
      for (size_t b = 0; b < p->blocks; b += 2) {
        const size_t column = (p->first_block + b) * 8;
        store_as(j->type, y, column, inside(j, column), gated(sum_of(p, r, b, F, S), sum_of(p, r, b + 1, F, S)));
      }
      continue;
    }
    for (size_t b = 0; b < p->blocks; b++) {
      const size_t column = (p->first_block + b) * 16;
      const __mmask16 m = inside(j, column);
      __m512 v = sum_of(p, r, b, F, S);
      if (j->epilogue == SWERVE_OUT_ADD) v = _mm512_add_ps(_mm512_maskz_loadu_ps(m, (float *)y + column), v);
      store_as(element == 4 ? SWERVE_FLOAT32 : j->type, y, column, m, v);
    }
  }
}

INLINE void finish_segments(const swerve_sums *p, const int F) {
  switch (p->job->segments) {
  case 1: finish(p, F, 1); break;
  case 2: finish(p, F, 2); break;
  case 4: finish(p, F, 4); break;
  default: finish(p, F, 8);
  }
}

void swerve_avx512_finish(const swerve_sums *p) {
  switch (p->job->format) {
  case SWERVE_INT8: finish_segments(p, p->job->epilogue == SWERVE_OUT_SUMS ? SWERVE_PLAIN : SWERVE_INT8); break;
  case SWERVE_INT8_DYNAMIC: finish(p, SWERVE_INT8_DYNAMIC, 1); break;
  case SWERVE_INT4_DYNAMIC: finish(p, SWERVE_INT4_DYNAMIC, 1); break;
  default: finish_segments(p, SWERVE_PLAIN);
  }
}

#pragma clang attribute pop
#endif
