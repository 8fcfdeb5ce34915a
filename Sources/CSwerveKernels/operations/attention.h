/* What attention's files share: a worker's buffers and a tile of its work. Private to this folder. */
#ifndef SWERVE_ATTENTION_H
#define SWERVE_ATTENTION_H

#include "../inner.h"

enum { TILE = SWERVE_QUERY_TILE, PARTITION = SWERVE_PARTITION_TOKENS, GROUPS = PARTITION / 16 };
/* Groups of eight-bit codes that are made numbers at once, and groups fetched beyond the partition. */
enum { PANEL = 4, AHEAD = 4 };
/* Tiles of a sequence that meet a partition while it is near. */
enum { TILES = 8 };
/* Rows whose codes become numbers on their way into the products. */
enum { FEW = 8 };

/* What a worker needs for a tile and a partition, over and over. d is head_dim, D head_dim rounded up to 16, C the type that
 * attention computes in. */
typedef struct {
  float *scores;  /* [TILE, PARTITION] */
  char *weights;  /* C [TILE, PARTITION]: 2^scores */
  float *output;  /* [TILE, D] of one partition */
  char *last;     /* the last, incomplete group of values, made clean */
  char *panel;    /* PANEL groups of numbers made of codes */
  char *copy;     /* of swerve_groups */
  char *keys, *values; /* numbers made of a partition's codes, for tiles that share them: C [PARTITION, d or D] */
  uint32_t made[2];    /* of keys and values: which groups of the partition are there, a bit each */
  bool shares;         /* whether several tiles meet the partition */
  size_t first_group;  /* of the tile's groups in the partition */
  const char *groups[2 * GROUPS + AHEAD]; /* keys, values, keys of the next partition */
  float key_scales[PARTITION], value_scales[PARTITION];
  float maximum[TILE], sum[TILE]; /* maxima are of scores times log2 e */
} swerve_partition;

/* A tile's own state while it goes through its partitions. */
typedef struct {
  swerve_partition *at;
  char *q;        /* C [TILE, d] */
  float *running; /* [TILE, D] */
  float running_maximum[TILE], running_sum[TILE];
  int32_t low[TILE], high[TILE]; /* visible positions of each query */
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
