#define _GNU_SOURCE
#include "swerve_platform.h"

#include "affinity.h"

#include <pthread.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void swerve_thread_set_name(const char *name) {
  char kept[16] = {0};
  strncpy(kept, name, sizeof kept - 1);
#ifdef __linux__
  pthread_setname_np(pthread_self(), kept);
#endif
}

typedef struct {
  char name[16];
  void (*body)(void *);
  void *context;
#ifdef __linux__
  cpu_set_t cpus;
  bool has_cpus; /* which are not those of the thread that starts this one */
#endif
} thread_start;

static void *run(void *argument) {
  thread_start start = *(thread_start *)argument;
  free(argument);
#ifdef __linux__
  if (start.has_cpus) sched_setaffinity(0, sizeof start.cpus, &start.cpus);
#endif
  swerve_thread_set_name(start.name);
  start.body(start.context);
  return NULL;
}

int swerve_thread_start(const char *name, size_t stack_bytes, void (*body)(void *), void *context) {
  thread_start *start = calloc(1, sizeof *start);
  if (!start) return ENOMEM;
  strncpy(start->name, name, sizeof start->name - 1);
  start->body = body;
  start->context = context;
#ifdef __linux__
  start->has_cpus = swerve_thread_heirs(&start->cpus);
#endif
  pthread_attr_t attributes;
  int code = pthread_attr_init(&attributes);
  if (code == 0) {
    pthread_attr_setstacksize(&attributes, stack_bytes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    code = pthread_create(&thread, &attributes, run, start);
    pthread_attr_destroy(&attributes);
  }
  if (code) free(start);
  return code;
}
