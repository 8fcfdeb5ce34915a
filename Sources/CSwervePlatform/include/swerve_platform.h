/* The operating system's odds and ends that Swift's Glibc overlay does not reach: the pool of kernel threads (futex,
 * CPU affinity), thread names, memory advice. It must not know arithmetic or a model.
 * Start here, then pool.c. */
#ifndef SWERVE_PLATFORM_H
#define SWERVE_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Names the calling thread (at most 15 characters are kept). */
void swerve_thread_set_name(const char *name);

/* Runs body(context) on a detached thread of that name with a stack of `stack_bytes`. 0, or errno's number. */
int swerve_thread_start(const char *name, size_t stack_bytes, void (*body)(void *context), void *context);

/* ---- CPUs ----------------------------------------------------------------------------------------------------- */

/* CPUs this process may run on, by affinity: writes up to `capacity` of their numbers in ascending order and returns
 * how many there are. At least 1. */
int swerve_allowed_cpus(int *cpus, int capacity);

/* CPUs that the control group's quota pays for, rounded up; 0 where there is no quota. Reads a file. */
int swerve_quota_cpus(void);

/* Binds the calling thread to one CPU. False where the system refuses. */
bool swerve_thread_pin(int cpu);

/* Threads of the whole machine that can run now, of which `ours` may be spinning; false where unknown. */
bool swerve_machine_is_shared(int ours);

/* A small file's text, zero-terminated and cut to the capacity; false where there is none. */
bool swerve_read_text(const char *path, char *text, size_t capacity);

/* ---- memory --------------------------------------------------------------------------------------------------- */

/* Zeroed pages, aligned to 2 MiB and advised as huge pages when that large. NULL when the system has none. */
void *swerve_pages_allocate(size_t bytes);
void swerve_pages_free(void *pages, size_t bytes);

/* Asks for the whole pages inside `bytes` to be taken from memory node `node` when they are first touched, from another
 * where that one is full. False where the system refuses; nothing is lost but speed. */
bool swerve_pages_prefer_node(void *start, size_t bytes, int node);

/* ---- files ---------------------------------------------------------------------------------------------------- */

/* Opens a file for reads past the page cache: of whole pages, to memory at whole pages. -1 where the file system has
 * none; some say so at the first read only. */
int swerve_file_open_direct(const char *path);

/* Takes a range of a file out of the page cache, as far as nobody maps it. */
void swerve_file_forget(int descriptor, size_t offset, size_t bytes);

/* ---- exchange ------------------------------------------------------------------------------------------------- */

/* Seconds of a round trip of two threads that sleep on words of shared memory, as two processes would: the mean of so
 * many. Negative where it cannot be measured. */
double swerve_exchange_seconds(int rounds);

/* ---- pool of kernel threads ----------------------------------------------------------------------------------- */

typedef struct swerve_pool swerve_pool;

/* Computes units begin ..< end. `scratch` belongs to the calling worker. */
typedef void (*swerve_pool_task)(const void *job, size_t begin, size_t end, void *scratch);

/* A pool of `threads` workers, the caller of swerve_pool_run being worker 0, each with `scratch_bytes` of 64-byte
 * aligned scratch. cpus[i] is worker i's CPU, or cpus is NULL: no pinning (worker 0 is never pinned here). nodes[i] is the
 * number of worker i's memory node, ascending from 0 without gaps, or nodes is NULL: all have one. Workers spin for
 * `spin_ns` between tasks, then sleep. NULL when threads or memory cannot be had. */
swerve_pool *swerve_pool_create(
  int threads, const int *cpus, const int *nodes, size_t scratch_bytes, uint64_t spin_ns);

/* Runs a task over 0 ..< units in pieces of whole multiples of `grain`, on as many workers as come in time, and returns
 * when all is done. No allocation. One caller at a time; others wait. */
void swerve_pool_run(swerve_pool *pool, swerve_pool_task task, const void *job, size_t units, size_t grain);

int swerve_pool_threads(const swerve_pool *pool);

/* The first of `units` that belong to a node, which has those up to the next one's first: in proportion to its workers.
 * A worker takes its own node's units first and then what others have left. `node` may be the number of nodes. */
size_t swerve_pool_node_begin(const swerve_pool *pool, size_t units, int node);

/* Whether idle workers spin now, as the last look at the machine decided. */
bool swerve_pool_spins(const swerve_pool *pool);

/* Workers that sleep now. */
int swerve_pool_sleepers(const swerve_pool *pool);

/* Joins the workers. No task may be running. */
void swerve_pool_destroy(swerve_pool *pool);

#endif
