#define _GNU_SOURCE
#include "swerve_platform.h"

#include <sys/mman.h>

#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { HUGE = 2 << 20 };

static size_t mapped_bytes(size_t bytes) {
  const size_t unit = bytes >= HUGE ? HUGE : 4096;
  return (bytes + unit - 1) / unit * unit;
}

void *swerve_pages_allocate(size_t bytes) {
  if (bytes == 0 || bytes > SIZE_MAX / 2) return NULL;
  const size_t size = mapped_bytes(bytes);
  const size_t slack = size >= HUGE ? HUGE : 0;
  char *p = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
  if (slack == 0) return p;
  char *aligned = (char *)(((uintptr_t)p + HUGE - 1) / HUGE * HUGE);
  if (aligned > p) munmap(p, (size_t)(aligned - p));
  char *end = p + size + slack;
  if (end > aligned + size) munmap(aligned + size, (size_t)(end - (aligned + size)));
#ifdef MADV_HUGEPAGE
  madvise(aligned, size, MADV_HUGEPAGE);
#endif
  return aligned;
}

void swerve_pages_free(void *pages, size_t bytes) {
  if (pages) munmap(pages, mapped_bytes(bytes));
}

bool swerve_pages_prefer_node(void *start, size_t bytes, int node) {
#if defined(__linux__) && defined(SYS_mbind)
  /* The system call itself: the library around it is not on every machine. */
  enum { MPOL_PREFERRED = 1, NODES = 1024, BITS = 8 * sizeof(unsigned long) };
  if (node < 0 || node >= NODES) return false;
  const uintptr_t begin = ((uintptr_t)start + 4095) / 4096 * 4096, end = ((uintptr_t)start + bytes) / 4096 * 4096;
  if (end <= begin) return true;
  unsigned long mask[NODES / BITS] = {0};
  mask[(size_t)node / BITS] = 1ul << ((size_t)node % BITS);
  return syscall(SYS_mbind, begin, end - begin, MPOL_PREFERRED, mask, (unsigned long)NODES + 1, 0u) == 0;
#else
  (void)start;
  (void)bytes;
  (void)node;
  return false;
#endif
}
