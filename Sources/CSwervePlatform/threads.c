#define _GNU_SOURCE
#include "swerve_platform.h"

#include <pthread.h>
#include <string.h>

void swerve_thread_set_name(const char *name) {
  char kept[16] = {0};
  strncpy(kept, name, sizeof kept - 1);
#ifdef __linux__
  pthread_setname_np(pthread_self(), kept);
#endif
}
