/* Kernel threads that share the units of one task at a time.
 *
 * `state` says which run is open and how many workers have joined it. A worker joins by adding one to it while the
 * run is open; the caller works too, closes the run when no units are left, and waits only for those who joined: a
 * worker that was asleep or descheduled costs nothing. The run's description is written before the state is released
 * and read only between joining and finishing, so no field is ever written and read at once. */
#define _GNU_SOURCE
#include "swerve_platform.h"
#include "spin.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#define OPEN ((uint64_t)1 << 31)
#define JOINED (OPEN - 1)

/* The units that belong to one memory node. */
struct queue {
  _Alignas(64) _Atomic size_t next;
  size_t end;
};

/* Lines of the cache are what a barrier costs: what a worker needs to see and join a run lies in one, what the caller
 * waits for in another. */
struct swerve_pool {
  /* Constant once created. */
  uint64_t spin_ns;
  int threads, created, nodes;
  size_t scratch_bytes;
  char *scratch;
  pthread_t *thread;
  const int *cpus;
  const int *node;          /* [threads] node of each worker, ascending */
  int *first;               /* [nodes + 1] first worker of each node */
  struct queue *queue;      /* [nodes] */
  /* The caller's alone. */
  pthread_mutex_t callers;
  uint32_t looks;           /* runs since the last look at the clock */
  uint64_t next_look;       /* when to ask again whether the machine is shared */
  /* One line: the run. All but `state`, `runs` and `sleepers` is written by the caller between runs. */
  _Alignas(64) _Atomic uint64_t state;
  swerve_pool_task task;
  const void *job;
  size_t grain;
  _Atomic uint32_t runs; /* futex: changes with every run */
  _Atomic uint32_t sleepers;
  _Atomic bool spins, stops, rests;
  /* One line: the end of the run. */
  _Alignas(64) _Atomic uint32_t finished;
  _Atomic uint32_t caller_sleeps;
  _Atomic int next_worker;
};

static void sleep_while(_Atomic uint32_t *word, uint32_t value) {
#ifdef __linux__
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
#else
  if (atomic_load(word) == value) usleep(50);
#endif
}

static void wake(_Atomic uint32_t *word, int count) {
#ifdef __linux__
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
#else
  (void)word;
  (void)count;
#endif
}

/* Takes pieces of one node's units until none is left. They shrink as the end comes near, so that workers finish
 * together. */
static void take_from(swerve_pool *p, int node, void *scratch) {
  struct queue *q = &p->queue[node];
  const size_t end = q->end, grain = p->grain;
  const size_t share = 3 * (size_t)(p->first[node + 1] - p->first[node]);
  size_t begin = atomic_load_explicit(&q->next, memory_order_relaxed);
  while (begin < end) {
    size_t count = (end - begin) / share / grain * grain;
    if (count < grain) count = grain;
    const size_t upto = count < end - begin ? begin + count : end;
    if (!atomic_compare_exchange_weak_explicit(&q->next, &begin, upto, memory_order_relaxed, memory_order_relaxed))
      continue;
    p->task(p->job, begin, upto, scratch);
    begin = atomic_load_explicit(&q->next, memory_order_relaxed);
  }
}

/* The worker's own node first; then what others have left, so that nobody waits for a node whose workers sleep. */
static void take_units(swerve_pool *p, int worker) {
  void *scratch = p->scratch + (size_t)worker * p->scratch_bytes;
  const int own = p->node ? p->node[worker] : 0;
  take_from(p, own, scratch);
  for (int other = 1; other < p->nodes; other++) take_from(p, (own + other) % p->nodes, scratch);
}

size_t swerve_pool_node_begin(const swerve_pool *p, size_t units, int node) {
  /* Nodes share as their workers do. Split so that nothing overflows. */
  const size_t threads = (size_t)p->threads, before = (size_t)p->first[node];
  return units / threads * before + units % threads * before / threads;
}

static void join_run(swerve_pool *p, int worker) {
  uint64_t state = atomic_load_explicit(&p->state, memory_order_acquire);
  do {
    if (!(state & OPEN)) return;
  } while (!atomic_compare_exchange_weak_explicit(
    &p->state, &state, state + 1, memory_order_acq_rel, memory_order_acquire));
  take_units(p, worker);
  atomic_fetch_add(&p->finished, 1);
  if (atomic_load(&p->caller_sleeps)) wake(&p->finished, 1);
}

/* Returns the new count of runs, after spinning or sleeping. */
static uint32_t wait_for_run(swerve_pool *p, uint32_t seen) {
  uint32_t runs = atomic_load_explicit(&p->runs, memory_order_acquire);
  if (
    runs == seen && atomic_load_explicit(&p->spins, memory_order_relaxed) && p->spin_ns > 0
    && !atomic_load_explicit(&p->rests, memory_order_relaxed)) {
    const uint64_t until = now_ns() + p->spin_ns;
    do {
      for (int i = 0; i < 64 && runs == seen; i++) {
        relax();
        runs = atomic_load_explicit(&p->runs, memory_order_acquire);
      }
    } while (
      runs == seen && atomic_load_explicit(&p->spins, memory_order_relaxed)
      && !atomic_load_explicit(&p->rests, memory_order_relaxed) && now_ns() < until);
  }
  while (runs == seen) {
    atomic_fetch_add(&p->sleepers, 1);
    sleep_while(&p->runs, seen);
    atomic_fetch_sub(&p->sleepers, 1);
    runs = atomic_load_explicit(&p->runs, memory_order_acquire);
  }
  return runs;
}

static void *work(void *argument) {
  swerve_pool *p = argument;
  const int worker = atomic_fetch_add(&p->next_worker, 1);
  char name[16];
  snprintf(name, sizeof name, "kernel-%d", worker);
  swerve_thread_set_name(name);
  if (p->cpus) swerve_thread_confine(&p->cpus[worker], 1);
  uint32_t seen = 0;
  for (;;) {
    seen = wait_for_run(p, seen);
    if (atomic_load(&p->stops)) return NULL;
    join_run(p, worker);
  }
}

/* The clock of the last tick: reading it costs a load or two, and milliseconds are all that is asked. */
static uint64_t coarse_ns(void) {
#ifdef CLOCK_MONOTONIC_COARSE
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
#else
  return now_ns();
#endif
}

/* Once a second, looking at the clock every few runs: whether other threads want our CPUs. */
static void look_around(swerve_pool *p) {
  if (p->looks++ % 16 != 0) return;
  const uint64_t now = coarse_ns();
  if (now < p->next_look) return;
  p->next_look = now + 1000000000u;
  atomic_store_explicit(&p->spins, !swerve_machine_is_shared(p->threads), memory_order_relaxed);
}

static void wait_for_joined(swerve_pool *p, uint32_t joined) {
  uint32_t finished = atomic_load(&p->finished);
  if (finished < joined && atomic_load_explicit(&p->spins, memory_order_relaxed)) {
    const uint64_t until = now_ns() + p->spin_ns;
    do {
      for (int i = 0; i < 64 && finished < joined; i++) {
        relax();
        finished = atomic_load(&p->finished);
      }
    } while (finished < joined && now_ns() < until);
  }
  while (finished < joined) {
    atomic_store(&p->caller_sleeps, 1);
    finished = atomic_load(&p->finished);
    if (finished < joined) sleep_while(&p->finished, finished);
    finished = atomic_load(&p->finished);
  }
  atomic_store_explicit(&p->caller_sleeps, 0, memory_order_relaxed);
}

void swerve_pool_run(swerve_pool *p, swerve_pool_task task, const void *job, size_t units, size_t grain) {
  if (units == 0) return;
  if (grain == 0) grain = 1;
  pthread_mutex_lock(&p->callers);
  if (p->created == 0 || units <= grain) {
    task(job, 0, units, p->scratch);
    pthread_mutex_unlock(&p->callers);
    return;
  }
  look_around(p);
  atomic_store_explicit(&p->rests, false, memory_order_relaxed);
  p->task = task;
  p->job = job;
  p->grain = grain;
  for (int node = 0; node < p->nodes; node++) {
    p->queue[node].end = swerve_pool_node_begin(p, units, node + 1);
    atomic_store_explicit(&p->queue[node].next, swerve_pool_node_begin(p, units, node), memory_order_relaxed);
  }
  atomic_store_explicit(&p->finished, 0, memory_order_relaxed);
  const uint64_t run = (atomic_load_explicit(&p->state, memory_order_relaxed) >> 32) + 1;
  atomic_store(&p->state, run << 32 | OPEN);
  atomic_fetch_add(&p->runs, 1);
  if (atomic_load(&p->sleepers) > 0) wake(&p->runs, p->created);
  take_units(p, 0);
  const uint64_t state = atomic_fetch_and(&p->state, ~OPEN);
  wait_for_joined(p, (uint32_t)(state & JOINED));
  pthread_mutex_unlock(&p->callers);
}

int swerve_pool_threads(const swerve_pool *p) { return p->created + 1; }

void swerve_pool_rest(swerve_pool *p) { atomic_store_explicit(&p->rests, true, memory_order_relaxed); }

bool swerve_pool_spins(const swerve_pool *p) {
  return p->spin_ns > 0 && atomic_load_explicit(&((swerve_pool *)p)->spins, memory_order_relaxed);
}

int swerve_pool_sleepers(const swerve_pool *p) {
  return (int)atomic_load(&((swerve_pool *)p)->sleepers);
}

void swerve_pool_destroy(swerve_pool *p) {
  if (!p) return;
  atomic_store(&p->stops, true);
  atomic_fetch_add(&p->runs, 1);
  wake(&p->runs, p->created);
  for (int i = 0; i < p->created; i++) pthread_join(p->thread[i], NULL);
  swerve_pages_free(p->scratch, p->scratch_bytes * (size_t)p->threads);
  pthread_mutex_destroy(&p->callers);
  free((void *)p->cpus);
  free((void *)p->node);
  free(p->first);
  free(p->queue);
  free(p->thread);
  free(p);
}

static int *copy_numbers(const int *numbers, int count) {
  int *kept = malloc((size_t)count * sizeof *kept);
  if (kept) memcpy(kept, numbers, (size_t)count * sizeof *kept);
  return kept;
}

/* Which workers and which queue each node has. False without memory. */
static bool arrange_nodes(swerve_pool *p, const int *nodes) {
  p->nodes = nodes ? nodes[p->threads - 1] + 1 : 1;
  p->first = calloc((size_t)p->nodes + 1, sizeof *p->first);
  const size_t bytes = (size_t)p->nodes * sizeof *p->queue;
  if (posix_memalign((void **)&p->queue, 64, bytes) != 0) p->queue = NULL;
  if (!p->first || !p->queue) return false;
  memset(p->queue, 0, bytes);
  p->first[p->nodes] = p->threads;
  if (!nodes) return true;
  for (int worker = p->threads - 1; worker >= 0; worker--) p->first[nodes[worker]] = worker;
  return (p->node = copy_numbers(nodes, p->threads)) != NULL;
}

/* Ascending from 0 without gaps. */
static bool are_nodes(const int *nodes, int threads) {
  for (int i = 0; i < threads; i++) {
    const int before = i ? nodes[i - 1] : 0;
    if (nodes[i] != before && (i == 0 || nodes[i] != before + 1)) return false;
  }
  return true;
}

swerve_pool *swerve_pool_create(
  int threads, const int *cpus, const int *nodes, size_t scratch_bytes, uint64_t spin_ns
) {
  if (threads < 1 || threads > 4096 || (nodes && !are_nodes(nodes, threads))) return NULL;
  swerve_pool *p = NULL;
  if (posix_memalign((void **)&p, 64, sizeof *p) != 0) return NULL;
  memset(p, 0, sizeof *p);
  pthread_mutex_init(&p->callers, NULL);
  p->threads = threads;
  p->spin_ns = spin_ns;
  p->scratch_bytes = (scratch_bytes + 4095) / 4096 * 4096;
  p->scratch = swerve_pages_allocate(p->scratch_bytes * (size_t)threads);
  p->thread = calloc((size_t)threads, sizeof *p->thread);
  atomic_store(&p->next_worker, 1);
  atomic_store(&p->spins, !swerve_machine_is_shared(threads));
  bool complete = p->scratch && p->thread && arrange_nodes(p, nodes);
  if (complete && cpus) complete = (p->cpus = copy_numbers(cpus, threads)) != NULL;
  for (int i = 1; complete && i < threads; i++) {
    complete = pthread_create(p->thread + p->created, NULL, work, p) == 0;
    if (complete) p->created++;
  }
  if (complete) return p;
  swerve_pool_destroy(p);
  return NULL;
}
