internal import CSwervePlatform
internal import Synchronization

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Address space reserved at once, pages taken from the machine when first touched.
///
/// `@unchecked Sendable` holds because the object only says where memory is and frees it at its end; who may touch which
/// bytes is decided by its owners: the engine thread fills a piece before it posts it, a connection's thread fills a
/// block before it is ready, and from then on both are only read.
final class BlockPages: @unchecked Sendable {
  let start: UnsafeMutableRawPointer
  let byteCount: Int

  init(byteCount: Int) throws(TransferError) {
    #if canImport(Darwin)
      let flags = MAP_PRIVATE | MAP_ANON
    #else
      let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    #endif
    let memory = mmap(nil, max(byteCount, 1), PROT_READ | PROT_WRITE, flags, -1, 0)
    guard let memory, memory != MAP_FAILED else {
      throw .system("reserve \(byteCount) bytes for blocks", code: errno)
    }
    start = memory
    self.byteCount = byteCount
  }

  deinit { munmap(start, max(byteCount, 1)) }

  /// Gives pages back; they are zero when touched again.
  func forget(at offset: Int, _ count: Int) {
    let page = 4096
    let begin = (offset + page - 1) / page * page
    let end = (offset + count) / page * page
    if end > begin { _ = madvise(start + begin, end - begin, MADV_DONTNEED) }
  }
}

/// Places for blocks that come from another engine. A place belongs to one transfer at a time.
package final class BlockArena: Sendable {
  private struct State {
    var free: [Int32]
    var nextGeneration: UInt32 = 0
  }

  package let blockBytes: Int
  package let placeCount: Int
  private let pages: BlockPages
  private let state: Mutex<State>

  /// As many places as `capacityBytes` holds.
  ///
  /// - Throws: `.refused` when that is none.
  package init(blockBytes: Int, capacityBytes: Int) throws(TransferError) {
    let count = min(capacityBytes / max(blockBytes, 1), 1 << 24)
    guard count > 0 else {
      throw .refused(
        "a buffer of \(capacityBytes) bytes does not hold one block of \(blockBytes); raise kv_buffer_size")
    }
    self.blockBytes = blockBytes
    placeCount = count
    pages = try BlockPages(byteCount: count * blockBytes)
    state = Mutex(State(free: (0..<Int32(count)).reversed()))
  }

  package var freeCount: Int { state.withLock { $0.free.count } }

  /// Places and their generation, which no other reservation has; nil when there are too few.
  func reserve(_ count: Int) -> (places: [Int32], generation: UInt32)? {
    state.withLock { state in
      guard count <= state.free.count else { return nil }
      let places = Array(state.free.suffix(count))
      state.free.removeLast(count)
      state.nextGeneration &+= 1
      return (places, state.nextGeneration)
    }
  }

  func release(_ place: Int32) {
    pages.forget(at: Int(place) * blockBytes, blockBytes)
    state.withLock { $0.free.append(place) }
  }

  func bytes(of place: Int32) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: pages.start + Int(place) * blockBytes, count: blockBytes)
  }
}
