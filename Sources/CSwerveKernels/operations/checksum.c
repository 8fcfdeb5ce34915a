/* A 64-bit checksum of memory, fast enough to check gigabytes: four lanes of xor, rotate and multiply, each step a
 * bijection of the lane's state, so that a change of one word cannot be lost. */
#include "../inner.h"

static inline uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }
static inline uint64_t step(uint64_t state, uint64_t word) { return rotate(state ^ word, 29) * 0xa24baed4963ee407u; }

uint64_t swerve_checksum(const void *bytes, size_t count) {
  const char *from = bytes;
  uint64_t lanes[4] = {0x243f6a8885a308d3u, 0x13198a2e03707344u, 0xa4093822299f31d0u, 0x082efa98ec4e6c89u};
  size_t left = count;
  for (; left >= 32; left -= 32, from += 32) {
    uint64_t words[4];
    memcpy(words, from, 32);
    for (int i = 0; i < 4; i++) lanes[i] = step(lanes[i], words[i]);
  }
  uint64_t last[4] = {0, 0, 0, 0};
  if (left > 0) memcpy(last, from, left);
  uint64_t sum = count;
  for (int i = 0; i < 4; i++) sum = step(sum, step(lanes[i], last[i]));
  sum ^= sum >> 32;
  sum *= 0x9fb21c651e98df25u;
  return sum ^ sum >> 29;
}

void swerve_checksum_task(const void *job, size_t begin, size_t end, void *scratch) {
  (void)scratch;
  const swerve_checksum_job *j = job;
  for (size_t unit = begin; unit < end; unit++) {
    const size_t first = unit * j->piece;
    j->sums[unit] = swerve_checksum((const char *)j->bytes + first, swerve_min(j->piece, j->count - first));
  }
}
