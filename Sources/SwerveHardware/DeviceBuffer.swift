// Devices, memory, packed weights, the KV store's bytes and the operations on them. This room must not know a model, a
// request or a token's meaning, and reads no environment.
// Start with Operations.swift (what can be computed), then CPUDevice.swift and AttentionBatch.swift.

internal import CSwervePlatform
package import SwerveCore
internal import Synchronization

/// Bytes a device has handed out and not got back.
package final class MemoryLedger: Sendable {
  private let bytes = Atomic<Int>(0)

  package init() {}

  /// Now in use.
  package var bytesInUse: Int { bytes.load(ordering: .relaxed) }

  func add(_ count: Int) { bytes.add(count, ordering: .relaxed) }
  func remove(_ count: Int) { bytes.subtract(count, ordering: .relaxed) }
}

/// Memory of somebody else, for as long as `owner` lives; 64 bytes behind it can be read.
package struct MemoryRegion {
  package var firstByte: UnsafeMutableRawPointer
  package var byteCount: Int
  package var owner: any AnyObject & Sendable

  package init(firstByte: UnsafeMutableRawPointer, byteCount: Int, owner: any AnyObject & Sendable) {
    self.firstByte = firstByte
    self.byteCount = byteCount
    self.owner = owner
  }
}

/// The one owner of a run of device memory: zeroed at first, given back when it goes; or a view of memory that another
/// object owns (a mapped file, a ring of layer buffers) and that stays as long as this lives. Readable 64 bytes beyond
/// `byteCount`, which kernels use for whole loads at the end.
package struct DeviceBuffer: ~Copyable, @unchecked Sendable {
  // Sendable: the owner is unique, and the memory it points to is reached only through it or through views whose users
  // keep the rules of `CPUDevice`.

  /// First byte, aligned to 4,096 bytes, to 2 MiB for buffers that large and allocated.
  package let pointer: UnsafeMutableRawPointer
  package let byteCount: Int
  private let mappedBytes: Int
  private let ledger: MemoryLedger?
  /// Who owns the memory of a view; nil = this does.
  private let owner: (any AnyObject & Sendable)?

  init(byteCount: Int, ledger: MemoryLedger) throws(HardwareError) {
    guard byteCount >= 0, byteCount < Int.max / 2 else { throw .outOfMemory(requestedBytes: byteCount) }
    let mapped = byteCount + 64
    guard let pages = swerve_pages_allocate(mapped) else { throw .outOfMemory(requestedBytes: byteCount) }
    self.pointer = pages
    self.byteCount = byteCount
    self.mappedBytes = mapped
    self.ledger = ledger
    self.owner = nil
    ledger.add(mapped)
  }

  /// A part of a file in place: no copy, and no memory of the ledger's, for its pages are the page cache's.
  ///
  /// - Precondition: `range` lies in the file with 64 bytes behind it.
  init(mapping range: Range<Int>, of file: FileBytes) {
    guard let base = file.unownedBytes.baseAddress, range.lowerBound >= 0, range.upperBound <= file.count - 64 else {
      preconditionFailure("buffer outside its file")
    }
    self.pointer = UnsafeMutableRawPointer(mutating: base + range.lowerBound)
    self.byteCount = range.count
    self.mappedBytes = 0
    self.ledger = nil
    self.owner = file
  }

  /// Memory that another process keeps, or will find again.
  init(_ region: MemoryRegion) {
    self.init(viewing: region.firstByte, byteCount: region.byteCount, of: region.owner)
  }

  /// A part of memory that `owner` keeps, for which 64 bytes behind it must be readable too.
  init(viewing pointer: UnsafeMutableRawPointer, byteCount: Int, of owner: any AnyObject & Sendable) {
    self.pointer = pointer
    self.byteCount = byteCount
    self.mappedBytes = 0
    self.ledger = nil
    self.owner = owner
  }

  deinit {
    guard owner == nil else { return }
    swerve_pages_free(pointer, mappedBytes)
    ledger?.remove(mappedBytes)
  }

  /// The buffer, or a part of it, as rows.
  ///
  /// - Precondition: the rows lie inside the buffer.
  package func tensor(_ type: ElementType, rows: Int, columns: Int, byteOffset: Int = 0) -> Tensor {
    precondition(
      byteOffset >= 0 && byteOffset + rows * columns * type.byteCount <= byteCount, "tensor outside its buffer")
    return Tensor(pointer: pointer + byteOffset, type: type, rows: rows, columns: columns)
  }
}
