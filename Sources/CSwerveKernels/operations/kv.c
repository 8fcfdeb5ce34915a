/* Keys and values of new tokens into their slots. */
#include "../inner.h"

enum { MOST = 512 }; /* head_dim */

/* A head of one token: numbers `type` at `from` to `to` at `out`, by way of f32 where they differ. */
static const void *converted(const swerve_kernels *kernels, const void *from, int type, int to, void *out, size_t n) {
  if (type == to) return from;
  float wide[MOST];
  const float *x = from;
  if (type != SWERVE_FLOAT32) {
    kernels->widen[type](wide, from, n);
    x = wide;
  }
  kernels->narrow[to](out, x, n);
  return out;
}

static void write_f32(const swerve_kv_layer *c, char *block, size_t h, size_t token, const float *k, const float *v) {
  const size_t d = c->head_dim, head_elements = c->block_tokens * d;
  float *key = (float *)block + h * head_elements + token / 16 * d * 16 + token % 16;
  float *value = (float *)block + (c->kv_heads + h) * head_elements + token * d;
  for (size_t i = 0; i < d; i++) key[i * 16] = k[i];
  memcpy(value, v, d * sizeof(float));
}

static void write_pairs(
  const swerve_kv_layer *c, char *block, size_t h, size_t token, const uint16_t *k, const uint16_t *v
) {
  const size_t d = c->head_dim, head_elements = c->block_tokens * d;
  uint16_t *key = (uint16_t *)block + h * head_elements + token / 16 * d * 16 + token % 16 * 2;
  uint16_t *value = (uint16_t *)block + (c->kv_heads + h) * head_elements + token / 2 * d * 2 + token % 2;
  for (size_t i = 0; i < d; i += 2) memcpy(key + i * 16, k + i, 4);
  for (size_t i = 0; i < d; i++) value[i * 2] = v[i];
}

/* Codes [d] of one token, and their scale to `scale`. */
static void encode(
  const swerve_kv_write_job *j, const float *x, uint8_t *codes, char *scale
) {
  const size_t d = j->cache.head_dim;
  float factor;
  const float unit = swerve_codes_scale(x, d, j->cache.type, &factor);
  const uint16_t stored = (uint16_t)(swerve_float_bits(unit) >> 16);
  memcpy(scale, &stored, 2);
  if (factor > 0) j->kernels->encode(codes, x, factor, j->cache.type, d);
  else memset(codes, 0, d);
}

static void write_codes(
  const swerve_kv_write_job *j, char *block, size_t h, size_t token, const float *k, const float *v
) {
  const swerve_kv_layer *c = &j->cache;
  const size_t d = c->head_dim, tokens = c->block_tokens, part = token % 4;
  char *head = block + h * (2 * tokens * d + 4 * tokens);
  char *scales = head + 2 * tokens * d + token * 2;
  uint8_t codes[MOST];
  encode(j, k, codes, scales);
  char *key = head + token / 16 * d * 16 + token % 16 / 4 * 16 + part * 2;
  for (size_t i = 0; i < d; i += 4) {
    memcpy(key + i * 16, codes + i, 2);
    memcpy(key + i * 16 + 8, codes + i + 2, 2);
  }
  encode(j, v, codes, scales + tokens * 2);
  char *value = head + (tokens + token / 4 * 4) * d + part / 2 * 8 + part % 2;
  for (size_t i = 0; i < d; i += 4)
    for (size_t e = 0; e < 4; e++) value[i * 4 + e * 2] = (char)codes[i + e];
}

void swerve_kv_write_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_kv_write_job *j = job;
  const swerve_kv_layer *c = &j->cache;
  const size_t d = c->head_dim, tokens = c->block_tokens, bytes = swerve_type_bytes(j->type);
  const int to = c->type >= SWERVE_KV_INT8 ? SWERVE_FLOAT32 : c->type;
  for (size_t r = begin; r < end; r++) {
    const int64_t slot = j->slots[r];
    if (slot < 0) continue;
    const size_t token = (size_t)slot % tokens;
    char *block = (char *)c->base + (size_t)slot / tokens * c->block_bytes;
    for (size_t h = 0; h < c->kv_heads; h++) {
      _Alignas(64) float key[MOST], value[MOST];
      const void *k = (const char *)j->k + (r * j->k_stride + h * d) * bytes;
      const void *v = (const char *)j->v + (r * j->v_stride + h * d) * bytes;
      k = converted(j->kernels, k, j->type, to, key, d);
      v = converted(j->kernels, v, j->type, to, value, d);
      if (c->type >= SWERVE_KV_INT8) write_codes(j, block, h, token, k, v);
      else if (c->type == SWERVE_FLOAT32) write_f32(c, block, h, token, k, v);
      else write_pairs(c, block, h, token, k, v);
    }
  }
}
