/* Unpacking of quantised weights in 512-bit vectors: a line of 64 bytes at a time, without moving anything between the
 * 128-bit lanes. As much as is unpacked is fetched ahead, so that it comes while this piece is multiplied. */
#include "../scalar/scalar.h"

#if SWERVE_X86
#include "levels.h"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c"))), \
  apply_to = function)

/* Bytes of sign and magnitude to f32: even or odd inputs of one pair of 16 outputs. `place` moves each byte to the top of
 * a word of 32 bits. */
INLINE __m512 level8(__m512i line, __m512i place) {
  const __m512i top = _mm512_shuffle_epi8(line, place);
  const __m512i magnitude = _mm512_and_si512(_mm512_srli_epi32(top, 24), _mm512_set1_epi32(0x7f));
  const __m512i number = _mm512_castps_si512(_mm512_cvtepi32_ps(magnitude));
  return _mm512_castsi512_ps(SIGNED(number, top, _mm512_set1_epi32((int)0x80000000)));
}

/* Byte `first`, `first` + 2, + 4, + 6 of every 16. */
INLINE __m512i places(int first) {
  const int z = 0x00808080;
  return _mm512_broadcast_i32x4(_mm_set_epi32(
    z | (first + 6) << 24, z | (first + 4) << 24, z | (first + 2) << 24, z | first << 24));
}

typedef void (*emit)(void *out, size_t pair, __m512 even, __m512 odd);

INLINE void emit_f32(void *out, size_t pair, __m512 even, __m512 odd) {
  _mm512_storeu_ps((float *)out + pair * 32, even);
  _mm512_storeu_ps((float *)out + pair * 32 + 16, odd);
}

/* Exact: levels have no more than 7 bits. */
INLINE void emit_bf16(void *out, size_t pair, __m512 even, __m512 odd) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(even), 16);
  _mm512_storeu_si512(
    (char *)out + pair * 64, SIGNED(low, _mm512_castps_si512(odd), _mm512_set1_epi32((int)0xffff0000)));
}

INLINE __m512i half(__m512 x) {
  return _mm512_cvtepu16_epi32(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

INLINE void emit_f16(void *out, size_t pair, __m512 even, __m512 odd) {
  _mm512_storeu_si512(
    (char *)out + pair * 64, _mm512_or_si512(half(even), _mm512_slli_epi32(half(odd), 16)));
}

INLINE void unpack8(void *out, const char *levels, size_t steps, emit emit) {
  const __m512i places0 = places(0), places1 = places(1), places8 = places(8), places9 = places(9);
  const size_t ahead = steps * 32;
  for (size_t k = 0; k < steps; k += 2, levels += 64) {
    _mm_prefetch(levels + ahead, _MM_HINT_T0);
    const __m512i line = _mm512_loadu_si512(levels);
    emit(out, k, level8(line, places0), level8(line, places1));
    emit(out, k + 1, level8(line, places8), level8(line, places9));
  }
}

/* Nibble j of the even, of the odd inputs' words, through a table of 16. */
INLINE void unpack4_f32(float *out, const char *levels, size_t steps, const float *numbers) {
  const __m512 table = _mm512_loadu_ps(numbers);
  const size_t ahead = steps * 16;
  for (size_t k = 0; k < steps; k += 4, levels += 64, out += 128) {
    _mm_prefetch(levels + ahead, _MM_HINT_T0);
    __m512i line = _mm512_loadu_si512(levels);
    UNROLL for (int j = 0; j < 4; j++) {
      _mm512_storeu_ps(out + j * 32, _mm512_permutexvar_ps(line, table));
      _mm512_storeu_ps(out + j * 32 + 16, _mm512_permutexvar_ps(_mm512_srli_epi32(line, 16), table));
      line = _mm512_srli_epi32(line, 4);
    }
  }
}

INLINE void unpack4_16(char *out, const char *levels, size_t steps, const uint16_t *numbers) {
  unpack4_lines(out, levels, steps, _mm512_loadu_si512(numbers), steps * 16);
}

static void unpack_f32(void *out, const char *levels, int format, size_t steps) {
  if (format == SWERVE_INT8)
    unpack8(out, levels, steps, emit_f32);
  else
    unpack4_f32(out, levels, steps, swerve_levels_of.four[swerve_four_index(format)]);
}

static void unpack_bf16(void *out, const char *levels, int format, size_t steps) {
  if (format == SWERVE_INT8)
    unpack8(out, levels, steps, emit_bf16);
  else
    unpack4_16(out, levels, steps, swerve_levels_of.four16[0][swerve_four_index(format)]);
}

static void unpack_f16(void *out, const char *levels, int format, size_t steps) {
  if (format == SWERVE_INT8)
    unpack8(out, levels, steps, emit_f16);
  else
    unpack4_16(out, levels, steps, swerve_levels_of.four16[1][swerve_four_index(format)]);
}

static float quantize(uint8_t *out, const float *x, size_t n, int offset) {
  __m512i largest = _mm512_setzero_si512();
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 m = n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
    largest = _mm512_max_epu32(largest, _mm512_and_si512(_mm512_maskz_loadu_epi32(m, x + i), magnitude));
  }
  float scale, inverse;
  swerve_int8_scale(_mm512_reduce_max_epu32(largest), &scale, &inverse);
  const __m512 factor = _mm512_set1_ps(inverse);
  const __m512i by = _mm512_set1_epi32(offset);
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 m = n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), factor);
    /* Not a number where x is not finite: level 0, as in the reference. */
    const __mmask16 ordered = _mm512_cmp_ps_mask(scaled, scaled, _CMP_ORD_Q);
    const __m512i level = _mm512_maskz_cvt_roundps_epi32(ordered, scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm_mask_storeu_epi8(out + i, m, _mm512_cvtepi32_epi8(_mm512_add_epi32(level, by)));
  }
  return scale;
}

#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi"))), \
  apply_to = function)

/* Through tables of the numbers' low and high bytes. */
INLINE void unpack8_tables(char *out, const char *levels, size_t steps, int half) {
  const byte_tables tables = load_tables(half);
  unpack8_lines(out, levels, steps, &tables, steps * 32);
}

static void unpack_bf16_tables(void *out, const char *levels, int format, size_t steps) {
  if (format == SWERVE_INT8)
    unpack8_tables(out, levels, steps, 0);
  else
    unpack4_16(out, levels, steps, swerve_levels_of.four16[0][swerve_four_index(format)]);
}

static void unpack_f16_tables(void *out, const char *levels, int format, size_t steps) {
  if (format == SWERVE_INT8)
    unpack8_tables(out, levels, steps, 1);
  else
    unpack4_16(out, levels, steps, swerve_levels_of.four16[1][swerve_four_index(format)]);
}

#pragma clang attribute pop

void swerve_avx512_fill_levels(swerve_kernels *t, bool has_vbmi, bool has_vnni) {
  t->unpack[SWERVE_FLOAT32] = unpack_f32;
  t->unpack[SWERVE_BFLOAT16] = has_vbmi ? unpack_bf16_tables : unpack_bf16;
  t->unpack[SWERVE_FLOAT16] = has_vbmi ? unpack_f16_tables : unpack_f16;
  t->quantize = quantize;
  if (!has_vnni) return;
  t->multiply_int8 = swerve_avx512_multiply_int8;
  t->multiply_nibbles = swerve_avx512_multiply_nibbles;
  t->level_offset = 128;
}
#endif
