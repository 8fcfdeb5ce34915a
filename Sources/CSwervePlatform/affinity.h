/* CPUs of threads, for this folder alone. */
#pragma once
#ifdef __linux__
#include <sched.h>
#include <stdbool.h>

/* Lets the calling thread run wherever the process might when it began, so that a process that it starts may too.
 * `before` becomes what the thread was confined to. */
void swerve_thread_release(cpu_set_t *before);

/* Where threads that the calling one starts should run, if it keeps to one CPU itself; else false. */
bool swerve_thread_heirs(cpu_set_t *cpus);
#endif
