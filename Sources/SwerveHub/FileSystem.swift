#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The few calls this room needs, with errors that name the path.
enum FileSystem {
  enum Kind { case missing, file, folder }

  /// Follows links, so a link to nowhere is missing.
  static func kind(of path: String) -> Kind {
    var status = stat()
    guard stat(path, &status) == 0 else { return .missing }
    return status.st_mode & S_IFMT == S_IFDIR ? .folder : .file
  }

  /// Bytes of a file; nil where there is none.
  static func size(of path: String) -> Int? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    return Int(status.st_size)
  }

  /// Free bytes for this user where `folder` lies; nil where the system does not say.
  static func available(in folder: String) -> Int? {
    var status = statvfs()
    guard statvfs(folder, &status) == 0 else { return nil }
    return Int(clamping: UInt64(status.f_bavail) &* UInt64(status.f_frsize))
  }

  /// Creates `path` and what is missing above it.
  static func makeFolders(_ path: String) throws(HubError) {
    if kind(of: path) == .folder { return }
    if let slash = path.lastIndex(of: "/"), slash != path.startIndex { try makeFolders(String(path[..<slash])) }
    if mkdir(path, 0o777) != 0, errno != EEXIST { throw failure(path) }
    if kind(of: path) != .folder { throw .fileSystem(path: path, reason: "a file stands where a folder is needed") }
  }

  static func rename(_ from: String, to path: String) throws(HubError) {
    #if canImport(Glibc)
      let status = Glibc.rename(from, path)
    #elseif canImport(Musl)
      let status = Musl.rename(from, path)
    #else
      let status = Darwin.rename(from, path)
    #endif
    if status != 0 { throw failure(path) }
  }

  /// Removes a file; none there is as good.
  static func remove(_ path: String) throws(HubError) {
    if unlink(path) != 0, errno != ENOENT { throw failure(path) }
  }

  /// Makes `path` a link to `target`, replacing what was there in one step.
  static func link(_ path: String, to target: String) throws(HubError) {
    let temporary = path + ".link-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    if symlink(target, temporary) != 0 { throw failure(path) }
    try rename(temporary, to: path)
  }

  /// Replaces a small file in one step.
  static func write(_ text: String, to path: String) throws(HubError) {
    let temporary = path + ".new-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    var file = try AppendingFile(temporary, keepingContents: false)
    var text = text
    let result = text.withUTF8 { bytes in
      Result { () throws(HubError) in try file.append(UnsafeRawBufferPointer(bytes)) }
    }
    try result.get()
    try file.close()
    try rename(temporary, to: path)
  }

  /// A small text file without white space around it; nil where there is none.
  static func text(of path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
    guard count > 0 else { return nil }
    return String(decoding: bytes[..<count].filter { $0 > 0x20 && $0 < 0x7F }, as: UTF8.self)
  }

  /// The error of the last failed call.
  static func failure(_ path: String) -> HubError {
    let code = errno
    if code == ENOSPC || code == EDQUOT { return .diskFull(folder: path, needed: nil, available: nil) }
    return .fileSystem(path: path, reason: String(cString: strerror(code)))
  }
}

/// A file that grows at its end. Closing reports what the disk still refused.
struct AppendingFile: ~Copyable {
  private let path: String
  private var descriptor: Int32

  init(_ path: String, keepingContents: Bool) throws(HubError) {
    self.path = path
    descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (keepingContents ? 0 : O_TRUNC), 0o666)
    if descriptor < 0 { throw FileSystem.failure(path) }
  }

  deinit { if descriptor >= 0 { _ = unistdClose(descriptor) } }

  mutating func append(_ bytes: UnsafeRawBufferPointer) throws(HubError) {
    var start = 0
    while start < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
      let written = write(descriptor, rest.baseAddress, rest.count)
      if written < 0 {
        if errno == EINTR { continue }
        throw FileSystem.failure(path)
      }
      start += written
    }
  }

  mutating func close() throws(HubError) {
    let status = unistdClose(descriptor)
    descriptor = -1
    if status != 0 { throw FileSystem.failure(path) }
  }
}

/// `close` under a name that a method of the same name does not hide.
private func unistdClose(_ descriptor: Int32) -> Int32 { close(descriptor) }
