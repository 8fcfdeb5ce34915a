/* What attention's files share: a worker's buffers and a tile of its work. Private to this folder. */
#ifndef SWERVE_ATTENTION_H
#define SWERVE_ATTENTION_H

#include "../inner.h"

enum { TILE = SWERVE_QUERY_TILE, PARTITION = SWERVE_PARTITION_TOKENS, GROUPS = PARTITION / 16 };
/* Groups of eight-bit codes that are made numbers at once, and groups fetched beyond the partition. */
enum { PANEL = 4, AHEAD = 4 };
/* Rows whose codes become numbers on their way into the products. */
enum { FEW = 8 };

/* One worker's buffers, carved out of its scratch. d is head_dim, D head_dim rounded up to 16, C the type that
 * attention computes in. */
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
} swerve_workspace;

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
} swerve_query_tile;

/* Finds `count` groups of positions from `begin` on, of whole groups of 16 tokens, and those of the next partition's
 * keys, up to `next_end`, that are worth fetching. Returns the number of the latter, at least 1. */
size_t swerve_attention_find(
  const swerve_query_tile *t, swerve_workspace *s, size_t begin, size_t count, size_t next_end);
/* scores[query, token] over `count` groups. */
void swerve_attention_score(const swerve_query_tile *t, swerve_workspace *s, size_t count, size_t ahead);
/* output[query, d] = sum of weights x values over `count` groups, the last of `tail` tokens. */
void swerve_attention_weigh(
  const swerve_query_tile *t, swerve_workspace *s, size_t count, size_t tail, size_t ahead);
void swerve_attention_fetch(const swerve_query_tile *t, const char *group);

#endif
