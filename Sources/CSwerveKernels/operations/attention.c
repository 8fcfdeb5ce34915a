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

/* Carves a worker's scratch into what one partition needs and as many tiles' own state as fit. */
static size_t lay_out(swerve_workspace *tiles, swerve_partition *at, void *scratch, const swerve_kv_layer *cache) {
  char *place = scratch;
  const char *end = place + SWERVE_SCRATCH_BYTES;
  const size_t d = cache->head_dim, padded = swerve_round_up(d, 16);
  const size_t element = swerve_type_bytes(swerve_kv_compute_type(cache->type));
  const bool coded = cache->type >= SWERVE_KV_INT8;
  at->scores = (float *)carve(&place, TILE * PARTITION * sizeof(float));
  at->weights = carve(&place, TILE * PARTITION * element);
  at->output = (float *)carve(&place, TILE * padded * sizeof(float));
  at->last = carve(&place, 16 * d * element + 64);
  at->panel = carve(&place, PANEL * 16 * padded * element + 64);
  at->copy = carve(&place, 2 * 16 * padded * element + 64);
  const size_t own = swerve_round_up(TILE * d * element, 64) + TILE * padded * sizeof(float);
  const size_t numbers = coded ? swerve_round_up(PARTITION * padded * element + 64, 64) : 0;
  /* Heads too wide for the numbers of a partition are met by one tile at a time. */
  const size_t most = (size_t)(end - place) >= 2 * numbers + 2 * own ? TILES : 1;
  at->keys = carve(&place, most > 1 ? numbers : 0);
  at->values = carve(&place, most > 1 ? numbers : 0);
  size_t count = 0;
  while (count < most && (count == 0 || place + own <= end)) {
    swerve_workspace *tile = tiles + count++;
    tile->at = at;
    tile->q = carve(&place, TILE * d * element);
    tile->running = (float *)carve(&place, TILE * padded * sizeof(float));
  }
  return count;
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
    if (i + AHEAD < count) swerve_attention_fetch(t, s->at->groups[count + AHEAD + i]);
    float *row = s->at->scores + i * PARTITION;
    char *weights = s->at->weights + i * PARTITION * t->element;
    size_t low = (size_t)s->low[i] > begin ? (size_t)s->low[i] : begin;
    size_t high = (size_t)s->high[i] < end ? (size_t)s->high[i] : end;
    if (low >= high) low = high = begin;
    const size_t n = high - low;
    low -= begin;
    high -= begin;
    /* The scale of a key goes to its score, that of a value to its weight: exact, and once a token. */
    const float top =
      t->coded ? kernels->scaled_maximum(row + low, s->at->key_scales + low, n) : kernels->maximum(row + low, n);
    s->at->maximum[i] = n ? top * t->scale : -INFINITY;
    s->at->sum[i] = n
      ? kernels->soften[t->type](
          weights + low * t->element, row + low, t->scale, s->at->maximum[i], t->coded ? s->at->value_scales + low : NULL, n)
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

/* `leads`: what comes next is another partition, not another tile's turn at this one. */
static void attend_partition(const swerve_query_tile *t, swerve_workspace *s, size_t partition, bool leads) {
  const size_t base = partition * PARTITION;
  size_t low = (size_t)s->low[0];
  const size_t last = (size_t)s->high[t->queries - 1];
  if (low < base) low = base;
  /* Whole pairs of groups from the partition's start, so that which 32 tokens a matrix unit sums at once does not
   * depend on the other queries. */
  const size_t begin = low / 32 * 32, end = swerve_min(last, base + PARTITION);
  const size_t rounded = swerve_round_up(end, 16), count = (rounded - begin) / 16;
  const bool more = leads && partition + 1 < (size_t)t->item->partition_end;
  s->at->first_group = (begin - base) / 16;
  const size_t ahead = swerve_attention_find(t, s, begin, count, more ? last : 0);
  swerve_attention_score(t, s, count, ahead);
  soften(t, s, begin, rounded);
  swerve_attention_weigh(t, s, count, 16 - (rounded - end), ahead);
  if (t->item->partial < 0) {
    merge(t, s, s->at->maximum, s->at->sum, s->at->output, t->padded);
    return;
  }
  for (size_t i = 0; i < t->queries; i++) {
    float *record = partial_address(t, partition, i);
    record[0] = s->at->maximum[i];
    record[1] = s->at->sum[i];
    memcpy(record + 16, s->at->output + i * t->padded, t->d * sizeof(float));
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

/* Tiles of one sequence and KV head meet a partition one after the other, while its keys and values are near. */
static void attend_tiles(const swerve_attention_job *j, size_t head, size_t first, size_t count, swerve_workspace *s) {
  swerve_query_tile tiles[TILES];
  int32_t begin = INT32_MAX, end = 0;
  for (size_t i = 0; i < count; i++) {
    swerve_query_tile *t = tiles + i;
    *t = context_of(j, (first + i) * j->cache.kv_heads + head);
    load_queries(t, s + i);
    if (t->item->state >= 0 && !t->item->is_first) load_running(t, s + i);
    else start_running(t, s + i);
    if (t->item->partition_begin < begin) begin = t->item->partition_begin;
    if (t->item->partition_end > end) end = t->item->partition_end;
  }
  s->at->shares = count > 1;
  for (int32_t p = begin; p < end; p++) {
    s->at->made[0] = s->at->made[1] = 0;
    for (size_t i = 0; i < count; i++) {
      const swerve_attention_item *item = tiles[i].item;
      if (p >= item->partition_begin && p < item->partition_end)
        attend_partition(tiles + i, s + i, (size_t)p, i + 1 == count);
    }
  }
  for (size_t i = 0; i < count; i++) {
    const swerve_attention_item *item = tiles[i].item;
    if (item->state >= 0 && !item->is_last) save_running(tiles + i, s + i);
    else if (item->partial < 0) store_outputs(tiles + i, s + i);
  }
}

void swerve_attention_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_attention_job *j = job;
  const size_t heads = j->cache.kv_heads;
  swerve_partition at;
  swerve_workspace s[TILES];
  const size_t most = lay_out(s, &at, scratch, &j->cache);
  const size_t last = (end + heads - 1) / heads;
  for (size_t first = begin / heads, next; first < last; first = next) {
    for (next = first + 1; next < last && next - first < most; next++)
      if (j->items[next].first_row != j->items[first].first_row) break;
    for (size_t head = 0; head < heads; head++) {
      /* Units go head by head, so a worker's first and last item may lack some. */
      const size_t from = first * heads + head < begin ? first + 1 : first;
      const size_t to = (next - 1) * heads + head < end ? next : next - 1;
      if (from < to) attend_tiles(j, head, from, to - from, s);
    }
  }
}

void swerve_attention_merge_task(const void *job, size_t begin, size_t end, void *scratch) {
  const swerve_attention_job *j = job;
  swerve_partition at;
  swerve_workspace s[TILES];
  lay_out(s, &at, scratch, &j->cache);
  for (size_t unit = begin; unit < end; unit++) {
    const swerve_query_tile t = context_of(j, unit);
    start_running(&t, s);
    for (int32_t p = t.item->partition_begin; p < t.item->partition_end; p++) {
      const float *records = partial_address(&t, (size_t)p, 0);
      const size_t stride = swerve_partial_floats(t.d);
      for (size_t i = 0; i < t.queries; i++) {
        s->at->maximum[i] = records[i * stride];
        s->at->sum[i] = records[i * stride + 1];
      }
      merge(&t, s, s->at->maximum, s->at->sum, records + 16, stride);
    }
    store_outputs(&t, s);
  }
}
