package import SwerveCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A file that appears under its name only when it is complete: it is written beside it under another name, which is
/// removed again where `commit` is not reached.
package final class OutputFile {
  private let path: String
  private let temporary: String
  private let descriptor: Int32
  private var isCommitted = false
  /// Bytes written.
  private(set) var count = 0

  /// - Parameter bytes: refused where the disk has less room.
  package init(folder: String, name: String, bytes: Int) throws(ModelFileError) {
    path = folder + "/" + name
    temporary = "\(path).\(getpid()).tmp"
    var space = statvfs()
    if statvfs(folder, &space) == 0 {
      let free = Int(
        clamping: UInt64(space.f_bavail).multipliedReportingOverflow(by: UInt64(space.f_frsize)).partialValue)
      if free < bytes {
        throw ModelFileError(
          file: path, reason: "needs about \(bytes >> 20) MiB and the disk has \(free >> 20) MiB free; free some space")
      }
    }
    unlink(temporary)
    descriptor = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw ModelFileError(file: path, reason: "cannot be written: \(String(cString: strerror(errno)))")
    }
  }

  deinit {
    close(descriptor)
    if !isCommitted { unlink(temporary) }
  }

  /// Appends.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(ModelFileError) {
    try put(bytes, at: count)
    count += bytes.count
  }

  func write(_ bytes: [UInt8]) throws(ModelFileError) {
    try bytes.withUnsafeBufferPointer { (all) throws(ModelFileError) in try write(UnsafeRawBufferPointer(all)) }
  }

  /// Replaces the first bytes.
  func overwrite(_ bytes: [UInt8]) throws(ModelFileError) {
    try bytes.withUnsafeBufferPointer { (all) throws(ModelFileError) in try put(UnsafeRawBufferPointer(all), at: 0) }
  }

  /// Appends zeros up to a multiple of `alignment`, and at least so many.
  func fill(to alignment: Int, atLeast minimum: Int = 0) throws(ModelFileError) {
    let end = (count + minimum + alignment - 1) / alignment * alignment
    if end > count { try write([UInt8](repeating: 0, count: end - count)) }
  }

  /// What was written so far, mapped.
  func mapped() throws(ModelFileError) -> FileBytes {
    do { return try FileBytes(mapping: temporary) } catch { throw ModelFileError(file: path, reason: error.reason) }
  }

  /// Brings everything to the disk and gives the file its name.
  package func commit() throws(ModelFileError) {
    guard fsync(descriptor) == 0, rename(temporary, path) == 0 else { throw failure() }
    isCommitted = true
  }

  private func put(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(ModelFileError) {
    var done = 0
    while done < bytes.count {
      let written = pwrite(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
      if written < 0 {
        if errno == EINTR { continue }
        throw failure()
      }
      done += written
    }
  }

  private func failure() -> ModelFileError {
    ModelFileError(file: path, reason: "cannot be written: \(String(cString: strerror(errno)))")
  }
}
