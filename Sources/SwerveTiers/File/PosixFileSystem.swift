#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The operating system's files. Buffered: blocks read again soon come from the page cache.
package struct PosixFileSystem: BlockFileSystem {
  package init() {}

  package func makeFolder(_ path: String) throws(FileFailure) {
    if mkdir(path, 0o700) == 0 || errno == EEXIST { return }
    guard errno == ENOENT, let end = path.lastIndex(of: "/"), end > path.startIndex else { throw failure() }
    try makeFolder(String(path[..<end]))
    if mkdir(path, 0o700) != 0, errno != EEXIST { throw failure() }
  }

  package func list(_ path: String) throws(FileFailure) -> [String] {
    guard let folder = opendir(path) else { throw failure() }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: entry.pointee.d_name)) {
          String(cString: $0)
        }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  package func openForReading(_ path: String) throws(FileFailure) -> OpenedFile {
    // Not waiting: somebody may have put a pipe there.
    let descriptor = try unlessInterrupted { open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      let error = failure()
      _ = cClose(descriptor)
      throw error
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      _ = cClose(descriptor)
      throw FileFailure(code: EINVAL)
    }
    #if canImport(Darwin)
      let time = status.st_mtimespec
    #else
      let time = status.st_mtim
    #endif
    let lastUse = Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    return OpenedFile(descriptor: descriptor, byteCount: Int(status.st_size), lastUse: lastUse)
  }

  package func create(_ path: String) throws(FileFailure) -> Int32 {
    try unlessInterrupted { open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600) }
  }

  package func read(
    _ descriptor: Int32, into bytes: UnsafeMutableRawBufferPointer, at offset: Int
  ) throws(FileFailure) -> Int {
    try unlessInterrupted { pread(descriptor, bytes.baseAddress, bytes.count, off_t(offset)) }
  }

  package func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(FileFailure) -> Int {
    let count = try unlessInterrupted { cWrite(descriptor, bytes.baseAddress, bytes.count) }
    if count == 0, bytes.count > 0 { throw FileFailure(code: EIO) }
    return count
  }

  package func synchronize(_ descriptor: Int32) throws(FileFailure) {
    _ = try unlessInterrupted { fsync(descriptor) }
  }

  package func synchronizeFolder(_ path: String) throws(FileFailure) {
    let descriptor = try unlessInterrupted { open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY) }
    defer { _ = cClose(descriptor) }
    _ = try unlessInterrupted { fsync(descriptor) }
  }

  package func touch(_ descriptor: Int32) throws(FileFailure) {
    _ = try unlessInterrupted { futimens(descriptor, nil) }
  }

  package func close(_ descriptor: Int32) throws(FileFailure) {
    // Not repeated when interrupted: the descriptor is gone either way.
    if cClose(descriptor) != 0, errno != EINTR { throw failure() }
  }

  package func rename(_ path: String, to target: String) throws(FileFailure) {
    if cRename(path, target) != 0 { throw failure() }
  }

  package func remove(_ path: String) throws(FileFailure) {
    if unlink(path) != 0 { throw failure() }
  }

  private func failure() -> FileFailure { FileFailure(code: errno) }

  private func unlessInterrupted<Value: BinaryInteger>(_ call: () -> Value) throws(FileFailure) -> Value {
    while true {
      let value = call()
      if value >= 0 { return value }
      if errno != EINTR { throw failure() }
    }
  }
}

// The C functions whose names the methods hide.
private func cClose(_ descriptor: Int32) -> Int32 { close(descriptor) }
private func cWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
  write(descriptor, bytes, count)
}
private func cRename(_ path: String, _ target: String) -> Int32 { rename(path, target) }
