/* The operating system's odds and ends that Swift's Glibc overlay does not reach: the pool of kernel threads (futex,
 * CPU affinity), thread names, memory advice. It must not know arithmetic or a model.
 * Start here, then pool.c. */
#ifndef SWERVE_PLATFORM_H
#define SWERVE_PLATFORM_H

#include "swerve_mpi.h"
#include "swerve_check.h"
#include "swerve_network.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Names the calling thread (at most 15 characters are kept). */
void swerve_thread_set_name(const char *name);

/* Runs body(context) on a detached thread of that name with a stack of `stack_bytes`. 0, or errno's number. */
int swerve_thread_start(const char *name, size_t stack_bytes, void (*body)(void *context), void *context);

/* ---- CPUs ----------------------------------------------------------------------------------------------------- */

/* CPUs the calling thread may run on, by affinity: writes up to `capacity` of their numbers in ascending order and returns
 * how many there are. At least 1. */
int swerve_allowed_cpus(int *cpus, int capacity);

/* The same of the process when it began, whatever the calling thread keeps to since. */
int swerve_process_cpus(int *cpus, int capacity);

/* CPUs that the control group's quota pays for, rounded up; 0 where there is no quota. Reads a file. */
int swerve_quota_cpus(void);

/* Lets the calling thread, and those it starts later, run on these CPUs only. False where the system refuses. */
bool swerve_thread_confine(const int *cpus, int count);

/* Keeps the calling thread on one CPU; threads that it starts with `swerve_thread_start` run where it could before. False
 * where the system refuses. */
bool swerve_thread_keep(int cpu);

/* Lets the calling thread run wherever the process might when it began. */
void swerve_thread_unconfine(void);

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

/* ---- memory of two processes ---------------------------------------------------------------------------------- */

/* A file of memory with so many zeroed bytes that nobody can resize, readable and writable by its owner alone: a
 * descriptor, or errno's number negated. */
int swerve_shared_create(const char *name, size_t bytes);

/* Bytes of such a file, or errno's number negated: -EPERM for one that could be resized. */
int64_t swerve_shared_size(int file);

/* The first bytes of the file, shared with all that map it; of no file (-1): zeroed memory of this process. NULL without. */
void *swerve_shared_map(int file, size_t bytes);
/* The same of a file, aligned to 2 MiB and advised as huge pages when that large. */
void *swerve_shared_map_huge(int file, size_t bytes);
void swerve_shared_unmap(void *pages, size_t bytes);
/* This process alone may write to the file from now on, until it ends: waits until all that claimed it before have ended.
 * 0, or errno's number: EBUSY when they do not. */
int swerve_region_claim(int file, int timeout_ms);

/* Words of such memory, in one order that all processes see. */
static inline uint32_t swerve_word_load(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
static inline void swerve_word_store(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_SEQ_CST); }
static inline void swerve_word_add(uint32_t *word) { __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST); }
static inline uint64_t swerve_long_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline void swerve_long_store(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

/* Looks at a word for a time at most: whether it is another than `seen`. */
bool swerve_word_spin(const uint32_t *word, uint32_t seen, uint64_t spin_ns);
/* The same, giving the core away between looks: for whoever takes turns with the other side on one core. Gives up, too,
   where nobody takes it. */
bool swerve_word_yield(const uint32_t *word, uint32_t seen, uint64_t most_ns);
/* Sleeps while a word is `seen`, until it is woken; false when the time is over. May wake for nothing. */
bool swerve_word_sleep(const uint32_t *word, uint32_t seen, uint64_t timeout_ns);
/* Wakes who sleeps on a word. */
void swerve_word_wake(uint32_t *word);

/* Nanoseconds of a clock that only goes forward. */
uint64_t swerve_monotonic_ns(void);

/* ---- worker processes ------------------------------------------------------------------------------------------ */

/* Two connected ends for whole messages, closed when a process executes another program. 0, or errno's number. */
int swerve_socket_pair(int ends[2]);
/* Sends one message without waiting. 0, or errno's number. */
int swerve_socket_send(int socket, const void *bytes, size_t count);
/* The next message's length, 0 when the other end is closed, or errno's number negated: -EAGAIN when none came in time. */
int swerve_socket_receive(int socket, void *bytes, size_t capacity, int timeout_ms);
/* Whether the other end was closed, by its process's end at the latest. */
bool swerve_socket_ended(int socket);

/* Starts a program in a process group of its own, with `memory` as its descriptor 3, `control` as 4, `region` as 5 and
 * `places` as 6 (-1: nothing to be found there), and further regions as 7, 8, … (257 at most). Its number, or errno's negated. */
int swerve_process_start(
  const char *path, char *const *arguments, int memory, int control, int region, int places, const int *further,
  int further_count
);
/* In the started process: ends with the thread that started it, and closes every descriptor above those. False when
 * `parent` (0 = any) is not who started it any more, or 4 is no socket. */
bool swerve_process_enter(int parent);
/* Whether a started process ended; then its number is free. */
bool swerve_process_ended(int process);
/* Ends a started process at once, whatever it does. */
void swerve_process_kill(int process);
int swerve_process_id(void);

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

/* Sends idle workers to sleep at once, until the next run: whoever waits for another process leaves it the cores. */
void swerve_pool_rest(swerve_pool *pool);

/* Whether idle workers spin now, as the last look at the machine decided. */
bool swerve_pool_spins(const swerve_pool *pool);

/* Workers that sleep now. */
int swerve_pool_sleepers(const swerve_pool *pool);

/* Joins the workers. No task may be running. */
void swerve_pool_destroy(swerve_pool *pool);

#endif
