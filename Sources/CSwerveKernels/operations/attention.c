/* Attention over block tables. A tile of up to 32 queries of one KV head meets 256 tokens of the sequence at a time:
 * all scores, their maximum, their exponentials, then the weighted values. Partitions are merged in index order with
 * a running maximum (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018), the same arithmetic
 * whether one worker does them one after another or many write partials first. */
#include "../inner.h"

#include <math.h>

enum { TILE = SWERVE_QUERY_TILE, PARTITION = SWERVE_PARTITION_TOKENS };

/* One worker's buffers, carved out of its scratch. d is head_dim, D head_dim rounded up to 16. */
typedef struct {
  char *q;        /* A [TILE, d] */
  float *scores;  /* [TILE, PARTITION], then their exponentials */
  char *weights;  /* A [TILE, PARTITION]; f32: the scores themselves */
  float *output;  /* [TILE, D] of one partition */
  float *running; /* [TILE, D] */
  char *values;   /* the last, incomplete group of tokens, made clean */
  float maximum[TILE], sum[TILE];         /* of one partition */
  float running_maximum[TILE], running_sum[TILE];
  int32_t low[TILE], high[TILE];          /* visible positions of each query */
} workspace;

typedef struct {
  const swerve_attention_job *job;
  const swerve_attention_item *item;
  size_t kv_head, group, queries, d, padded;
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
  s->weights = type == SWERVE_FLOAT32 ? (char *)s->scores : carve(&at, TILE * PARTITION * element);
  s->output = (float *)carve(&at, TILE * padded * sizeof(float));
  s->running = (float *)carve(&at, TILE * padded * sizeof(float));
  s->values = carve(&at, 32 * d * element + 64);
  return s;
}

static char *query_row(const tile_context *t, size_t query, const void *base, size_t stride) {
  const size_t pair = (size_t)t->item->query_begin + query;
  const size_t row = (size_t)t->item->first_row + pair / t->group;
  const size_t head = t->kv_head * t->group + pair % t->group;
  return (char *)base + (row * stride + head * t->d) * swerve_type_bytes(t->job->cache.type);
}

static void load_queries(const tile_context *t, workspace *s) {
  const swerve_attention_job *j = t->job;
  const size_t bytes = t->d * swerve_type_bytes(j->cache.type);
  for (size_t i = 0; i < t->queries; i++) {
    memcpy(s->q + i * bytes, query_row(t, i, j->q, j->q_stride), bytes);
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

/* scores[query, position - base] for positions begin ..< end, in groups of 16 tokens. */
static void score(const tile_context *t, workspace *s, size_t base, size_t begin, size_t end) {
  const swerve_kv_layer *c = &t->job->cache;
  const size_t element = swerve_type_bytes(c->type);
  const size_t head_bytes = c->block_tokens * t->d * element, group_bytes = 16 * t->d * element;
  size_t position = begin / 16 * 16;
  while (position < end) {
    const size_t within = position % c->block_tokens;
    const size_t last = swerve_min(end, position - within + c->block_tokens);
    const swerve_tile tile = {
      .x = s->q,
      .x_stride = t->d * element,
      .w = block_address(t, position) + t->kv_head * head_bytes + within / 16 * group_bytes,
      .block_stride = group_bytes,
      .step_stride = 64,
      .steps = c->type == SWERVE_FLOAT32 ? t->d : t->d / 2,
      .acc = s->scores + (position - base),
      .acc_stride = PARTITION,
      .rows = t->queries,
      .blocks = (last - position + 15) / 16,
    };
    t->job->kernels->multiply[c->type](&tile);
    position = last;
  }
}

/* Scores to exponentials, with exact zeros for what a query does not see; positions begin ..< end of the partition,
 * `end` rounded up to a pair. */
static void soften(const tile_context *t, workspace *s, size_t base, size_t begin, size_t end) {
  const swerve_kernels *kernels = t->job->kernels;
  const int type = t->job->cache.type;
  const size_t padded_end = swerve_min(swerve_round_up(end, 2), base + PARTITION);
  for (size_t i = 0; i < t->queries; i++) {
    float *row = s->scores + i * PARTITION;
    size_t low = (size_t)s->low[i] > begin ? (size_t)s->low[i] : begin;
    size_t high = (size_t)s->high[i] < end ? (size_t)s->high[i] : end;
    if (low >= high) low = high = begin;
    const size_t n = high - low;
    s->maximum[i] = n ? kernels->maximum(row + (low - base), n) * t->job->scale : -INFINITY;
    s->sum[i] = n ? kernels->exp_sum(row + (low - base), row + (low - base), t->job->scale, s->maximum[i], n) : 0;
    memset(row + (begin - base), 0, (low - begin) * sizeof(float));
    memset(row + (high - base), 0, (padded_end - high) * sizeof(float));
    if (type != SWERVE_FLOAT32)
      kernels->narrow[type](
        s->weights + (i * PARTITION + (begin - base)) * 2, row + (begin - base), padded_end - begin);
  }
}

static void weigh_piece(
  const tile_context *t, workspace *s, const char *values, size_t offset, size_t tokens, bool accumulate
) {
  const int type = t->job->cache.type;
  const size_t element = swerve_type_bytes(type);
  const swerve_tile tile = {
    .x = s->weights + offset * element,
    .x_stride = PARTITION * element,
    .w = values,
    .block_stride = 64,
    .step_stride = t->d * 4,
    .steps = type == SWERVE_FLOAT32 ? tokens : (tokens + 1) / 2,
    .acc = s->output,
    .acc_stride = t->padded,
    .rows = t->queries,
    .blocks = t->padded / 16,
    .accumulate = accumulate,
  };
  t->job->kernels->multiply[type](&tile);
}

/* output[query, d] = sum of weights x values over begin ..< end; begin is the first token of a block or partition. */
static void weigh(const tile_context *t, workspace *s, size_t base, size_t begin, size_t end) {
  const swerve_kv_layer *c = &t->job->cache;
  const size_t element = swerve_type_bytes(c->type);
  const size_t head_bytes = c->block_tokens * t->d * element;
  bool accumulate = false;
  size_t position = begin;
  while (position < end) {
    const size_t within = position % c->block_tokens;
    const size_t last = swerve_min(end, position - within + c->block_tokens);
    const char *values = block_address(t, position) + (c->kv_heads + t->kv_head) * head_bytes;
    size_t n = last - position;
    /* The partner of an odd last token may never have been written: 0 x NaN would leak. Its group of 32 is copied with
     * zeros there. The group, not the pair, because a matrix unit sums 32 tokens at once. */
    const size_t odd = c->type != SWERVE_FLOAT32 && n % 2 == 1 ? (n - 1) % 32 + 1 : 0;
    n -= odd;
    if (n) {
      weigh_piece(t, s, values + within * t->d * element, position - base, n, accumulate);
      accumulate = true;
    }
    if (odd) {
      const size_t bytes = (odd + 1) * t->d * 2;
      memcpy(s->values, values + (within + n) * t->d * 2, bytes);
      uint16_t *pairs = (uint16_t *)s->values + (odd - 1) * t->d;
      for (size_t i = 0; i < t->d; i++) pairs[i * 2 + 1] = 0;
      weigh_piece(t, s, s->values, position + n - base, odd, accumulate);
      accumulate = true;
    }
    position = last;
  }
}

/* One more partition into the running maximum, sum and output of a query. */
static void merge(
  const swerve_kernels *kernels, float *maximum, float *sum, float *output, float m, float l, const float *o, size_t d
) {
  if (m == -INFINITY && l == 0) return;
  const float top = m > *maximum ? m : *maximum;
  const float a = kernels->exp(*maximum - top), b = kernels->exp(m - top);
  kernels->blend(output, a, o, b, d);
  *sum = *sum * a + l * b;
  *maximum = top;
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
    j->kernels->narrow[j->cache.type](query_row(t, i, j->o, j->o_stride), o, t->d);
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
  const size_t end = swerve_min(last, base + PARTITION);
  /* Values are summed from the start of a block, so that groups of 32 tokens do not depend on the other queries. */
  const size_t block = low / t->job->cache.block_tokens * t->job->cache.block_tokens;
  const size_t begin = block > base ? block : base;
  score(t, s, base, begin, end);
  soften(t, s, base, begin, end);
  weigh(t, s, base, begin, end);
  for (size_t i = 0; i < t->queries; i++) {
    const float *output = s->output + i * t->padded;
    if (t->item->partial < 0) {
      merge(
        t->job->kernels, s->running_maximum + i, s->running_sum + i, s->running + i * t->padded, s->maximum[i],
        s->sum[i], output, t->d);
    } else {
      float *record = partial_address(t, partition, i);
      record[0] = s->maximum[i];
      record[1] = s->sum[i];
      memcpy(record + 16, output, t->d * sizeof(float));
    }
  }
}

static tile_context context_of(const swerve_attention_job *j, size_t unit) {
  const swerve_attention_item *item = j->items + unit / j->cache.kv_heads;
  return (tile_context){
    .job = j,
    .item = item,
    .kv_head = unit % j->cache.kv_heads,
    .group = j->query_heads / j->cache.kv_heads,
    .queries = (size_t)(item->query_end - item->query_begin),
    .d = j->cache.head_dim,
    .padded = swerve_round_up(j->cache.head_dim, 16),
  };
}

void swerve_attention_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_attention_job *j = job;
  workspace *s = lay_out(scratch, j->cache.head_dim, j->cache.type);
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
  workspace *s = lay_out(scratch, j->cache.head_dim, j->cache.type);
  for (size_t unit = begin; unit < end; unit++) {
    const tile_context t = context_of(j, unit);
    start_running(&t, s);
    for (int32_t p = t.item->partition_begin; p < t.item->partition_end; p++)
      for (size_t i = 0; i < t.queries; i++) {
        const float *record = partial_address(&t, (size_t)p, i);
        merge(
          j->kernels, s->running_maximum + i, s->running_sum + i, s->running + i * t.padded, record[0], record[1],
          record + 16, t.d);
      }
    store_outputs(&t, s);
  }
}
