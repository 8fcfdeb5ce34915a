#define _GNU_SOURCE
#include "swerve_platform.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool swerve_read_text(const char *path, char *text, size_t capacity) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const ssize_t n = read(file, text, capacity - 1);
  close(file);
  text[n > 0 ? n : 0] = 0;
  return n > 0;
}

#ifdef __linux__
#include "affinity.h"

/* What the process might use when it began: threads that are confined later do not hand that on to processes. */
static cpu_set_t first_cpus;
static bool knows_first_cpus;

/* What a thread that keeps to one CPU could use before. */
static _Thread_local cpu_set_t wider_cpus;
static _Thread_local bool is_kept;

bool swerve_thread_heirs(cpu_set_t *cpus) {
  if (is_kept) *cpus = wider_cpus;
  return is_kept;
}

__attribute__((constructor)) static void keep_first_cpus(void) {
  knows_first_cpus = sched_getaffinity(0, sizeof first_cpus, &first_cpus) == 0;
}

void swerve_thread_release(cpu_set_t *before) {
  if (sched_getaffinity(0, sizeof *before, before) != 0) *before = first_cpus;
  /* Where the system has taken some of them away since, it gives what is left. */
  if (knows_first_cpus) sched_setaffinity(0, sizeof first_cpus, &first_cpus);
}

void swerve_thread_unconfine(void) {
  cpu_set_t before;
  swerve_thread_release(&before);
  is_kept = false;
}

/* The numbers of a set, as many as there is room for; how many there are. */
static int numbers_of(const cpu_set_t *set, int *cpus, int capacity) {
  int count = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, set)) continue;
    if (count < capacity) cpus[count] = cpu;
    count++;
  }
  if (count > 0) return count;
  if (capacity > 0) cpus[0] = 0;
  return 1;
}

int swerve_allowed_cpus(int *cpus, int capacity) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_ZERO(&set);
  return numbers_of(&set, cpus, capacity);
}

int swerve_process_cpus(int *cpus, int capacity) {
  return knows_first_cpus ? numbers_of(&first_cpus, cpus, capacity) : swerve_allowed_cpus(cpus, capacity);
}

int swerve_quota_cpus(void) {
  char text[128];
  long long quota = 0, period = 0;
  if (swerve_read_text("/sys/fs/cgroup/cpu.max", text, sizeof text)) {
    if (sscanf(text, "%lld %lld", &quota, &period) != 2) return 0;
  } else if (swerve_read_text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", text, sizeof text)) {
    quota = atoll(text);
    if (!swerve_read_text("/sys/fs/cgroup/cpu/cpu.cfs_period_us", text, sizeof text)) return 0;
    period = atoll(text);
  }
  if (quota <= 0 || period <= 0) return 0;
  const long long cpus = (quota + period - 1) / period;
  return cpus > 1 << 16 ? 1 << 16 : (int)cpus;
}

bool swerve_thread_confine(const int *cpus, int count) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int i = 0; i < count; i++) {
    if (cpus[i] < 0 || cpus[i] >= CPU_SETSIZE) return false;
    CPU_SET(cpus[i], &set);
  }
  if (sched_setaffinity(0, sizeof set, &set) != 0) return false;
  is_kept = false;
  return true;
}

bool swerve_thread_keep(int cpu) {
  cpu_set_t wider;
  const bool was_kept = is_kept;
  if (sched_getaffinity(0, sizeof wider, &wider) != 0 || !swerve_thread_confine(&cpu, 1)) return false;
  if (!was_kept) wider_cpus = wider;
  is_kept = true;
  return true;
}

bool swerve_machine_is_shared(int ours) {
  char text[128];
  float one, five, fifteen;
  int runnable;
  if (!swerve_read_text("/proc/loadavg", text, sizeof text)) return false;
  if (sscanf(text, "%f %f %f %d/", &one, &five, &fifteen, &runnable) != 4) return false;
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  /* Our own workers count as runnable while they spin. */
  return ours > online || runnable > online;
}

#else

int swerve_allowed_cpus(int *cpus, int capacity) {
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  const int count = online > 0 ? (int)online : 1;
  for (int i = 0; i < count && i < capacity; i++) cpus[i] = i;
  return count;
}

int swerve_process_cpus(int *cpus, int capacity) { return swerve_allowed_cpus(cpus, capacity); }
int swerve_quota_cpus(void) { return 0; }
bool swerve_thread_confine(const int *cpus, int count) {
  (void)cpus;
  (void)count;
  return false;
}
bool swerve_thread_keep(int cpu) {
  (void)cpu;
  return false;
}
void swerve_thread_unconfine(void) {}
bool swerve_machine_is_shared(int ours) { return ours > sysconf(_SC_NPROCESSORS_ONLN); }

#endif
