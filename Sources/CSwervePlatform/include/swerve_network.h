/* Streams of bytes between hosts, without waiting where nothing says otherwise. */
#ifndef SWERVE_NETWORK_H
#define SWERVE_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a name without address is answered with, negated: no number of errno. */
enum { SWERVE_NO_SUCH_HOST = 10001 };

/* Listens at an address of this host; port 0: any. The descriptor, or errno's number negated. */
int swerve_stream_listen(const char *host, int port);
/* The port that something listens at; errno's number negated where there is none. */
int swerve_stream_port(int stream);
/* The next connection, -EAGAIN when none came in time. */
int swerve_stream_accept(int listener, int timeout_ms);
/* Connects; every address of the name is tried in turn within the time. The descriptor, or errno's number negated. */
int swerve_stream_connect(const char *host, int port, int timeout_ms);
/* Both ends of a stream within this host. 0, or errno's number. */
int swerve_stream_pair(int ends[2]);

/* Writes what there is room for of two pieces in a row. Bytes, or errno's number negated (-EAGAIN: no room). */
int64_t swerve_stream_write(int stream, const void *first, size_t first_count, const void *second, size_t second_count);
/* Reads what is there, `count` bytes at most. Bytes, 0 at the end, or errno's number negated (-EAGAIN: nothing). */
int64_t swerve_stream_read(int stream, void *bytes, size_t count);
/* Waits until something can be read or written, or the other end is closed. 1, 0 in vain, or errno's number negated. */
int swerve_stream_wait(int stream, bool writing, int timeout_ms);
/* Whether bytes are there: 1, or 0, or -ECONNRESET when none will come. Does not wait. */
int swerve_stream_look(int stream);
/* Nothing more either way; whoever waits wakes up. */
void swerve_stream_end(int stream);
/* The other end's address, as 10.0.0.2:8500. */
bool swerve_stream_peer(int stream, char *text, size_t capacity);

/* Whether all addresses of a host are this machine's own for itself. */
bool swerve_host_is_loopback(const char *host);

#endif
