/// A call of the operating system that failed.
package struct FileFailure: Error, Hashable, Sendable {
  /// `errno`.
  package let code: Int32

  package init(code: Int32) { self.code = code }
}

/// What a file tier asks of the operating system, so that tests can make each call fail, be short or be slow.
///
/// Called from several threads at once. A descriptor is closed by whoever opened it.
package protocol BlockFileSystem: Sendable {
  /// Makes the folder, and those above it, readable by this user only; succeeds when it exists.
  func makeFolder(_ path: String) throws(FileFailure)
  /// Names in a folder, without `.` and `..`.
  func list(_ path: String) throws(FileFailure) -> [String]
  /// Opens for reading; the size and the time of last use in nanoseconds since 1970.
  func openForReading(_ path: String) throws(FileFailure) -> OpenedFile
  /// Creates or empties a file readable by this user only, open for writing.
  func create(_ path: String) throws(FileFailure) -> Int32
  /// Bytes read at an offset: possibly fewer than asked for, 0 at the end.
  func read(_ descriptor: Int32, into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileFailure) -> Int
  /// Bytes written at the end: possibly fewer than given, never 0.
  func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(FileFailure) -> Int
  /// Waits until the file's bytes are on the medium.
  func synchronize(_ descriptor: Int32) throws(FileFailure)
  /// Waits until the folder's names are on the medium.
  func synchronizeFolder(_ path: String) throws(FileFailure)
  /// Sets the time of last use to now.
  func touch(_ descriptor: Int32) throws(FileFailure)
  func close(_ descriptor: Int32) throws(FileFailure)
  /// Replaces `target` if there is one.
  func rename(_ path: String, to target: String) throws(FileFailure)
  func remove(_ path: String) throws(FileFailure)
}

/// A file open for reading.
package struct OpenedFile: Sendable {
  package let descriptor: Int32
  package let byteCount: Int
  package let lastUse: Int64

  package init(descriptor: Int32, byteCount: Int, lastUse: Int64) {
    self.descriptor = descriptor
    self.byteCount = byteCount
    self.lastUse = lastUse
  }
}

extension BlockFileSystem {
  /// Fills `bytes` from an offset; false when the file ends before.
  func fill(_ bytes: UnsafeMutableRawBufferPointer, from descriptor: Int32, at offset: Int) throws(FileFailure) -> Bool
  {
    var done = 0
    while done < bytes.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: bytes[done...])
      let count = try read(descriptor, into: rest, at: offset + done)
      if count == 0 { return false }
      done += count
    }
    return true
  }

  func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) throws(FileFailure) {
    var done = 0
    while done < bytes.count {
      done += try write(descriptor, UnsafeRawBufferPointer(rebasing: bytes[done...]))
    }
  }

  /// Writes a whole file under `temporary` and gives it its name: it is there completely or not at all, unless the
  /// machine loses power and `synchronizes` is false. Removes the temporary on a failure.
  func replace(
    _ path: String, temporary: String, synchronizes: Bool, _ pieces: UnsafeRawBufferPointer...
  ) throws(FileFailure) {
    let descriptor = try create(temporary)
    do throws(FileFailure) {
      do throws(FileFailure) {
        for piece in pieces { try writeAll(piece, to: descriptor) }
        if synchronizes { try synchronize(descriptor) }
      } catch {
        try? close(descriptor)
        throw error
      }
      // Some file systems say only now that the disk is full.
      try close(descriptor)
      try rename(temporary, to: path)
    } catch {
      try? remove(temporary)
      throw error
    }
  }

  /// A whole file of at most `limit` bytes; nil when it is larger.
  func contents(of path: String, limit: Int) throws(FileFailure) -> [UInt8]? {
    let file = try openForReading(path)
    defer { try? close(file.descriptor) }
    if file.byteCount > limit { return nil }
    var bytes = [UInt8](repeating: 0, count: file.byteCount)
    var failure: FileFailure?
    let isWhole = bytes.withUnsafeMutableBytes { buffer in
      do throws(FileFailure) { return try fill(buffer, from: file.descriptor, at: 0) } catch {
        failure = error
        return false
      }
    }
    if let failure { throw failure }
    return isWhole ? bytes : nil
  }
}
