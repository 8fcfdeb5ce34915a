/* Attention over block tables. A tile of up to 32 queries of one KV head meets 256 tokens of the sequence at a time:
 * all scores, their maximum, their exponentials, then the weighted values. Partitions are merged in index order with
 * a running maximum (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018), the same arithmetic
 * whether one worker does them one after another or many write partials first. */
#include "../inner.h"

#include <math.h>

enum { TILE = SWERVE_QUERY_TILE, PARTITION = SWERVE_PARTITION_TOKENS, GROUPS = PARTITION / 16 };
/* Groups of eight-bit codes that are made numbers at once, and groups fetched beyond the partition. */
enum { PANEL = 4, AHEAD = 4 };
/* Rows whose codes become numbers on their way into the products. */
enum { FEW = 8 };

/* One worker's buffers, carved out of its scratch. d is head_dim, D head_dim rounded up to 16, C the type that attention
 * computes in. */
typedef struct {
  char *q;        /* C [TILE, d] */
  float *scores;  /* [TILE, PARTITION] */
  char *weights;  /* C [TILE, PARTITION]: 2^scores */
  float *output;  /* [TILE, D] of one partition */
  float *running; /* [TILE, D] */
  char *last;     /* the last, incomplete group of values, made clean */
  char *panel;    /* PANEL groups of numbers made of codes */
  char *copy;     /* of swerve_groups */
  const char *groups[2 * GROUPS + AHEAD]; /* keys, values, keys of the next partition */
  float key_scales[PARTITION], value_scales[PARTITION];
  float maximum[TILE], sum[TILE]; /* of one partition; maxima are of scores times log2 e */
  float running_maximum[TILE], running_sum[TILE];
  int32_t low[TILE], high[TILE];  /* visible positions of each query */
} workspace;

/* A tile and what follows from its job. */
typedef struct {
  const swerve_attention_job *job;
  const swerve_attention_item *item;
  size_t kv_head, group, queries, d, padded;
  int type;           /* C */
  size_t element;     /* bytes of C */
  size_t group_bytes; /* of 16 tokens' keys or values as the cache has them */
  size_t key_offset, value_offset, head_bytes; /* of this head in a block; bytes of B tokens' keys */
  bool coded;
  float scale;        /* of scores, times log2 e */
} tile_context;

static char *carve(char **at, size_t bytes) {
  char *p = *at;
  *at += swerve_round_up(bytes, 64);
  return p;
}

static workspace *lay_out(void *scratch, size_t d, int type) {
  char *at = scratch;
  workspace *s = (workspace *)carve(&at, sizeof(workspace));
  const size_t padded = swerve_round_up(d, 16), element = swerve_type_bytes(type);
  s->q = carve(&at, TILE * d * element);
  s->scores = (float *)carve(&at, TILE * PARTITION * sizeof(float));
  s->weights = carve(&at, TILE * PARTITION * element);
  s->output = (float *)carve(&at, TILE * padded * sizeof(float));
  s->running = (float *)carve(&at, TILE * padded * sizeof(float));
  s->last = carve(&at, 16 * d * element + 64);
  s->panel = carve(&at, PANEL * 16 * padded * element + 64);
  s->copy = carve(&at, 2 * 16 * padded * element + 64);
  return s;
}

static char *query_row(const tile_context *t, size_t query, const void *base, size_t stride) {
  const size_t pair = (size_t)t->item->query_begin + query;
  const size_t row = (size_t)t->item->first_row + pair / t->group;
  const size_t head = t->kv_head * t->group + pair % t->group;
  return (char *)base + (row * stride + head * t->d) * swerve_type_bytes(t->job->type);
}

static void load_queries(const tile_context *t, workspace *s) {
  const swerve_attention_job *j = t->job;
  const size_t bytes = t->d * t->element;
  for (size_t i = 0; i < t->queries; i++) {
    const char *q = query_row(t, i, j->q, j->q_stride);
    if (j->type == t->type) {
      memcpy(s->q + i * bytes, q, bytes);
    } else {
      j->kernels->widen[j->type](s->running, q, t->d);
      j->kernels->narrow[t->type](s->q + i * bytes, s->running, t->d);
    }
    const int32_t position =
      t->item->context_tokens + (int32_t)(((size_t)t->item->query_begin + i) / t->group);
    s->high[i] = position + 1;
    s->low[i] = j->window > 0 && position + 1 > j->window ? position + 1 - j->window : 0;
  }
}

static const char *block_address(const tile_context *t, size_t position) {
  const swerve_kv_layer *c = &t->job->cache;
  const int32_t block = t->job->blocks[(size_t)t->item->first_block + position / c->block_tokens];
  return (const char *)c->base + (size_t)block * c->block_bytes;
}

static inline void fetch(const char *line) { __builtin_prefetch(line, 0, 3); }

/* Addresses of the groups of positions begin ..< end, both of 16 tokens, and those of the next keys, up to `next_end`,
 * that are worth fetching. Returns the number of the latter. */
static size_t find_groups(const tile_context *t, workspace *s, size_t begin, size_t end, size_t next_end) {
  const size_t tokens = t->job->cache.block_tokens, count = (end - begin) / 16;
  for (size_t g = 0; g < count; g++) {
    const size_t position = begin + g * 16, within = position % tokens / 16;
    const char *block = block_address(t, position);
    s->groups[g] = block + t->key_offset + within * t->group_bytes;
    s->groups[count + g] = block + t->value_offset + within * t->group_bytes;
  }
  size_t ahead = 0;
  for (size_t position = end; position < next_end && ahead < AHEAD; position += 16, ahead++)
    s->groups[2 * count + ahead] =
      block_address(t, position) + t->key_offset + position % tokens / 16 * t->group_bytes;
  /* A list that ends fetches its own last group again, which costs nothing. */
  if (ahead == 0) s->groups[2 * count] = s->groups[2 * count - 1];
  return ahead > 0 ? ahead : 1;
}

/* The scales of `count` groups from `begin` on as f32; those up to `next_end`, of the next partition, are fetched. */
static void load_scales(const tile_context *t, workspace *s, size_t begin, size_t count, size_t next_end) {
  const size_t tokens = t->job->cache.block_tokens;
  for (size_t g = 0; g < count; g++) {
    const size_t position = begin + g * 16;
    const char *scales = block_address(t, position) + t->key_offset + 2 * t->head_bytes + position % tokens * 2;
    t->job->kernels->widen[SWERVE_BFLOAT16](s->key_scales + g * 16, scales, 16);
    t->job->kernels->widen[SWERVE_BFLOAT16](s->value_scales + g * 16, scales + tokens * 2, 16);
  }
  const size_t end = begin + count * 16;
  for (size_t position = end; position < swerve_min(next_end, end + PARTITION); position += 16)
    fetch(block_address(t, position) + t->key_offset + 2 * t->head_bytes + position % tokens * 2);
}

static void fetch_group(const tile_context *t, const char *group) {
  for (size_t i = 0; i < t->group_bytes; i += 64) fetch(group + i);
}

static void multiply_keys(const tile_context *t, const swerve_groups *product) {
  const swerve_kernels *kernels = t->job->kernels;
  if (kernels->score[t->type]) kernels->score[t->type](product);
  else swerve_groups_score(kernels->multiply[t->type], product);
}

static void multiply_values(const tile_context *t, const swerve_groups *product) {
  const swerve_kernels *kernels = t->job->kernels;
  if (kernels->weigh[t->type]) kernels->weigh[t->type](product);
  else swerve_groups_weigh(kernels->multiply[t->type], product);
}

/* scores[query, token] over `count` groups. */
static void score(const tile_context *t, workspace *s, size_t count, size_t ahead) {
  swerve_groups product = {
    .x = s->q,
    .x_stride = t->d * t->element,
    .groups = s->groups,
    .count = count,
    .ahead = count + ahead,
    .steps = t->type == SWERVE_FLOAT32 ? t->d : t->d / 2,
    .step_stride = 64,
    .acc = s->scores,
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
  const size_t bytes = 32 * t->d;
  const char *panel[PANEL];
  product.groups = panel;
  product.ahead = 0;
  for (size_t first = 0; first < count; first += PANEL) {
    product.count = swerve_min(PANEL, count - first);
    for (size_t g = 0; g < product.count; g++) {
      panel[g] = s->panel + g * bytes;
      fetch_group(t, s->groups[first + g + PANEL]);
      t->job->kernels->unpack(
        s->panel + g * bytes, s->panel + g * bytes + 64, 128, (const uint8_t *)s->groups[first + g], t->d / 4, codes);
    }
    product.acc = s->scores + first * 16;
    multiply_keys(t, &product);
  }
}

/* Scores to powers of two, with exact zeros for what a query does not see; positions begin ..< end of groups. */
static void soften(const tile_context *t, workspace *s, size_t begin, size_t end) {
  const swerve_kernels *kernels = t->job->kernels;
  const size_t count = (end - begin) / 16;
  for (size_t i = 0; i < t->queries; i++) {
    /* Memory need not wait meanwhile: values beyond those that the keys' product has fetched. */
    if (i + AHEAD < count) fetch_group(t, s->groups[count + AHEAD + i]);
    float *row = s->scores + i * PARTITION;
    char *weights = s->weights + i * PARTITION * t->element;
    size_t low = (size_t)s->low[i] > begin ? (size_t)s->low[i] : begin;
    size_t high = (size_t)s->high[i] < end ? (size_t)s->high[i] : end;
    if (low >= high) low = high = begin;
    const size_t n = high - low;
    low -= begin;
    high -= begin;
    /* The scale of a key goes to its score, that of a value to its weight: exact, and once a token. */
    const float top = t->coded ? kernels->scaled_maximum(row + low, s->key_scales + low, n) : kernels->maximum(row + low, n);
    s->maximum[i] = n ? top * t->scale : -INFINITY;
    s->sum[i] = n
      ? kernels->soften[t->type](
          weights + low * t->element, row + low, t->scale, s->maximum[i], t->coded ? s->value_scales + low : NULL, n)
      : 0;
    memset(weights, 0, low * t->element);
    memset(weights + high * t->element, 0, (end - begin - high) * t->element);
  }
}

/* A group of values whose tokens from `tokens` on may never have been written, with zeros there: 0 x NaN would leak. */
static const char *cleaned(const tile_context *t, workspace *s, const char *values, size_t tokens) {
  if (t->type == SWERVE_FLOAT32) {
    memcpy(s->last, values, tokens * t->d * 4);
    memset(s->last + tokens * t->d * 4, 0, (16 - tokens) * t->d * 4);
    return s->last;
  }
  const size_t pairs = (tokens + 1) / 2;
  memcpy(s->last, values, pairs * t->d * 4);
  memset(s->last + pairs * t->d * 4, 0, (8 - pairs) * t->d * 4);
  if (tokens % 2 == 1) {
    uint16_t *pair = (uint16_t *)s->last + (tokens - 1) * t->d;
    for (size_t i = 0; i < t->d; i++) pair[i * 2 + 1] = 0;
  }
  return s->last;
}

/* output[query, d] = sum of weights x values over `count` groups, the last of `tail` tokens. */
static void weigh(const tile_context *t, workspace *s, size_t count, size_t tail, size_t ahead) {
  const char **groups = s->groups + count;
  swerve_groups product = {
    .x = s->weights,
    .x_stride = PARTITION * t->element,
    .groups = groups,
    .count = count,
    .ahead = ahead,
    .steps = t->type == SWERVE_FLOAT32 ? 16 : 8,
    .step_stride = t->d * 4,
    .acc = s->output,
    .acc_stride = t->padded,
    .rows = t->queries,
    .blocks = t->padded / 16,
    .copy = s->copy,
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
  const size_t bytes = 32 * t->padded, row = t->padded * 4;
  const char *panel[PANEL];
  product.groups = panel;
  product.step_stride = row;
  product.ahead = 0;
  for (size_t first = 0; first < count; first += PANEL) {
    product.count = swerve_min(PANEL, count - first);
    for (size_t g = 0; g < product.count; g++) {
      panel[g] = s->panel + g * bytes;
      if (first + g + PANEL < count + ahead) fetch_group(t, groups[first + g + PANEL]);
      const uint8_t *cells = (const uint8_t *)groups[first + g];
      char *pairs = s->panel + g * bytes;
      for (size_t quad = 0; quad < 4; quad++, cells += 4 * t->d, pairs += 2 * row)
        t->job->kernels->unpack(pairs, pairs + row, 64, cells, t->padded / 16, codes);
    }
    product.x = s->weights + first * 32;
    product.accumulate = first > 0;
    multiply_values(t, &product);
  }
}

/* Sums and outputs of one more partition, `m`, `l` and o [queries, stride], into the running ones. */
static void merge(const tile_context *t, workspace *s, const float *m, const float *l, const float *o, size_t stride) {
  const swerve_kernels *kernels = t->job->kernels;
  float old[TILE], new[TILE], top[TILE];
  for (size_t i = 0; i < t->queries; i++) {
    top[i] = m[i] > s->running_maximum[i] ? m[i] : s->running_maximum[i];
    old[i] = s->running_maximum[i] - top[i];
    new[i] = m[i] - top[i];
  }
  kernels->exp2(old, t->queries);
  kernels->exp2(new, t->queries);
  for (size_t i = 0; i < t->queries; i++) {
    /* Nothing of the partition was visible. */
    if (m[i] == -INFINITY && l[i] == 0) continue;
    kernels->blend(s->running + i * t->padded, old[i], o + i * stride, new[i], t->d);
    s->running_sum[i] = s->running_sum[i] * old[i] + l[i] * new[i];
    s->running_maximum[i] = top[i];
  }
}

static void start_running(const tile_context *t, workspace *s) {
  for (size_t i = 0; i < t->queries; i++) {
    s->running_maximum[i] = -INFINITY;
    s->running_sum[i] = 0;
  }
  memset(s->running, 0, t->queries * t->padded * sizeof(float));
}

static void store_outputs(const tile_context *t, workspace *s) {
  const swerve_attention_job *j = t->job;
  for (size_t i = 0; i < t->queries; i++) {
    float *o = s->running + i * t->padded;
    j->kernels->scale(o, 1.0f / s->running_sum[i], t->d);
    j->kernels->narrow[j->type](query_row(t, i, j->o, j->o_stride), o, t->d);
  }
}

static float *partial_address(const tile_context *t, size_t partition, size_t query) {
  const swerve_attention_item *item = t->item;
  const size_t place = t->kv_head * (size_t)item->tile_partitions + partition - (size_t)item->tile_partition_begin;
  return t->job->partials + ((size_t)item->partial + place * t->queries + query) * swerve_partial_floats(t->d);
}

static void attend_partition(const tile_context *t, workspace *s, size_t partition) {
  const size_t base = partition * PARTITION;
  size_t low = (size_t)s->low[0];
  const size_t last = (size_t)s->high[t->queries - 1];
  if (low < base) low = base;
  /* Whole pairs of groups from the partition's start, so that which 32 tokens a matrix unit sums at once does not depend
   * on the other queries. */
  const size_t begin = low / 32 * 32, end = swerve_min(last, base + PARTITION);
  const size_t rounded = swerve_round_up(end, 16), count = (rounded - begin) / 16;
  const bool more = partition + 1 < (size_t)t->item->partition_end;
  const size_t ahead = find_groups(t, s, begin, rounded, more ? last : 0);
  if (t->coded) load_scales(t, s, begin, count, more ? last : 0);
  score(t, s, count, ahead);
  soften(t, s, begin, rounded);
  weigh(t, s, count, 16 - (rounded - end), ahead);
  if (t->item->partial < 0) {
    merge(t, s, s->maximum, s->sum, s->output, t->padded);
    return;
  }
  for (size_t i = 0; i < t->queries; i++) {
    float *record = partial_address(t, partition, i);
    record[0] = s->maximum[i];
    record[1] = s->sum[i];
    memcpy(record + 16, s->output + i * t->padded, t->d * sizeof(float));
  }
}

static tile_context context_of(const swerve_attention_job *j, size_t unit) {
  const swerve_attention_item *item = j->items + unit / j->cache.kv_heads;
  const swerve_kv_layer *c = &j->cache;
  const size_t d = c->head_dim, head = unit % c->kv_heads;
  const bool coded = c->type >= SWERVE_INT8;
  const int type = swerve_kv_compute_type(c->type);
  const size_t stored = coded ? 1 : swerve_type_bytes(type), head_bytes = c->block_tokens * d * stored;
  return (tile_context){
    .job = j,
    .item = item,
    .kv_head = head,
    .group = j->query_heads / c->kv_heads,
    .queries = (size_t)(item->query_end - item->query_begin),
    .d = d,
    .padded = swerve_round_up(d, 16),
    .type = type,
    .element = swerve_type_bytes(type),
    .group_bytes = 16 * d * stored,
    .key_offset = coded ? head * (2 * head_bytes + 4 * c->block_tokens) : head * head_bytes,
    .value_offset = coded ? head * (2 * head_bytes + 4 * c->block_tokens) + head_bytes : (c->kv_heads + head) * head_bytes,
    .head_bytes = head_bytes,
    .coded = coded,
    .scale = j->scale * 1.44269504f,
  };
}

void swerve_attention_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_attention_job *j = job;
  workspace *s = lay_out(scratch, j->cache.head_dim, swerve_kv_compute_type(j->cache.type));
  for (size_t unit = begin; unit < end; unit++) {
    const tile_context t = context_of(j, unit);
    load_queries(&t, s);
    start_running(&t, s);
    for (int32_t p = t.item->partition_begin; p < t.item->partition_end; p++) attend_partition(&t, s, (size_t)p);
    if (t.item->partial < 0) store_outputs(&t, s);
  }
}

void swerve_attention_merge_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_attention_job *j = job;
  workspace *s = lay_out(scratch, j->cache.head_dim, swerve_kv_compute_type(j->cache.type));
  for (size_t unit = begin; unit < end; unit++) {
    const tile_context t = context_of(j, unit);
    start_running(&t, s);
    for (int32_t p = t.item->partition_begin; p < t.item->partition_end; p++) {
      const float *records = partial_address(&t, (size_t)p, 0);
      const size_t stride = swerve_partial_floats(t.d);
      for (size_t i = 0; i < t.queries; i++) {
        s->maximum[i] = records[i * stride];
        s->sum[i] = records[i * stride + 1];
      }
      merge(&t, s, s->maximum, s->sum, records + 16, stride);
    }
    store_outputs(&t, s);
  }
}
