#define _GNU_SOURCE
#include "swerve_platform.h"

#include <fcntl.h>

int swerve_file_open_direct(const char *path) {
#ifdef O_DIRECT
  return open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
#else
  (void)path;
  return -1;
#endif
}

void swerve_file_forget(int descriptor, size_t offset, size_t bytes) {
#ifdef POSIX_FADV_DONTNEED
  posix_fadvise(descriptor, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
#else
  (void)descriptor;
  (void)offset;
  (void)bytes;
#endif
}
