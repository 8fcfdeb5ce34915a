/* Operations that pass once over the activations, a row at a time: embedding, norms, rotation, gathering,
 * conversion. */
#include "../levels.h"

#include <math.h>

/* A row of levels times their scales. */
static void embed_levels(const swerve_embed_job *j, const char *block, size_t lane, float *out) {
  const float scale = j->format == SWERVE_INT8 || j->format == SWERVE_INT8_DYNAMIC ? ((const float *)block)[lane] : 0;
  for (size_t k = 0; k < j->columns; k++) {
    if (j->format == SWERVE_INT8) {
      const uint8_t byte = (uint8_t)block[swerve_int8_place(k, lane)];
      const float level = (float)(byte & 0x7f);
      out[k] = (byte & 0x80 ? -level : level) * scale;
    } else if (j->format == SWERVE_INT8_DYNAMIC) {
      out[k] = (float)(int8_t)block[swerve_dynamic_place(k, lane)] * scale;
    } else {
      const size_t number = k / j->group, inside = k % j->group;
      const char *levels = block + swerve_group_levels(number, j->group);
      float group_scale;
      j->kernels->widen[SWERVE_FLOAT16](&group_scale, block + swerve_group_scales(number, j->group) + lane * 2, 1);
      if (j->format == SWERVE_INT4_DYNAMIC) {
        const unsigned both = (uint8_t)levels[swerve_byte_nibble_place(inside, lane)];
        out[k] = (float)swerve_nibble_level(both >> swerve_byte_nibble_shift(inside)) * group_scale;
        continue;
      }
      uint16_t word;
      memcpy(&word, levels + swerve_nibble_place(inside, lane), 2);
      out[k] = swerve_levels_of.four[swerve_four_index(j->format)][word >> swerve_nibble_shift(inside) & 15] *
        group_scale;
    }
  }
}

static void embed_packed(const swerve_embed_job *j, size_t row, float *out) {
  const size_t block_bytes = swerve_block_bytes(j->table_stride, j->type, j->format, j->group);
  const char *block = (const char *)j->table + row / 16 * block_bytes;
  const size_t lane = row % 16;
  if (j->format != SWERVE_PLAIN) {
    embed_levels(j, block, lane, out);
    return;
  }
  if (j->type == SWERVE_FLOAT32) {
    for (size_t k = 0; k < j->columns; k++) out[k] = ((const float *)block)[k * 16 + lane];
    return;
  }
  uint16_t piece[256];
  for (size_t k = 0; k < j->columns; k += 256) {
    const size_t n = swerve_min(256, j->columns - k);
    for (size_t i = 0; i < n; i++)
      piece[i] = ((const uint16_t *)block)[(k + i) / 2 * 32 + lane * 2 + (k + i) % 2];
    j->kernels->widen[j->type](out + k, piece, n);
  }
}

void swerve_embed_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_embed_job *j = job;
  for (size_t r = begin; r < end; r++) {
    const size_t row = (size_t)j->index[r];
    float *out = j->out + r * j->out_stride;
    if (j->packed)
      embed_packed(j, row, out);
    else
      j->kernels->widen[j->type](
        out, (const char *)j->table + row * j->table_stride * swerve_type_bytes(j->type), j->columns);
  }
}

void swerve_norm_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_norm_job *j = job;
  const swerve_kernels *kernels = j->kernels;
  float *wide = scratch;
  for (size_t r = begin; r < end; r++) {
    float *x = j->residual + r * j->residual_stride;
    if (j->delta) kernels->add(x, j->delta + r * j->delta_stride, j->columns);
    const float mean = kernels->sum_squares(x, j->columns) / (float)j->columns;
    const float a = 1.0f / sqrtf(mean + j->epsilon);
    char *y = (char *)j->y + r * j->y_stride * swerve_type_bytes(j->type);
    if (j->type == SWERVE_FLOAT32) {
      kernels->scale_weight((float *)y, x, a, j->weight, j->columns);
    } else {
      kernels->scale_weight(wide, x, a, j->weight, j->columns);
      kernels->narrow[j->type](y, wide, j->columns);
    }
  }
}

static void rotate_heads(
  const swerve_rotate_job *j, const float *x, size_t heads, const float *norm, size_t row, char *out, float *head
) {
  const swerve_kernels *kernels = j->kernels;
  const size_t d = j->head_dim, half = j->rotary_dim / 2;
  for (size_t h = 0; h < heads; h++, x += d) {
    if (norm) {
      const float mean = kernels->sum_squares(x, d) / (float)d;
      kernels->scale_weight(head, x, 1.0f / sqrtf(mean + j->epsilon), norm, d);
    } else {
      memcpy(head, x, d * sizeof(float));
    }
    if (half) {
      const size_t angle = row * j->angle_stride;
      kernels->rotate(head, head + half, j->cosines + angle, j->sines + angle, half);
    }
    kernels->narrow[j->type](out + h * d * swerve_type_bytes(j->type), head, d);
  }
}

void swerve_rotate_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_rotate_job *j = job;
  const size_t element = swerve_type_bytes(j->type);
  for (size_t r = begin; r < end; r++) {
    const float *x = j->qkv + r * j->qkv_stride;
    rotate_heads(j, x, j->query_heads, j->q_norm, r, (char *)j->q + r * j->q_stride * element, scratch);
    x += j->query_heads * j->head_dim;
    rotate_heads(j, x, j->kv_heads, j->k_norm, r, (char *)j->k + r * j->k_stride * element, scratch);
    x += j->kv_heads * j->head_dim;
    j->kernels->narrow[j->type]((char *)j->v + r * j->v_stride * element, x, j->kv_heads * j->head_dim);
    /* While the row is in the first cache. */
    if (j->write) swerve_kv_write_task(j->write, r, r + 1, scratch);
  }
}

void swerve_gather_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_gather_job *j = job;
  for (size_t r = begin; r < end; r++)
    memcpy(
      (char *)j->out + r * j->out_stride, (const char *)j->source + (size_t)j->index[r] * j->source_stride,
      j->row_bytes);
}

void swerve_convert_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_convert_job *j = job;
  float wide[512];
  for (size_t r = begin; r < end; r++) {
    const char *in = (const char *)j->source + r * j->source_stride * swerve_type_bytes(j->source_type);
    char *out = (char *)j->out + r * j->out_stride * swerve_type_bytes(j->type);
    for (size_t c = 0; c < j->columns; c += 512) {
      const size_t n = swerve_min(512, j->columns - c);
      j->kernels->widen[j->source_type](wide, in + c * swerve_type_bytes(j->source_type), n);
      j->kernels->narrow[j->type](out + c * swerve_type_bytes(j->type), wide, n);
    }
  }
}
