/* Checks of bytes: CRC-32C, and four of them over memory. */
#include "swerve_platform.h"

#include <string.h>

static uint32_t crc_portable(uint32_t crc, const unsigned char *bytes, size_t count) {
  /* [16] by half a byte: small enough to stay in the cache. */
  static const uint32_t table[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
  for (size_t i = 0; i < count; i++) {
    crc ^= bytes[i];
    crc = (crc >> 4) ^ table[crc & 15];
    crc = (crc >> 4) ^ table[crc & 15];
  }
  return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_sse(uint32_t crc, const unsigned char *bytes, size_t count) {
  uint64_t value = crc;
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    uint64_t word;
    memcpy(&word, bytes + i, 8);
    value = _mm_crc32_u64(value, word);
  }
  for (; i < count; i++) value = _mm_crc32_u8((uint32_t)value, bytes[i]);
  return (uint32_t)value;
}

/* An instruction waits for the one before it in its quarter alone. */
__attribute__((target("sse4.2"))) static void quarters_sse(uint32_t crc[4], const unsigned char *bytes, size_t quarter) {
  uint64_t value[4] = {crc[0], crc[1], crc[2], crc[3]};
  for (size_t i = 0; i < quarter; i += 8)
    for (int q = 0; q < 4; q++) {
      uint64_t word;
      memcpy(&word, bytes + (size_t)q * quarter + i, 8);
      value[q] = _mm_crc32_u64(value[q], word);
    }
  for (int q = 0; q < 4; q++) crc[q] = (uint32_t)value[q];
}
#endif

uint32_t swerve_crc32c(uint32_t crc, const void *bytes, size_t count) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return ~crc_sse(~crc, bytes, count);
#endif
  return ~crc_portable(~crc, bytes, count);
}

uint64_t swerve_memory_check(const void *bytes, size_t count) {
  const size_t quarter = count / 32 * 8;
  uint32_t crc[4] = {~0u, ~0u, ~0u, ~0u};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) quarters_sse(crc, bytes, quarter);
  else
#endif
    for (int q = 0; q < 4; q++) crc[q] = crc_portable(crc[q], (const unsigned char *)bytes + (size_t)q * quarter, quarter);
  const uint32_t rest = swerve_crc32c(0, (const unsigned char *)bytes + 4 * quarter, count - 4 * quarter);
  const uint64_t low = crc[0] | (uint64_t)crc[1] << 32, high = crc[2] | (uint64_t)crc[3] << 32;
  return low ^ (high << 29 | high >> 35) ^ (uint64_t)rest << 16;
}
