#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The memory of a host tier: address space reserved at once, pages taken from the machine when first touched.
///
/// `@unchecked Sendable` holds because the object only says where memory is and frees it at its end; who may touch which
/// bytes is decided by the tier: a slot being filled belongs to whoever reserved it, and a sealed one is only read.
final class HostArena: @unchecked Sendable {
  private let start: UnsafeMutableRawPointer
  private let byteCount: Int
  /// Bytes from one block to the next: a multiple of 4096, so that blocks can be read from files without a copy.
  let stride: Int
  private let blockBytes: Int

  init(blockCount: Int, blockBytes: Int) throws(TierError) {
    self.blockBytes = blockBytes
    let (rounded, overflows) = blockBytes.addingReportingOverflow(4095)
    stride = rounded & ~4095
    let (total, overflowsToo) = stride.multipliedReportingOverflow(by: blockCount)
    guard !overflows, !overflowsToo else { throw .outOfMemory(bytes: .max) }
    byteCount = total
    #if canImport(Darwin)
      let flags = MAP_PRIVATE | MAP_ANON
    #else
      let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    #endif
    guard let memory = mmap(nil, byteCount, PROT_READ | PROT_WRITE, flags, -1, 0), memory != MAP_FAILED else {
      throw .outOfMemory(bytes: total)
    }
    start = memory
  }

  deinit { munmap(start, byteCount) }

  /// The bytes of block `index`, valid while this object lives.
  func bytes(of index: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: start + index * stride, count: blockBytes)
  }
}

/// Memory handed to a transfer: the bytes and the object that keeps them mapped.
///
/// `@unchecked Sendable` rests on a promise of whoever makes one: until the transfer's completion nobody writes the bytes
/// of a spill, and nobody touches those of a fetch. Pinned slots of a `HostTier` keep it.
package struct BlockMemory: @unchecked Sendable {
  package let bytes: UnsafeMutableRawBufferPointer
  private let owner: any AnyObject & Sendable

  /// `owner` keeps `bytes` valid for as long as it lives.
  package init(bytes: UnsafeMutableRawBufferPointer, owner: any AnyObject & Sendable) {
    self.bytes = bytes
    self.owner = owner
  }
}
