#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// An advisory lock on a file (`flock`), as huggingface_hub takes it: one download of a blob at a time, also between
/// processes. Released when the value goes away or the process dies; the file itself stays.
struct FileLock: ~Copyable {
  private let descriptor: Int32

  /// Waits without blocking a thread; ends with `CancellationError` when the task is cancelled.
  /// `onWait` is called once if somebody else holds the lock.
  init(_ path: String, onWait: () -> Void = {}) async throws {
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    if descriptor < 0 { throw FileSystem.failure(path) }
    var isFirstTry = true
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      let code = errno
      guard code == EWOULDBLOCK || code == EINTR else {
        close(descriptor)
        throw HubError.fileSystem(path: path, reason: String(cString: strerror(code)))
      }
      if isFirstTry { onWait() }
      isFirstTry = false
      do { try await Task.sleep(for: .milliseconds(50)) } catch {
        close(descriptor)
        throw error
      }
    }
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }
}
