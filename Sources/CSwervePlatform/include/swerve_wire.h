#ifndef SWERVE_WIRE_H
#define SWERVE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Stream sockets between hosts, which never block longer than they are told. A negative result is −errno; −ETIMEDOUT
   when the time is up. */

/* Listens on an address (a name, or numbers of either family); port 0 = any free one, told in `bound`. */
int swerve_wire_listen(const char *host, int port, int *bound);
/* The next connection; its numeric address goes to `peer`. */
int swerve_wire_accept(int listener, int timeout_ms, char *peer, size_t capacity);
int swerve_wire_connect(const char *host, int port, int timeout_ms);
/* All bytes or a failure. A connection that the peer closed is −ECONNRESET. */
int swerve_wire_send(int socket, const void *bytes, size_t count, int timeout_ms);
int swerve_wire_receive(int socket, void *bytes, size_t count, int timeout_ms);
/* Ends both directions, so that whoever waits for the socket returns. */
void swerve_wire_end(int socket);
/* Whether every address of a name is of this host alone. */
bool swerve_wire_is_loopback(const char *host);

#endif
