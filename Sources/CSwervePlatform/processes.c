/* Worker processes and the socket between them and who started them. */
#define _GNU_SOURCE
#include "swerve_platform.h"
#include "affinity.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { MEMORY = 3, CONTROL = 4, REGION = 5, PLACES = 6, FURTHER = 7, MOST_FURTHER = 257 };

int swerve_socket_pair(int ends[2]) {
#ifdef __linux__
  return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0 ? 0 : errno;
#else
  (void)ends;
  return ENOSYS;
#endif
}

int swerve_socket_send(int socket, const void *bytes, size_t count) {
#ifdef __linux__
  ssize_t sent;
  do sent = send(socket, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT); while (sent < 0 && errno == EINTR);
  return sent == (ssize_t)count ? 0 : sent < 0 ? errno : EMSGSIZE;
#else
  (void)socket, (void)bytes, (void)count;
  return ENOSYS;
#endif
}

int swerve_socket_receive(int socket, void *bytes, size_t capacity, int timeout_ms) {
#ifdef __linux__
  struct pollfd p = {socket, POLLIN, 0};
  const int ready = poll(&p, 1, timeout_ms);
  if (ready < 0) return errno == EINTR ? -EAGAIN : -errno;
  if (ready == 0) return -EAGAIN;
  /* MSG_TRUNC: the real length, so that a longer message is not taken for a whole one. */
  const ssize_t count = recv(socket, bytes, capacity, MSG_DONTWAIT | MSG_TRUNC);
  if (count < 0) return errno == EINTR ? -EAGAIN : -errno;
  return (size_t)count > capacity ? -EMSGSIZE : (int)count;
#else
  (void)socket, (void)bytes, (void)capacity, (void)timeout_ms;
  return -ENOSYS;
#endif
}

bool swerve_socket_ended(int socket) {
#ifdef __linux__
  struct pollfd p = {socket, POLLRDHUP, 0};
  return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
#else
  (void)socket;
  return false;
#endif
}

int swerve_process_start(
  const char *path, char *const *arguments, int memory, int control, int region, int places, const int *further,
  int further_count
) {
#ifdef __linux__
  if (further_count < 0 || further_count > MOST_FURTHER) return -EINVAL;
  /* Numbers that those below do not overwrite. */
  const int above = FURTHER + (further_count > 9 ? further_count : 9);
  const int memory_copy = fcntl(memory, F_DUPFD_CLOEXEC, above), control_copy = fcntl(control, F_DUPFD_CLOEXEC, above);
  const int region_copy = region < 0 ? -1 : fcntl(region, F_DUPFD_CLOEXEC, above);
  const int places_copy = places < 0 ? -1 : fcntl(places, F_DUPFD_CLOEXEC, above);
  int further_copies[MOST_FURTHER], copied = 0;
  while (copied < further_count && (further_copies[copied] = fcntl(further[copied], F_DUPFD_CLOEXEC, above)) >= 0)
    copied++;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, 2, 1);
  posix_spawn_file_actions_adddup2(&actions, memory_copy, MEMORY);
  posix_spawn_file_actions_adddup2(&actions, control_copy, CONTROL);
  if (region < 0) posix_spawn_file_actions_addopen(&actions, REGION, "/dev/null", O_RDONLY, 0);
  else posix_spawn_file_actions_adddup2(&actions, region_copy, REGION);
  if (places < 0) posix_spawn_file_actions_addopen(&actions, PLACES, "/dev/null", O_RDONLY, 0);
  else posix_spawn_file_actions_adddup2(&actions, places_copy, PLACES);
  for (int i = 0; i < copied; i++) posix_spawn_file_actions_adddup2(&actions, further_copies[i], FURTHER + i);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
  /* Nothing else is meant for it. Not closed by the process itself: its runtime has opened files of its own by then. */
  posix_spawn_file_actions_addclosefrom_np(&actions, FURTHER + copied);
#endif
  /* A group of its own, so that an interrupt from the terminal reaches only who decides what then happens. */
  posix_spawnattr_setflags(
    &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  pid_t process = 0;
  const bool is_short = memory_copy < 0 || control_copy < 0 || (region >= 0 && region_copy < 0)
    || (places >= 0 && places_copy < 0) || copied < further_count;
  int code = is_short ? EMFILE : 0;
  if (code == 0) {
    cpu_set_t before;
    swerve_thread_release(&before);
    code = posix_spawn(&process, path, &actions, &attributes, arguments, environ);
    sched_setaffinity(0, sizeof before, &before);
  }
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (memory_copy >= 0) close(memory_copy);
  if (control_copy >= 0) close(control_copy);
  if (region_copy >= 0) close(region_copy);
  if (places_copy >= 0) close(places_copy);
  for (int i = 0; i < copied; i++) close(further_copies[i]);
  return code ? -code : process;
#else
  (void)path, (void)arguments, (void)memory, (void)control, (void)region, (void)places, (void)further, (void)further_count;
  return -ENOSYS;
#endif
}

bool swerve_process_enter(int parent) {
#ifdef __linux__
  struct stat control;
  if (fstat(CONTROL, &control) != 0 || !S_ISSOCK(control.st_mode)) return false;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return false;
  /* It may have died before we asked to be told. */
  if (parent > 0 && getppid() != parent) return false;
  fcntl(MEMORY, F_SETFD, FD_CLOEXEC);
  fcntl(CONTROL, F_SETFD, FD_CLOEXEC);
  fcntl(REGION, F_SETFD, FD_CLOEXEC);
  fcntl(PLACES, F_SETFD, FD_CLOEXEC);
  /* Regions for workers of its own follow: files of memory that nobody can resize. */
  const int wanted = F_SEAL_SHRINK | F_SEAL_GROW;
  for (int next = FURTHER, seals; next < FURTHER + MOST_FURTHER; next++) {
    if ((seals = fcntl(next, F_GET_SEALS)) < 0 || (seals & wanted) != wanted) break;
    fcntl(next, F_SETFD, FD_CLOEXEC);
  }
  return true;
#else
  (void)parent;
  return false;
#endif
}

int swerve_region_claim(int file, int timeout_ms) {
#ifdef __linux__
  /* A lock of the process, not of the descriptor, which others have too. It ends with the process, after its mappings. */
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  for (int waited = 0;; waited++) {
    if (fcntl(file, F_SETLK, &whole) == 0) return 0;
    if (errno != EAGAIN && errno != EACCES && errno != EINTR) return errno;
    if (waited >= timeout_ms) return EBUSY;
    usleep(1000);
  }
#else
  (void)file, (void)timeout_ms;
  return ENOSYS;
#endif
}

bool swerve_process_ended(int process) {
  int status;
  const pid_t ended = waitpid(process, &status, WNOHANG);
  return ended == process || (ended < 0 && errno == ECHILD);
}

void swerve_process_kill(int process) {
  int status;
  kill(process, SIGKILL);
  while (waitpid(process, &status, 0) < 0 && errno == EINTR) {}
}

int swerve_process_id(void) { return getpid(); }
