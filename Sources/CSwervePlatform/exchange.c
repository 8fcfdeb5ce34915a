#define _GNU_SOURCE
#include "swerve_platform.h"

#ifdef __linux__

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Two words a cache line apart, in memory that processes could share: each side waits for its own. */
typedef struct {
  _Alignas(64) _Atomic uint32_t there;
  _Alignas(64) _Atomic uint32_t back;
  int rounds;
} exchange;

static void wait_for(_Atomic uint32_t *word, uint32_t value) {
  for (;;) {
    const uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
    if (seen >= value) return;
    syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
  }
}

static void tell(_Atomic uint32_t *word, uint32_t value) {
  atomic_store_explicit(word, value, memory_order_release);
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void *answer(void *argument) {
  exchange *shared = argument;
  for (int round = 1; round <= shared->rounds; round++) {
    wait_for(&shared->there, (uint32_t)round);
    tell(&shared->back, (uint32_t)round);
  }
  return NULL;
}

double swerve_exchange_seconds(int rounds) {
  if (rounds < 1) return -1;
  exchange *shared =
    mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return -1;
  shared->rounds = rounds;
  pthread_t other;
  double seconds = -1;
  if (pthread_create(&other, NULL, answer, shared) == 0) {
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int round = 1; round <= rounds; round++) {
      tell(&shared->there, (uint32_t)round);
      wait_for(&shared->back, (uint32_t)round);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    pthread_join(other, NULL);
    seconds = ((double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec)) / rounds;
  }
  munmap(shared, sizeof *shared);
  return seconds;
}

#else

double swerve_exchange_seconds(int rounds) {
  (void)rounds;
  return -1;
}

#endif
