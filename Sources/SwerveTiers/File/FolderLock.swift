#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The right to write a tier's folder (`flock` on its file `lock`): one process at a time, given back by its end.
final class FolderLock: Sendable {
  private let descriptor: Int32

  /// Does not wait.
  init(_ folder: String) throws(TierError) {
    let path = folder + "/lock"
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else {
      throw .fileSystem(path: path, reason: String(cString: strerror(errno)))
    }
    if flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      let code = errno
      close(descriptor)
      throw code == EWOULDBLOCK
        ? .inUse(path: folder) : .fileSystem(path: path, reason: String(cString: strerror(code)))
    }
  }

  /// Gives the right back. May be called again.
  func release() { flock(descriptor, LOCK_UN) }

  deinit {
    // Said aloud, because a child process that is about to start may still hold a copy of the descriptor.
    release()
    close(descriptor)
  }
}
