internal import Dispatch
internal import Synchronization

/// Bytes that transfers may hold at a time.
final class BlockBudget: Sendable {
  let limit: Int
  private let used = Mutex(0)

  init(limit: Int) { self.limit = limit }

  var usedBytes: Int { used.withLock { $0 } }

  func take(_ bytes: Int) -> Bool {
    used.withLock { used in
      guard used + bytes <= limit else { return false }
      used += bytes
      return true
    }
  }

  func giveBack(_ bytes: Int) { used.withLock { $0 -= bytes } }
}

/// A prompt's blocks on their way out. The engine thread copies each layer's rows here as soon as they are computed, once,
/// and never waits; a thread of the transfer's own sends them.
package final class OutgoingBlocks: Sendable {
  /// A layer of some blocks.
  struct Piece: Sendable {
    var layer: Int
    var blocks: Range<Int>
  }

  enum Next {
    case piece(Piece)
    case nothing
    /// All was posted and taken.
    case complete
    case aborted(String)
  }

  private struct State {
    var pieces: [Piece] = []
    var taken = 0
    var isComplete = false
    var failure: String?
    var isWaiting = false
  }

  package let id: BlockTransferID
  package let digest: [UInt8]
  package let count: Int
  package let layerBytes: Int
  private let budget: BlockBudget
  /// [layers][blocks] of `layerBytes`: what one piece holds is in one run.
  private let pages: BlockPages
  private let state = Mutex(State())
  private let arrival = DispatchSemaphore(value: 0)

  /// nil where the budget is used up, or the machine has no room.
  init?(_ id: BlockTransferID, digest: [UInt8], count: Int, layerCount: Int, layerBytes: Int, budget: BlockBudget) {
    let bytes = count * layerCount * layerBytes
    guard budget.take(bytes) else { return nil }
    do { pages = try BlockPages(byteCount: bytes) } catch {
      budget.giveBack(bytes)
      return nil
    }
    self.id = id
    self.digest = digest
    self.count = count
    self.layerBytes = layerBytes
    self.budget = budget
  }

  deinit { budget.giveBack(pages.byteCount) }

  // MARK: The engine thread

  /// Where a layer of a block is put before it is posted.
  package func place(layer: Int, block: Int) -> UnsafeMutableRawPointer {
    precondition(block >= 0 && block < count, "no such block of the transfer")
    return pages.start + (layer * count + block) * layerBytes
  }

  /// A layer of blocks is in its places.
  package func post(layer: Int, blocks: Range<Int>) {
    change { if $0.failure == nil { $0.pieces.append(Piece(layer: layer, blocks: blocks)) } }
  }

  /// All was posted.
  package func complete() { change { $0.isComplete = true } }

  /// Nothing more comes; whoever receives computes the rest.
  package func abort(_ why: String) { change { if !$0.isComplete && $0.failure == nil { $0.failure = why } } }

  /// Whether it makes no sense to post anything.
  package var hasFailed: Bool { state.withLock { $0.failure != nil } }

  // MARK: The sending thread

  /// The receiver is gone, or never came.
  func fail(_ why: String) { change { if $0.failure == nil { $0.failure = why } } }

  func bytes(of piece: Piece) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(
      start: pages.start + (piece.layer * count + piece.blocks.lowerBound) * layerBytes,
      count: piece.blocks.count * layerBytes)
  }

  /// The next piece, waiting at most so many seconds.
  func next(within seconds: Double) -> Next {
    let deadline = DispatchTime.now() + seconds
    while true {
      let next = state.withLock { state -> Next? in
        if let failure = state.failure { return .aborted(failure) }
        if state.taken < state.pieces.count {
          state.taken += 1
          return .piece(state.pieces[state.taken - 1])
        }
        if state.isComplete { return .complete }
        if DispatchTime.now() >= deadline { return .nothing }
        state.isWaiting = true
        return nil
      }
      if let next { return next }
      _ = arrival.wait(timeout: deadline)
    }
  }

  private func change(_ body: (inout State) -> Void) {
    let wakes = state.withLock { state in
      body(&state)
      defer { state.isWaiting = false }
      return state.isWaiting
    }
    if wakes { arrival.signal() }
  }
}
