/* Products with quantised blocks by way of plain ones: a piece of a few blocks is unpacked into the first-level cache,
 * then the set's loop for plain weights runs over it for all rows. Every set may have something faster for a few
 * rows; the order of the sums is this one. */
#include "../levels.h"
#include "../scalar/scalar.h"

swerve_level_tables swerve_levels_of;

/* The 16 quantiles of a normal distribution in -1 ... 1 with an exact 0: NormalFloat (Dettmers et al. 2023, QLoRA). */
static const float normal_float[16] = {
  -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
  -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
  0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
};

void swerve_level_tables_fill(void) {
  swerve_level_tables *t = &swerve_levels_of;
  for (int i = 0; i < 16; i++) {
    t->four[0][i] = (float)(i < 8 ? i : i - 16);
    t->four[1][i] = normal_float[i];
  }
  for (int half = 0; half < 2; half++) {
    void (*const narrow)(void *, const float *, size_t) = half ? swerve_scalar_narrow_f16 : swerve_scalar_narrow_bf16;
    for (int format = 0; format < 2; format++) {
      narrow(t->four16[half][format], t->four[format], 16);
      memcpy(t->four16[half][format] + 16, t->four16[half][format], 32);
    }
    for (int i = 0; i < 128; i++) {
      const float magnitude = (float)i;
      uint16_t bits;
      narrow(&bits, &magnitude, 1);
      t->low[half][i] = (uint8_t)bits;
      t->high[half][i] = (uint8_t)(bits >> 8);
    }
  }
}

enum { BLOCKS = 4 };

typedef struct {
  _Alignas(64) char plain[BLOCKS][SWERVE_LEVEL_STEPS * 64]; /* f32: half as many pairs */
  float sums[SWERVE_LEVEL_ROWS][BLOCKS * 16];
  float scales[BLOCKS * 16];
  float tail[SWERVE_LEVEL_ROWS][4];
} room;

_Static_assert(sizeof(room) <= SWERVE_LEVEL_SCRATCH, "the scratch of levels");

/* `steps` pairs of up to 4 blocks, as a tile of the set's plain loop. */
static swerve_tile unpack(const swerve_levels *s, size_t first, size_t levels, size_t steps) {
  room *room = s->scratch;
  const size_t step_bytes = s->type == SWERVE_FLOAT32 ? 128 : 64;
  const size_t blocks = swerve_min(BLOCKS, s->blocks - first);
  for (size_t b = 0; b < blocks; b++)
    s->kernels->unpack[s->type](room->plain[b], s->w + (first + b) * s->block_stride + levels, s->format, steps);
  return (swerve_tile){
    .x_stride = s->x_stride,
    .w = room->plain,
    .block_stride = sizeof room->plain[0],
    .step_stride = 64,
    .steps = steps * step_bytes / 64,
    .acc = s->acc + first * 16,
    .acc_stride = s->acc_stride,
    .rows = s->rows,
    .blocks = blocks,
  };
}

static void multiply_int8(const swerve_levels *s, size_t first) {
  const size_t element = swerve_type_bytes(s->type), steps = s->inputs / 4 * 2;
  room *room = s->scratch;
  const size_t most = swerve_min(s->kernels->level_steps, SWERVE_LEVEL_STEPS / (s->type == SWERVE_FLOAT32 ? 2 : 1));
  for (size_t step = 0; step < steps; step += most) {
    swerve_tile tile = unpack(s, first, 64 + (s->begin / 2 + step) * 32, swerve_min(most, steps - step));
    tile.x = (const char *)s->x + step * 2 * element;
    tile.accumulate = step > 0;
    s->kernels->multiply[s->type](&tile);
  }
  const size_t rest = s->inputs % 4;
  if (rest == 0) return;
  /* What lies beyond a row of x is not ours to read: its last one to three numbers go with zeros. */
  for (size_t r = 0; r < s->rows; r++) {
    memset(room->tail[r], 0, sizeof room->tail[r]);
    memcpy(room->tail[r], (const char *)s->x + r * s->x_stride + steps * 2 * element, rest * element);
  }
  swerve_tile tile = unpack(s, first, 64 + (s->begin / 2 + steps) * 32, 2);
  tile.x = room->tail;
  tile.x_stride = sizeof room->tail[0];
  tile.accumulate = steps > 0;
  s->kernels->multiply[s->type](&tile);
}

static void multiply_groups(const swerve_levels *s, size_t first) {
  const size_t element = swerve_type_bytes(s->type);
  room *room = s->scratch;
  const size_t blocks = swerve_min(BLOCKS, s->blocks - first);
  for (size_t k = 0; k < s->inputs; k += s->group) {
    const size_t number = (s->begin + k) / s->group;
    swerve_tile tile = unpack(s, first, swerve_group_levels(number, s->group), s->group / 2);
    tile.x = (const char *)s->x + k * element;
    tile.acc = room->sums[0];
    tile.acc_stride = BLOCKS * 16;
    s->kernels->multiply[s->type](&tile);
    for (size_t b = 0; b < blocks; b++) {
      const char *scales = s->w + (first + b) * s->block_stride + swerve_group_scales(number, s->group);
      s->kernels->widen[SWERVE_FLOAT16](room->scales + b * 16, scales, 16);
    }
    const swerve_scaled_sums sums = {
      .acc = s->acc + first * 16, .acc_stride = s->acc_stride, .sums = room->sums[0], .sums_stride = BLOCKS * 16,
      .scales = room->scales, .rows = s->rows, .blocks = blocks, .first = k == 0,
    };
    s->kernels->add_scaled(&sums);
  }
}

void swerve_multiply_levels(const swerve_levels *s) {
  for (size_t first = 0; first < s->blocks; first += BLOCKS) {
    if (s->format == SWERVE_INT8)
      multiply_int8(s, first);
    else
      multiply_groups(s, first);
  }
}
