#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The bytes of an overflow file: read and written at offsets, by several threads at once, not the same ones.
package protocol OverflowMedium: Sendable {
  /// Writes all of `bytes`, or throws with nothing said about what is there then.
  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileFailure)
  /// Fills `bytes`; throws also where the file ends before.
  func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileFailure)
}

/// A file without a name: nobody else can open it, and it goes with the process, however that ends.
package final class UnnamedFile: OverflowMedium {
  private let descriptor: Int32

  /// In a folder that this process may write, which is made where it is missing.
  package init(folder: String) throws(TierError) {
    do throws(FileFailure) { try PosixFileSystem().makeFolder(folder) } catch {
      throw .fileSystem(path: folder, reason: String(cString: strerror(error.code)))
    }
    var template = Array("\(folder)/overflow-XXXXXX".utf8CString)
    // Readable by this user only, as mkstemp makes it.
    let opened = template.withUnsafeMutableBufferPointer { name in name.baseAddress.map { mkstemp($0) } ?? -1 }
    guard opened >= 0 else { throw .fileSystem(path: folder, reason: String(cString: strerror(errno))) }
    descriptor = opened
    template.withUnsafeBufferPointer { name in
      if let name = name.baseAddress { unlink(name) }
    }
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
  }

  deinit { close(descriptor) }

  package func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileFailure) {
    var done = 0
    while done < bytes.count {
      let count = pwrite(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { throw FileFailure(code: count < 0 ? errno : ENOSPC) }
      done += count
    }
  }

  package func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileFailure) {
    var done = 0
    while done < bytes.count {
      let count = pread(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { throw FileFailure(code: count < 0 ? errno : EIO) }
      done += count
    }
  }
}
