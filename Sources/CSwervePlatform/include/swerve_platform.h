/* The operating system's odds and ends that Swift's Glibc overlay does not reach: futex, CPU affinity, thread names,
 * tile permission. No state. */
#ifndef SWERVE_PLATFORM_H
#define SWERVE_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Names the calling thread (at most 15 characters are kept). */
void swerve_thread_set_name(const char *name);

#endif
