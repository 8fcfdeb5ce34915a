/* A tile of queries against the keys, then the values, of one partition: groups of 16 tokens are found by the block
 * table and go to the products as they lie, or as numbers made of codes. */
#include "attention.h"

static const char *block_address(const swerve_query_tile *t, size_t position) {
  const swerve_kv_layer *c = &t->job->cache;
  const int32_t block = t->job->blocks[(size_t)t->item->first_block + position / c->block_tokens];
  if (__builtin_expect(block < c->device_blocks, 1)) return (const char *)c->base + (size_t)block * c->block_bytes;
  if (block < c->staged_first) return (const char *)c->host + (size_t)(block - c->device_blocks) * c->host_bytes;
  return (const char *)c->staged + (size_t)(block - c->staged_first) * c->staged_bytes;
}

static inline void fetch(const char *line) { __builtin_prefetch(line, 0, 3); }

/* The scales of `count` groups from `begin` on as f32; those up to `next_end`, of the next partition, are fetched. */
static void load_scales(const swerve_query_tile *t, swerve_workspace *s, size_t begin, size_t count, size_t next_end) {
  const size_t tokens = t->job->cache.block_tokens;
  for (size_t g = 0; g < count; g++) {
    const size_t position = begin + g * 16;
    const char *scales = block_address(t, position) + t->key_offset + 2 * t->head_bytes + position % tokens * 2;
    t->job->kernels->widen[SWERVE_BFLOAT16](s->at->key_scales + g * 16, scales, 16);
    t->job->kernels->widen[SWERVE_BFLOAT16](s->at->value_scales + g * 16, scales + tokens * 2, 16);
  }
  const size_t end = begin + count * 16;
  for (size_t position = end; position < swerve_min(next_end, end + PARTITION); position += 16)
    fetch(block_address(t, position) + t->key_offset + 2 * t->head_bytes + position % tokens * 2);
}

static void find_keys_and_values(const swerve_query_tile *t, swerve_workspace *s, size_t begin, size_t count) {
  const size_t tokens = t->job->cache.block_tokens;
  for (size_t g = 0; g < count; g++) {
    const size_t position = begin + g * 16, within = position % tokens / 16;
    const char *block = block_address(t, position);
    s->at->groups[g] = block + t->key_offset + within * t->group_bytes;
    s->at->groups[count + g] = block + t->value_offset + within * t->group_bytes;
  }
}

size_t swerve_attention_find(
  const swerve_query_tile *t, swerve_workspace *s, size_t begin, size_t count, size_t next_end
) {
  const size_t tokens = t->job->cache.block_tokens;
  find_keys_and_values(t, s, begin, count);
  if (t->coded) load_scales(t, s, begin, count, next_end);
  size_t ahead = 0;
  for (size_t position = begin + count * 16; position < next_end && ahead < AHEAD; position += 16, ahead++)
    s->at->groups[2 * count + ahead] =
      block_address(t, position) + t->key_offset + position % tokens / 16 * t->group_bytes;
  /* A list that ends fetches its own last group again, which costs nothing. */
  if (ahead == 0) s->at->groups[2 * count] = s->at->groups[2 * count - 1];
  return ahead > 0 ? ahead : 1;
}

void swerve_attention_fetch(const swerve_query_tile *t, const char *group) {
  const size_t lines = t->job->kernels->fetched_lines;
  const size_t bytes = lines && !t->coded ? swerve_min(t->group_bytes, lines * 64) : t->group_bytes;
  for (size_t i = 0; i < bytes; i += 64) fetch(group + i);
}

static void multiply_keys(const swerve_query_tile *t, const swerve_groups *product) {
  const swerve_kernels *kernels = t->job->kernels;
  if (kernels->score[t->type]) kernels->score[t->type](product);
  else swerve_groups_score(kernels->multiply[t->type], product);
}

static void multiply_values(const swerve_query_tile *t, const swerve_groups *product) {
  const swerve_kernels *kernels = t->job->kernels;
  if (kernels->weigh[t->type]) kernels->weigh[t->type](product);
  else swerve_groups_weigh(kernels->multiply[t->type], product);
}

/* A group's codes as numbers, in the order that the products read. */
static inline void unpack_keys(const swerve_query_tile *t, char *out, const char *group, const swerve_codes *codes) {
  t->job->kernels->unpack_codes(out, out + 64, 128, (const uint8_t *)group, t->d / 4, codes);
}

static inline void unpack_values(const swerve_query_tile *t, char *out, const char *group, const swerve_codes *codes) {
  const uint8_t *cells = (const uint8_t *)group;
  const size_t row = t->padded * 4;
  for (size_t quad = 0; quad < 4; quad++, cells += 4 * t->d, out += 2 * row)
    t->job->kernels->unpack_codes(out, out + row, 64, cells, t->padded / 16, codes);
}

/* Numbers of the partition's groups, made of codes once for all tiles that meet it: `part` 0 keys, 1 values. */
static void share_numbers(
  const swerve_query_tile *t, swerve_workspace *s, size_t part, const char **groups, size_t count, const char **numbers
) {
  const swerve_codes *codes = swerve_codes_of(t->job->cache.type);
  const size_t bytes = 32 * (part ? t->padded : t->d);
  for (size_t g = 0; g < count; g++) {
    const size_t place = s->at->first_group + g;
    char *out = (part ? s->at->values : s->at->keys) + place * bytes;
    numbers[g] = out;
    if (s->at->made[part] >> place & 1) continue;
    s->at->made[part] |= 1u << place;
    if (g + PANEL < count) swerve_attention_fetch(t, groups[g + PANEL]);
    if (part) unpack_values(t, out, groups[g], codes);
    else unpack_keys(t, out, groups[g], codes);
  }
}

void swerve_attention_score(const swerve_query_tile *t, swerve_workspace *s, size_t count, size_t ahead) {
  swerve_groups product = {
    .x = s->q,
    .x_stride = t->d * t->element,
    .groups = s->at->groups,
    .count = count,
    .ahead = count + ahead,
    .steps = t->type == SWERVE_FLOAT32 ? t->d : t->d / 2,
    .step_stride = 64,
    .acc = s->at->scores,
    .acc_stride = PARTITION,
    .rows = t->queries,
  };
  if (!t->coded) {
    multiply_keys(t, &product);
    return;
  }
  const swerve_codes *codes = swerve_codes_of(t->job->cache.type);
  if (t->queries <= FEW && t->job->kernels->score_codes) {
    t->job->kernels->score_codes(&product, codes);
    return;
  }
  product.ahead = 0;
  if (s->at->shares) {
    const char *numbers[GROUPS];
    share_numbers(t, s, 0, s->at->groups, count, numbers);
    product.groups = numbers;
    multiply_keys(t, &product);
    return;
  }
  const size_t bytes = 32 * t->d;
  const char *panel[PANEL];
  product.groups = panel;
  for (size_t first = 0; first < count; first += PANEL) {
    product.count = swerve_min(PANEL, count - first);
    for (size_t g = 0; g < product.count; g++) {
      panel[g] = s->at->panel + g * bytes;
      swerve_attention_fetch(t, s->at->groups[first + g + PANEL]);
      unpack_keys(t, s->at->panel + g * bytes, s->at->groups[first + g], codes);
    }
    product.acc = s->at->scores + first * 16;
    multiply_keys(t, &product);
  }
}

/* A group of values whose tokens from `tokens` on may never have been written, with zeros there: 0 x NaN would leak. */
static const char *cleaned(const swerve_query_tile *t, swerve_workspace *s, const char *values, size_t tokens) {
  if (t->type == SWERVE_FLOAT32) {
    memcpy(s->at->last, values, tokens * t->d * 4);
    memset(s->at->last + tokens * t->d * 4, 0, (16 - tokens) * t->d * 4);
    return s->at->last;
  }
  const size_t pairs = (tokens + 1) / 2;
  memcpy(s->at->last, values, pairs * t->d * 4);
  memset(s->at->last + pairs * t->d * 4, 0, (8 - pairs) * t->d * 4);
  if (tokens % 2 == 1) {
    uint16_t *pair = (uint16_t *)s->at->last + (tokens - 1) * t->d;
    for (size_t i = 0; i < t->d; i++) pair[i * 2 + 1] = 0;
  }
  return s->at->last;
}

void swerve_attention_weigh(const swerve_query_tile *t, swerve_workspace *s, size_t count, size_t tail, size_t ahead) {
  const char **groups = s->at->groups + count;
  swerve_groups product = {
    .x = s->at->weights,
    .x_stride = PARTITION * t->element,
    .groups = groups,
    .count = count,
    .ahead = ahead,
    .steps = t->type == SWERVE_FLOAT32 ? 16 : 8,
    .step_stride = t->d * 4,
    .acc = s->at->output,
    .acc_stride = t->padded,
    .rows = t->queries,
    .blocks = t->padded / 16,
    .copy = s->at->copy,
  };
  if (!t->coded) {
    if (tail < 16) groups[count - 1] = cleaned(t, s, groups[count - 1], tail);
    multiply_values(t, &product);
    return;
  }
  /* Every code is a number, so that one that was never written is harmless under a weight of zero. */
  const swerve_codes *codes = swerve_codes_of(t->job->cache.type);
  if (t->queries <= FEW && t->job->kernels->weigh_codes) {
    t->job->kernels->weigh_codes(&product, codes);
    return;
  }
  const size_t bytes = 32 * t->padded;
  product.step_stride = t->padded * 4;
  product.ahead = 0;
  if (s->at->shares) {
    const char *numbers[GROUPS];
    share_numbers(t, s, 1, groups, count, numbers);
    product.groups = numbers;
    multiply_values(t, &product);
    return;
  }
  const char *panel[PANEL];
  product.groups = panel;
  for (size_t first = 0; first < count; first += PANEL) {
    product.count = swerve_min(PANEL, count - first);
    for (size_t g = 0; g < product.count; g++) {
      panel[g] = s->at->panel + g * bytes;
      if (first + g + PANEL < count + ahead) swerve_attention_fetch(t, groups[first + g + PANEL]);
      unpack_values(t, s->at->panel + g * bytes, groups[first + g], codes);
    }
    product.x = s->at->weights + first * 32;
    product.accumulate = first > 0;
    multiply_values(t, &product);
  }
}
