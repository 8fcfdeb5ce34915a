internal import CSwervePlatform

/// A file of memory that one process keeps for others: what they write in it is still there when they have ended, for the
/// next one that maps it. Nobody can resize it, and only its owner's processes that are handed its descriptor reach it.
/// Unless its keeper maps it too, it costs the keeper no memory; pages are taken when somebody touches them.
package final class RegionFile: Sendable {
  package let file: Descriptor
  package let byteCount: Int

  /// - Parameter name: shown in /proc.
  package init(name: String, byteCount: Int) throws(TransferError) {
    let whole = Self.whole(byteCount)
    let code = swerve_shared_create(name, whole)
    guard code >= 0 else { throw .system("create a region of \(whole) bytes", code: -code) }
    file = Descriptor(code)
    self.byteCount = whole
  }

  /// Bytes of a region for so many: 64 more may be read at its end, and large ones are whole huge pages.
  package static func whole(_ byteCount: Int) -> Int {
    let unit = byteCount >= 2 << 20 ? 2 << 20 : 4096
    return (byteCount + 64 + unit - 1) / unit * unit
  }

  /// The region as its keeper sees it who copies blocks in and out: pages count for it once it has touched them.
  package func mapped() throws(TransferError) -> SharedMemory {
    try SharedMemory(mapping: file, byteCount: byteCount, usesHugePages: true)
  }

  /// In a worker's process: the region that it was started with, which nobody else writes to any more.
  ///
  /// - Throws: where there is none, or one of another size, or whoever had it before does not end.
  package static func inherited(byteCount: Int) throws(TransferError) -> SharedMemory {
    let file = Descriptor(WorkerProcess.regionDescriptor)
    let code = swerve_region_claim(file.number, claimMilliseconds)
    guard code == 0 else { throw .system("have a region of keys and values for this worker alone", code: code) }
    return try SharedMemory(mapping: file, byteCount: whole(byteCount), usesHugePages: true)
  }

  /// What a worker that was killed may take to end.
  private static let claimMilliseconds: Int32 = 10_000

  /// In a worker's process: a region for a worker that it starts itself.
  ///
  /// - Parameter number: 0, 1, … of those.
  /// - Throws: where there is none, or one of another size.
  package init(inherited number: Int, byteCount: Int) throws(TransferError) {
    file = Descriptor(WorkerProcess.furtherDescriptor + Int32(number))
    let size = swerve_shared_size(file.number)
    self.byteCount = Self.whole(byteCount)
    guard size == self.byteCount else {
      throw .malformed("region \(number) has \(size) bytes where \(self.byteCount) are due")
    }
  }
}
