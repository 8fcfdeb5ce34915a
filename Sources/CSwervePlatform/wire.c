// Sockets between hosts, and the checksum of what goes over them.
#define _GNU_SOURCE
#include "swerve_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Waits for `events`; 0 when they are there, else a negative errno.
static int wait_for(int socket, short events, int64_t deadline) {
  for (;;) {
    int64_t left = deadline - now_ms();
    if (left <= 0) return -ETIMEDOUT;
    struct pollfd entry = {socket, events, 0};
    int count = poll(&entry, 1, left > 1000000 ? 1000000 : (int)left);
    if (count > 0) return 0;
    if (count < 0 && errno != EINTR) return -errno;
  }
}

static int prepare(int socket) {
  int one = 1;
  int flags = fcntl(socket, F_GETFL);
  if (flags < 0 || fcntl(socket, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
  fcntl(socket, F_SETFD, FD_CLOEXEC);
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
#ifdef SO_NOSIGPIPE
  setsockopt(socket, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof one);
#endif
  return 0;
}

static int resolve(const char *host, int port, int flags, struct addrinfo **list) {
  char service[16];
  snprintf(service, sizeof service, "%d", port);
  struct addrinfo hints;
  memset(&hints, 0, sizeof hints);
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  return getaddrinfo(host, service, &hints, list) == 0 ? 0 : -EHOSTUNREACH;
}

int swerve_wire_listen(const char *host, int port, int *bound) {
  struct addrinfo *list;
  int code = resolve(host, port, AI_PASSIVE, &list);
  if (code < 0) return code;
  code = -EADDRNOTAVAIL;
  for (struct addrinfo *entry = list; entry; entry = entry->ai_next) {
    int file = socket(entry->ai_family, entry->ai_socktype, entry->ai_protocol);
    if (file < 0) {
      code = -errno;
      continue;
    }
    int one = 1;
    setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    if (bind(file, entry->ai_addr, entry->ai_addrlen) < 0 || listen(file, 128) < 0
        || getsockname(file, (struct sockaddr *)&own, &size) < 0 || (code = prepare(file)) < 0) {
      if (code == 0 || code == -EADDRNOTAVAIL) code = -errno;
      close(file);
      continue;
    }
    *bound = ntohs(own.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&own)->sin6_port
                                             : ((struct sockaddr_in *)&own)->sin_port);
    freeaddrinfo(list);
    return file;
  }
  freeaddrinfo(list);
  return code;
}

int swerve_wire_accept(int listener, int timeout_ms, char *peer, size_t capacity) {
  int64_t deadline = now_ms() + timeout_ms;
  for (;;) {
    int code = wait_for(listener, POLLIN, deadline);
    if (code < 0) return code;
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    int file = accept(listener, (struct sockaddr *)&address, &size);
    if (file < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED) continue;
      return -errno;
    }
    code = prepare(file);
    if (code < 0) {
      close(file);
      return code;
    }
    if (getnameinfo((struct sockaddr *)&address, size, peer, (socklen_t)capacity, NULL, 0, NI_NUMERICHOST) != 0)
      snprintf(peer, capacity, "a peer");
    return file;
  }
}

int swerve_wire_connect(const char *host, int port, int timeout_ms) {
  int64_t deadline = now_ms() + timeout_ms;
  struct addrinfo *list;
  int code = resolve(host, port, 0, &list);
  if (code < 0) return code;
  code = -EHOSTUNREACH;
  for (struct addrinfo *entry = list; entry; entry = entry->ai_next) {
    int file = socket(entry->ai_family, entry->ai_socktype, entry->ai_protocol);
    if (file < 0) {
      code = -errno;
      continue;
    }
    if ((code = prepare(file)) == 0) {
      if (connect(file, entry->ai_addr, entry->ai_addrlen) == 0) code = 0;
      else if (errno != EINPROGRESS) code = -errno;
      else if ((code = wait_for(file, POLLOUT, deadline)) == 0) {
        int failure = 0;
        socklen_t size = sizeof failure;
        getsockopt(file, SOL_SOCKET, SO_ERROR, &failure, &size);
        code = -failure;
      }
    }
    if (code == 0) {
      freeaddrinfo(list);
      return file;
    }
    close(file);
  }
  freeaddrinfo(list);
  return code;
}

int swerve_wire_send(int socket, const void *bytes, size_t count, int timeout_ms) {
  int64_t deadline = now_ms() + timeout_ms;
  const char *at = bytes;
  while (count > 0) {
    ssize_t sent = send(socket, at, count, MSG_NOSIGNAL);
    if (sent > 0) {
      at += sent;
      count -= (size_t)sent;
    } else if (sent < 0 && errno == EINTR) {
      continue;
    } else if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      int code = wait_for(socket, POLLOUT, deadline);
      if (code < 0) return code;
    } else {
      return sent < 0 ? -errno : -EPIPE;
    }
  }
  return 0;
}

int swerve_wire_receive(int socket, void *bytes, size_t count, int timeout_ms) {
  int64_t deadline = now_ms() + timeout_ms;
  char *at = bytes;
  while (count > 0) {
    ssize_t got = recv(socket, at, count, 0);
    if (got > 0) {
      at += got;
      count -= (size_t)got;
    } else if (got == 0) {
      return -ECONNRESET;
    } else if (errno == EINTR) {
      continue;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      int code = wait_for(socket, POLLIN, deadline);
      if (code < 0) return code;
    } else {
      return -errno;
    }
  }
  return 0;
}

void swerve_wire_end(int socket) { shutdown(socket, SHUT_RDWR); }

bool swerve_wire_is_loopback(const char *host) {
  struct addrinfo *list;
  if (resolve(host, 0, 0, &list) < 0) return false;
  bool all = true;
  for (struct addrinfo *entry = list; entry; entry = entry->ai_next) {
    if (entry->ai_family == AF_INET) {
      uint32_t address = ntohl(((struct sockaddr_in *)entry->ai_addr)->sin_addr.s_addr);
      all = all && address >> 24 == 127;
    } else if (entry->ai_family == AF_INET6) {
      all = all && IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)entry->ai_addr)->sin6_addr);
    } else {
      all = false;
    }
  }
  freeaddrinfo(list);
  return all;
}
