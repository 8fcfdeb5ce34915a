// Links between workers: memory of two processes, channels over it, control messages, and the start of a worker's
// process. This room knows what a step plan looks like as bytes; it must not know a model, a sequence's fate or a weight.
// Start with SharedChannel.swift, then Messages/.

internal import CSwervePlatform

/// Memory that two workers see: of two processes (a file of memory, passed on as a descriptor, sealed against resizing,
/// for its owner alone), or of one. Zeroed at first; pages are taken when they are touched.
package final class SharedMemory: Sendable {
  package let byteCount: Int
  /// The file that another process maps; nil within one process. Closed with this object.
  package let file: Descriptor?
  /// Aligned to a page. What two processes may write in it, and when, is the users' protocol.
  nonisolated(unsafe) package let start: UnsafeMutableRawPointer

  /// Memory for another process.
  ///
  /// - Parameter name: shown in /proc.
  package init(name: String, byteCount: Int) throws(TransferError) {
    let code = swerve_shared_create(name, Self.pages(byteCount))
    guard code >= 0 else { throw .system("create \(byteCount) bytes of shared memory", code: -code) }
    let file = Descriptor(code)
    self.file = file
    self.byteCount = Self.pages(byteCount)
    start = try Self.map(code, self.byteCount)
  }

  /// Memory for another thread of this process.
  package init(byteCount: Int) throws(TransferError) {
    file = nil
    self.byteCount = Self.pages(byteCount)
    start = try Self.map(-1, self.byteCount)
  }

  /// Memory that another process made.
  ///
  /// - Parameter usesHugePages: for memory that is read from end to end.
  /// - Throws: for a file that could be resized under us, or has another size.
  package init(mapping file: Descriptor, byteCount: Int, usesHugePages: Bool = false) throws(TransferError) {
    let size = swerve_shared_size(file.number)
    guard size >= 0 else { throw .system("map shared memory", code: Int32(-size)) }
    guard size == Self.pages(byteCount) else {
      throw .malformed("shared memory has \(size) bytes where \(Self.pages(byteCount)) were announced")
    }
    self.file = file
    self.byteCount = Self.pages(byteCount)
    start = try Self.map(file.number, self.byteCount, isHuge: usesHugePages)
  }

  deinit { swerve_shared_unmap(start, byteCount) }

  private static func map(
    _ file: Int32, _ byteCount: Int, isHuge: Bool = false
  ) throws(TransferError) -> UnsafeMutableRawPointer {
    guard let start = isHuge ? swerve_shared_map_huge(file, byteCount) : swerve_shared_map(file, byteCount) else {
      throw .system("map \(byteCount) bytes", code: 12)
    }
    return start
  }

  private static func pages(_ byteCount: Int) -> Int { (max(byteCount, 1) + 4095) & ~4095 }

  /// A part of the memory.
  ///
  /// - Precondition: it lies inside.
  package func part(at offset: Int, _ byteCount: Int) -> UnsafeMutableRawBufferPointer {
    precondition(offset >= 0 && byteCount >= 0 && offset + byteCount <= self.byteCount, "part outside shared memory")
    return UnsafeMutableRawBufferPointer(start: start + offset, count: byteCount)
  }
}
