/* Streams of bytes between hosts. */
#define _GNU_SOURCE
#include "swerve_platform.h"

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
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

static int prepare(int stream) {
  const int one = 1;
  /* A step's messages are small and awaited. */
  setsockopt(stream, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(stream, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
#ifdef TCP_USER_TIMEOUT
  const unsigned int unacknowledged_ms = 20000;
  setsockopt(stream, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
#endif
#ifdef SO_NOSIGPIPE
  setsockopt(stream, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof one);
#endif
  const int flags = fcntl(stream, F_GETFL);
  if (flags < 0 || fcntl(stream, F_SETFL, flags | O_NONBLOCK) != 0) return errno;
  return fcntl(stream, F_SETFD, FD_CLOEXEC) == 0 ? 0 : errno;
}

static int resolve(const char *host, int port, bool passive, struct addrinfo **list) {
  struct addrinfo hints;
  memset(&hints, 0, sizeof hints);
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  char service[16];
  snprintf(service, sizeof service, "%d", port);
  return getaddrinfo(host && *host ? host : NULL, service, &hints, list) == 0 ? 0 : SWERVE_NO_SUCH_HOST;
}

int swerve_stream_listen(const char *host, int port) {
  struct addrinfo *list = NULL;
  int code = resolve(host, port, true, &list);
  if (code) return -code;
  int listener = -1;
  code = EADDRNOTAVAIL;
  for (struct addrinfo *a = list; a && listener < 0; a = a->ai_next) {
    listener = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
    if (listener < 0) {
      code = errno;
      continue;
    }
    const int one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fcntl(listener, F_SETFD, FD_CLOEXEC) != 0 || fcntl(listener, F_SETFL, O_NONBLOCK) != 0
        || bind(listener, a->ai_addr, a->ai_addrlen) != 0 || listen(listener, 64) != 0) {
      code = errno;
      close(listener);
      listener = -1;
    }
  }
  freeaddrinfo(list);
  return listener < 0 ? -code : listener;
}

int swerve_stream_port(int stream) {
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  if (getsockname(stream, (struct sockaddr *)&address, &length) != 0) return -errno;
  if (address.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&address)->sin_port);
  if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
  return -EAFNOSUPPORT;
}

int swerve_stream_accept(int listener, int timeout_ms) {
  const int ready = swerve_stream_wait(listener, false, timeout_ms);
  if (ready <= 0) return ready == 0 ? -EAGAIN : ready;
  const int stream = accept(listener, NULL, NULL);
  if (stream < 0) return errno == EINTR || errno == ECONNABORTED ? -EAGAIN : -errno;
  const int code = prepare(stream);
  if (code == 0) return stream;
  close(stream);
  return -code;
}

static int connect_one(const struct addrinfo *a, uint64_t until_ns) {
  const int stream = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
  if (stream < 0) return -errno;
  int code = prepare(stream);
  if (code == 0 && connect(stream, a->ai_addr, a->ai_addrlen) != 0) {
    code = errno;
    if (code == EINPROGRESS || code == EINTR) {
      const uint64_t now = swerve_monotonic_ns();
      const int left = now >= until_ns ? 0 : (int)((until_ns - now) / 1000000u);
      const int ready = swerve_stream_wait(stream, true, left);
      socklen_t length = sizeof code;
      if (ready <= 0) code = ready == 0 ? ETIMEDOUT : -ready;
      else if (getsockopt(stream, SOL_SOCKET, SO_ERROR, &code, &length) != 0) code = errno;
    }
  }
  if (code == 0) return stream;
  close(stream);
  return -code;
}

int swerve_stream_connect(const char *host, int port, int timeout_ms) {
  struct addrinfo *list = NULL;
  int code = resolve(host, port, false, &list);
  if (code) return -code;
  const uint64_t until = swerve_monotonic_ns() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000000u;
  int stream = -EHOSTUNREACH;
  for (struct addrinfo *a = list; a && stream < 0; a = a->ai_next) stream = connect_one(a, until);
  freeaddrinfo(list);
  return stream;
}

int swerve_stream_pair(int ends[2]) {
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return errno;
  for (int i = 0; i < 2; i++) {
    fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    fcntl(ends[i], F_SETFL, O_NONBLOCK);
  }
  return 0;
}

int64_t swerve_stream_write(int stream, const void *first, size_t first_count, const void *second, size_t second_count) {
  struct iovec pieces[2] = {{(void *)first, first_count}, {(void *)second, second_count}};
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = first_count ? pieces : pieces + 1;
  message.msg_iovlen = (first_count ? 1 : 0) + (second_count ? 1 : 0);
  ssize_t count;
  do count = sendmsg(stream, &message, MSG_NOSIGNAL | MSG_DONTWAIT); while (count < 0 && errno == EINTR);
  if (count >= 0) return count;
  return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

int64_t swerve_stream_read(int stream, void *bytes, size_t count) {
  ssize_t got;
  do got = recv(stream, bytes, count, MSG_DONTWAIT); while (got < 0 && errno == EINTR);
  if (got >= 0) return got;
  return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

int swerve_stream_wait(int stream, bool writing, int timeout_ms) {
  struct pollfd p = {stream, writing ? POLLOUT : POLLIN, 0};
  const int ready = poll(&p, 1, timeout_ms);
  if (ready < 0) return errno == EINTR ? 0 : -errno;
  return ready > 0;
}

int swerve_stream_look(int stream) {
  char byte;
  ssize_t got;
  do got = recv(stream, &byte, 1, MSG_DONTWAIT | MSG_PEEK); while (got < 0 && errno == EINTR);
  if (got > 0) return 1;
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : -ECONNRESET;
}

void swerve_stream_end(int stream) { shutdown(stream, SHUT_RDWR); }

bool swerve_stream_peer(int stream, char *text, size_t capacity) {
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  char host[INET6_ADDRSTRLEN], service[16];
  if (getpeername(stream, (struct sockaddr *)&address, &length) != 0) return false;
  if (getnameinfo((struct sockaddr *)&address, length, host, sizeof host, service, sizeof service,
                  NI_NUMERICHOST | NI_NUMERICSERV)
      != 0)
    return false;
  snprintf(text, capacity, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
  return true;
}

static bool is_loopback(const struct sockaddr *address) {
  if (address->sa_family == AF_INET)
    return (ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24) == 127;
  if (address->sa_family == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
  return false;
}

bool swerve_host_is_loopback(const char *host) {
  struct addrinfo *list = NULL;
  if (!host || !*host || resolve(host, 0, false, &list)) return false;
  bool all = list != NULL;
  for (struct addrinfo *a = list; a; a = a->ai_next) all = all && is_loopback(a->ai_addr);
  freeaddrinfo(list);
  return all;
}
