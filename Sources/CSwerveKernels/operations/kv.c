/* Keys and values of new tokens into their slots. */
#include "../inner.h"

void swerve_kv_write_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_kv_write_job *j = job;
  const swerve_kv_layer *c = &j->cache;
  const size_t d = c->head_dim, tokens = c->block_tokens, head_elements = tokens * d;
  for (size_t r = begin; r < end; r++) {
    const int64_t slot = j->slots[r];
    if (slot < 0) continue;
    const size_t token = (size_t)slot % tokens;
    char *block = (char *)c->base + (size_t)slot / tokens * c->block_bytes;
    for (size_t h = 0; h < c->kv_heads; h++) {
      if (c->type == SWERVE_FLOAT32) {
        const float *k = (const float *)j->k + r * j->k_stride + h * d;
        const float *v = (const float *)j->v + r * j->v_stride + h * d;
        float *key = (float *)block + h * head_elements + token / 16 * d * 16 + token % 16;
        float *value = (float *)block + (c->kv_heads + h) * head_elements + token * d;
        for (size_t i = 0; i < d; i++) key[i * 16] = k[i];
        memcpy(value, v, d * sizeof(float));
      } else {
        const uint16_t *k = (const uint16_t *)j->k + r * j->k_stride + h * d;
        const uint16_t *v = (const uint16_t *)j->v + r * j->v_stride + h * d;
        uint16_t *key = (uint16_t *)block + h * head_elements + token / 16 * d * 16 + token % 16 * 2;
        uint16_t *value = (uint16_t *)block + (c->kv_heads + h) * head_elements + token / 2 * d * 2 + token % 2;
        for (size_t i = 0; i < d; i += 2) memcpy(key + i * 16, k + i, 4);
        for (size_t i = 0; i < d; i++) value[i * 2] = v[i];
      }
    }
  }
}
