/* Attention over block tables. A tile of up to 32 queries of one KV head meets 256 tokens of the sequence at a time:
 * all scores, their maximum, their exponentials, then the weighted values. Partitions are merged in index order with
 * a running maximum (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018), the same arithmetic
 * whether one worker does them one after another or many write partials first. */
#include "attention.h"

#include <math.h>

static char *carve(char **at, size_t bytes) {
  char *p = *at;
  *at += swerve_round_up(bytes, 64);
  return p;
}

static swerve_workspace *lay_out(void *scratch, size_t d, int type) {
  char *at = scratch;
  swerve_workspace *s = (swerve_workspace *)carve(&at, sizeof(swerve_workspace));
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

static char *query_row(const swerve_query_tile *t, size_t query, const void *base, size_t stride) {
  const size_t pair = (size_t)t->item->query_begin + query;
  const size_t row = (size_t)t->item->first_row + pair / t->group;
  const size_t head = t->kv_head * t->group + pair % t->group;
  return (char *)base + (row * stride + head * t->d) * swerve_type_bytes(t->job->type);
}

static void load_queries(const swerve_query_tile *t, swerve_workspace *s) {
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

/* Scores to powers of two, with exact zeros for what a query does not see; positions begin ..< end of groups. */
static void soften(const swerve_query_tile *t, swerve_workspace *s, size_t begin, size_t end) {
  const swerve_kernels *kernels = t->job->kernels;
  const size_t count = (end - begin) / 16;
  for (size_t i = 0; i < t->queries; i++) {
    /* Memory need not wait meanwhile: values beyond those that the keys' product has fetched. */
    if (i + AHEAD < count) swerve_attention_fetch(t, s->groups[count + AHEAD + i]);
    float *row = s->scores + i * PARTITION;
    char *weights = s->weights + i * PARTITION * t->element;
    size_t low = (size_t)s->low[i] > begin ? (size_t)s->low[i] : begin;
    size_t high = (size_t)s->high[i] < end ? (size_t)s->high[i] : end;
    if (low >= high) low = high = begin;
    const size_t n = high - low;
    low -= begin;
    high -= begin;
    /* The scale of a key goes to its score, that of a value to its weight: exact, and once a token. */
    const float top =
      t->coded ? kernels->scaled_maximum(row + low, s->key_scales + low, n) : kernels->maximum(row + low, n);
    s->maximum[i] = n ? top * t->scale : -INFINITY;
    s->sum[i] = n
      ? kernels->soften[t->type](
          weights + low * t->element, row + low, t->scale, s->maximum[i], t->coded ? s->value_scales + low : NULL, n)
      : 0;
    memset(weights, 0, low * t->element);
    memset(weights + high * t->element, 0, (end - begin - high) * t->element);
  }
}

/* Sums and outputs of one more partition, `m`, `l` and o [queries, stride], into the running ones. */
static void merge(
  const swerve_query_tile *t, swerve_workspace *s, const float *m, const float *l, const float *o, size_t stride
) {
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

static void start_running(const swerve_query_tile *t, swerve_workspace *s) {
  for (size_t i = 0; i < t->queries; i++) {
    s->running_maximum[i] = -INFINITY;
    s->running_sum[i] = 0;
  }
  memset(s->running, 0, t->queries * t->padded * sizeof(float));
}

/* Where the running values of a tile's query wait for the next pass. */
static float *state_address(const swerve_query_tile *t, size_t query) {
  const size_t record = (size_t)t->item->state + t->kv_head * t->queries + query;
  return t->job->states + record * swerve_partial_floats(t->d);
}

/* A pass goes on where the one before it stopped: the same arithmetic as in one pass, with a stop between. */
static void load_running(const swerve_query_tile *t, swerve_workspace *s) {
  for (size_t i = 0; i < t->queries; i++) {
    const float *record = state_address(t, i);
    s->running_maximum[i] = record[0];
    s->running_sum[i] = record[1];
    memcpy(s->running + i * t->padded, record + 16, t->d * sizeof(float));
  }
}

static void save_running(const swerve_query_tile *t, const swerve_workspace *s) {
  for (size_t i = 0; i < t->queries; i++) {
    float *record = state_address(t, i);
    record[0] = s->running_maximum[i];
    record[1] = s->running_sum[i];
    memcpy(record + 16, s->running + i * t->padded, t->d * sizeof(float));
  }
}

static void store_outputs(const swerve_query_tile *t, swerve_workspace *s) {
  const swerve_attention_job *j = t->job;
  for (size_t i = 0; i < t->queries; i++) {
    float *o = s->running + i * t->padded;
    j->kernels->scale(o, 1.0f / s->running_sum[i], t->d);
    j->kernels->narrow[j->type](query_row(t, i, j->o, j->o_stride), o, t->d);
  }
}

static float *partial_address(const swerve_query_tile *t, size_t partition, size_t query) {
  const swerve_attention_item *item = t->item;
  const size_t place = t->kv_head * (size_t)item->tile_partitions + partition - (size_t)item->tile_partition_begin;
  return t->job->partials + ((size_t)item->partial + place * t->queries + query) * swerve_partial_floats(t->d);
}

static void attend_partition(const swerve_query_tile *t, swerve_workspace *s, size_t partition) {
  const size_t base = partition * PARTITION;
  size_t low = (size_t)s->low[0];
  const size_t last = (size_t)s->high[t->queries - 1];
  if (low < base) low = base;
  /* Whole pairs of groups from the partition's start, so that which 32 tokens a matrix unit sums at once does not
   * depend on the other queries. */
  const size_t begin = low / 32 * 32, end = swerve_min(last, base + PARTITION);
  const size_t rounded = swerve_round_up(end, 16), count = (rounded - begin) / 16;
  const bool more = partition + 1 < (size_t)t->item->partition_end;
  const size_t ahead = swerve_attention_find(t, s, begin, count, more ? last : 0);
  swerve_attention_score(t, s, count, ahead);
  soften(t, s, begin, rounded);
  swerve_attention_weigh(t, s, count, 16 - (rounded - end), ahead);
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

static swerve_query_tile context_of(const swerve_attention_job *j, size_t unit) {
  const swerve_attention_item *item = j->items + unit / j->cache.kv_heads;
  const swerve_kv_layer *c = &j->cache;
  const size_t d = c->head_dim, head = unit % c->kv_heads;
  const bool coded = c->type >= SWERVE_KV_INT8;
  const int type = swerve_kv_compute_type(c->type);
  const size_t stored = coded ? 1 : swerve_type_bytes(type), head_bytes = c->block_tokens * d * stored;
  const size_t key_offset = head * (coded ? 2 * head_bytes + 4 * c->block_tokens : head_bytes);
  return (swerve_query_tile){
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
    .key_offset = key_offset,
    .value_offset = coded ? key_offset + head_bytes : (c->kv_heads + head) * head_bytes,
    .head_bytes = head_bytes,
    .coded = coded,
    .scale = j->scale * 1.44269504f,
  };
}

void swerve_attention_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_attention_job *j = job;
  swerve_workspace *s = lay_out(scratch, j->cache.head_dim, swerve_kv_compute_type(j->cache.type));
  for (size_t unit = begin; unit < end; unit++) {
    const swerve_query_tile t = context_of(j, unit);
    load_queries(&t, s);
    const bool resumes = t.item->state >= 0 && !t.item->is_first, pauses = t.item->state >= 0 && !t.item->is_last;
    if (resumes) load_running(&t, s);
    else start_running(&t, s);
    for (int32_t p = t.item->partition_begin; p < t.item->partition_end; p++) attend_partition(&t, s, (size_t)p);
    if (pauses) save_running(&t, s);
    else if (t.item->partial < 0) store_outputs(&t, s);
  }
}

void swerve_attention_merge_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_attention_job *j = job;
  swerve_workspace *s = lay_out(scratch, j->cache.head_dim, swerve_kv_compute_type(j->cache.type));
  for (size_t unit = begin; unit < end; unit++) {
    const swerve_query_tile t = context_of(j, unit);
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
