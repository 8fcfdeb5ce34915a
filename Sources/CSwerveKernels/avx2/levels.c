/* Levels and codes to 16-bit numbers by table look-ups in registers: the bits of the scalar loops. */
#include "avx2.h"

#if SWERVE_X86
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

/* 16 bytes of a table in both halves. */
INLINE __m256i table_of(const uint8_t *bytes) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)bytes));
}

/* Signs and magnitudes to two bytes each, of tables of 128. A shuffle gives zero where an index has its highest bit: all
 * but the one of eight that an index belongs to do. */
INLINE void look_up(__m256i bytes, const uint8_t *low, const uint8_t *high, __m256i *first, __m256i *second) {
  const __m256i sign = _mm256_and_si256(bytes, _mm256_set1_epi8((char)0x80));
  const __m256i index = _mm256_andnot_si256(_mm256_set1_epi8((char)0x80), bytes);
  __m256i l = _mm256_setzero_si256(), h = sign;
  UNROLL for (int part = 0; part < 8; part++) {
    const __m256i here = _mm256_xor_si256(index, _mm256_set1_epi8((char)(part << 4)));
    const __m256i place = _mm256_adds_epu8(here, _mm256_set1_epi8(0x70));
    l = _mm256_or_si256(l, _mm256_shuffle_epi8(table_of(low + part * 16), place));
    h = _mm256_or_si256(h, _mm256_shuffle_epi8(table_of(high + part * 16), place));
  }
  *first = _mm256_unpacklo_epi8(l, h);
  *second = _mm256_unpackhi_epi8(l, h);
}

/* 64 bytes a chunk, 8 of each 16 to `out_low`, the others to `out_high`. */
INLINE void split(
  char *out_low, char *out_high, size_t step, const uint8_t *in, size_t chunks, const uint8_t *low, const uint8_t *high
) {
  for (size_t c = 0; c < chunks; c++, in += 64, out_low += step, out_high += step)
    for (int half = 0; half < 64; half += 32) {
      __m256i first, second;
      look_up(_mm256_loadu_si256((const __m256i *)(in + half)), low, high, &first, &second);
      _mm256_storeu_si256((__m256i *)(out_low + half), first);
      _mm256_storeu_si256((__m256i *)(out_high + half), second);
    }
}

void swerve_avx2_unpack_codes(
  char *low, char *high, size_t out_step, const uint8_t *in, size_t chunks, const swerve_codes *codes
) {
  split(low, high, out_step, in, chunks, codes->low, codes->high);
}

/* The bytes of 16 numbers that `four16` has. */
INLINE void bytes_of(const uint16_t *numbers, uint8_t low[16], uint8_t high[16]) {
  for (int i = 0; i < 16; i++) {
    low[i] = (uint8_t)numbers[i];
    high[i] = (uint8_t)(numbers[i] >> 8);
  }
}

/* Words of four nibbles, one of each of four pairs, to four lines of numbers. */
INLINE void unpack_nibbles(char *out, const char *levels, size_t steps, const uint16_t *numbers) {
  uint8_t low[16], high[16];
  bytes_of(numbers, low, high);
  const __m256i lows = table_of(low), highs = table_of(high);
  const __m256i nibble = _mm256_set1_epi16(15), none = _mm256_set1_epi16((short)0x8000);
  for (size_t step = 0; step < steps; step += 4, levels += 64, out += 256)
    for (int half = 0; half < 64; half += 32) {
      __m256i words = _mm256_loadu_si256((const __m256i *)(levels + half));
      UNROLL for (int pair = 0; pair < 4; pair++) {
        const __m256i index = _mm256_or_si256(_mm256_and_si256(words, nibble), none);
        const __m256i high_bytes = _mm256_slli_epi16(_mm256_shuffle_epi8(highs, index), 8);
        const __m256i number = _mm256_or_si256(_mm256_shuffle_epi8(lows, index), high_bytes);
        _mm256_storeu_si256((__m256i *)(out + pair * 64 + half), number);
        words = _mm256_srli_epi16(words, 4);
      }
    }
}

INLINE void unpack(void *out, const char *levels, int format, size_t steps, int half) {
  const swerve_level_tables *t = &swerve_levels_of;
  if (format == SWERVE_INT8) {
    split(out, (char *)out + 64, 128, (const uint8_t *)levels, steps / 2, t->low[half], t->high[half]);
  } else {
    unpack_nibbles(out, levels, steps, t->four16[half][swerve_four_index(format)]);
  }
}

void swerve_avx2_unpack_bf16(void *out, const char *levels, int format, size_t steps) {
  unpack(out, levels, format, steps, 0);
}

void swerve_avx2_unpack_f16(void *out, const char *levels, int format, size_t steps) {
  unpack(out, levels, format, steps, 1);
}

#pragma clang attribute pop
#endif
