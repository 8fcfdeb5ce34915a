/* Open MPI, opened when it is asked for: point-to-point messages of bytes between the processes that a launcher started.
 * One thread of a process, the one that opened it, may call any of this. */
#ifndef SWERVE_MPI_H
#define SWERVE_MPI_H

#include <stdbool.h>
#include <stddef.h>

/* Opens the library and joins the job. NULL, or why not, in a few words; the text lives as long as the process. */
const char *swerve_mpi_open(void);
int swerve_mpi_rank(void);
int swerve_mpi_size(void);

/* Begins to send; `request` then says when the bytes may change. 0, or MPI's error. */
int swerve_mpi_send(const void *bytes, size_t count, int peer, int tag, void **request);
/* Whether what was begun has ended; it counts as ended from then on. */
int swerve_mpi_test(void **request, bool *ended);
/* Whether a message is there, and its bytes. */
int swerve_mpi_probe(int peer, int tag, bool *there, size_t *count);
/* Takes a message that is there. */
int swerve_mpi_receive(void *bytes, size_t count, int peer, int tag);
/* Leaves the job; all its processes must. */
void swerve_mpi_close(void);
/* Ends the job, all of it. */
void swerve_mpi_abort(int code);

/* Leaves the core to others for about so long. */
void swerve_nap(unsigned microseconds);

#endif
