/* Memory that two processes have in common, and waiting for a word of it. */
#define _GNU_SOURCE
#include "swerve_platform.h"
#include "spin.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

int swerve_shared_create(const char *name, size_t bytes) {
#ifdef __linux__
  const int file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return -errno;
  if (fchmod(file, 0600) == 0 && ftruncate(file, (off_t)bytes) == 0
      && fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
    return file;
  const int code = errno;
  close(file);
  return -code;
#else
  (void)name;
  (void)bytes;
  return -ENOSYS;
#endif
}

int64_t swerve_shared_size(int file) {
#ifdef __linux__
  struct stat status;
  if (fstat(file, &status) != 0) return -errno;
  /* Without these seals the other side could take pages away, and touching them would end this process. */
  const int seals = fcntl(file, F_GET_SEALS), wanted = F_SEAL_SHRINK | F_SEAL_GROW;
  if (seals < 0 || (seals & wanted) != wanted) return -EPERM;
  return status.st_size;
#else
  (void)file;
  return -ENOSYS;
#endif
}

void *swerve_shared_map_huge(int file, size_t bytes) {
  /* The system places a file's mapping at any page; huge pages need one whose address and offset agree. */
  enum { HUGE = 2 << 20 };
  if (bytes < HUGE || bytes > SIZE_MAX / 2) return swerve_shared_map(file, bytes);
  char *room = mmap(NULL, bytes + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return NULL;
  char *aligned = (char *)(((uintptr_t)room + HUGE - 1) / HUGE * HUGE);
  if (mmap(aligned, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED) {
    munmap(room, bytes + HUGE);
    return NULL;
  }
  char *end = aligned + (bytes + 4095) / 4096 * 4096;
  if (aligned > room) munmap(room, (size_t)(aligned - room));
  if (end < room + bytes + HUGE) munmap(end, (size_t)(room + bytes + HUGE - end));
#ifdef MADV_HUGEPAGE
  madvise(aligned, bytes, MADV_HUGEPAGE);
#endif
  return aligned;
}

void *swerve_shared_map(int file, size_t bytes) {
  const int flags = file < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
  void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, file < 0 ? -1 : file, 0);
  return pages == MAP_FAILED ? NULL : pages;
}

void swerve_shared_unmap(void *pages, size_t bytes) {
  if (pages) munmap(pages, bytes);
}

uint64_t swerve_monotonic_ns(void) { return now_ns(); }

bool swerve_word_spin(const uint32_t *word, uint32_t seen, uint64_t spin_ns) {
  if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != seen) return true;
  if (spin_ns == 0) return false;
  const uint64_t until = swerve_monotonic_ns() + spin_ns;
  do {
    for (int i = 0; i < 32; i++) {
      if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != seen) return true;
      relax();
    }
  } while (swerve_monotonic_ns() < until);
  return false;
}

bool swerve_word_yield(const uint32_t *word, uint32_t seen, uint64_t most_ns) {
  /* Nobody comes and goes within a microsecond. Some schedulers let a thread that yields go on as long as it has had less
     than its share: then it would take the core from the one that it waits for. */
  enum { BACK_AT_ONCE_NS = 1000, MOST_AT_ONCE = 8 };
  uint64_t now = now_ns();
  const uint64_t until = now + most_ns;
  for (int at_once = 0; at_once < MOST_AT_ONCE && now < until;) {
    const uint64_t begin = now;
    sched_yield();
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != seen) return true;
    now = now_ns();
    at_once = now - begin < BACK_AT_ONCE_NS ? at_once + 1 : 0;
  }
  return false;
}

bool swerve_word_sleep(const uint32_t *word, uint32_t seen, uint64_t timeout_ns) {
#ifdef __linux__
  const struct timespec t = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};
  const long code = syscall(SYS_futex, word, FUTEX_WAIT, seen, &t, NULL, 0);
  return code == 0 || errno != ETIMEDOUT;
#else
  if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen) usleep(50);
  (void)timeout_ns;
  return true;
#endif
}

void swerve_word_wake(uint32_t *word) {
#ifdef __linux__
  syscall(SYS_futex, word, FUTEX_WAKE, 1 << 20, NULL, NULL, 0);
#else
  (void)word;
#endif
}
