internal import Synchronization

/// A prompt's blocks on their way here: reserved places, filled layer by layer by the connection's thread, read by the
/// engine thread block by block as soon as all layers of one are there.
package final class IncomingBlocks: Sendable {
  private struct State {
    /// [blocks]; −1 = given back.
    var places: [Int32]
    /// [blocks] layers that are missing.
    var missing: [Int]
    /// [blocks × layers] what came.
    var seen: [Bool]
    /// Why nothing more comes; nil while something may. Empty = all came.
    var end: String?
    var isWriting = false
    var isReleased = false

    var isComplete: Bool { missing.allSatisfy { $0 == 0 } }
  }

  package let id: BlockTransferID
  /// Of the tokens that the blocks are of.
  package let digest: [UInt8]
  package let generation: UInt32
  /// The first block that comes, and how many.
  package let first: Int
  package let count: Int
  private let layerCount: Int
  private let layerBytes: Int
  private let arena: BlockArena
  private let state: Mutex<State>

  /// nil where the arena is too full.
  init?(
    _ id: BlockTransferID, digest: [UInt8], first: Int, count: Int, layerCount: Int, layerBytes: Int, arena: BlockArena
  ) {
    guard let (places, generation) = arena.reserve(count) else { return nil }
    self.id = id
    self.digest = digest
    self.generation = generation
    self.first = first
    self.count = count
    self.layerCount = layerCount
    self.layerBytes = layerBytes
    self.arena = arena
    state = Mutex(
      State(
        places: places, missing: Array(repeating: layerCount, count: count),
        seen: Array(repeating: false, count: count * layerCount)))
  }

  deinit { release() }

  // MARK: The connection's thread

  /// A frame's layer of blocks. `onComplete` is told when it was the last that was missing, before anybody can read it: who
  /// has been answered finds it counted.
  ///
  /// - Throws: `.malformed` for one that is not of this transfer, or came before.
  func take(
    _ frame: BlockFrame, _ payload: UnsafeRawBufferPointer, from peer: String, onComplete: () -> Void
  ) throws(TransferError) {
    guard frame.transfer == id, frame.generation == generation else {
      throw .malformed(
        "\(peer) sent blocks of generation \(frame.generation), and these places are of generation \(generation) now")
    }
    let (begin, count, layer) = (Int(frame.first) - first, Int(frame.count), Int(frame.layer))
    guard begin >= 0, count > 0, begin + count <= self.count, layer < layerCount, payload.count == count * layerBytes
    else {
      throw .malformed(
        "\(peer) sent layer \(frame.layer) of blocks \(frame.first) to \(Int(frame.first) + count - 1) in \(payload.count) "
          + "bytes, which is not what was reserved")
    }
    // Nobody else writes, and what is not complete nobody reads: the copy needs no lock.
    let places = state.withLock { state -> [Int32]? in
      if state.isReleased || state.end != nil { return nil }
      if (begin..<begin + count).contains(where: { state.seen[$0 * layerCount + layer] }) { return [] }
      state.isWriting = true
      return Array(state.places[begin..<begin + count])
    }
    guard let places else { return }
    if places.isEmpty { throw .malformed("\(peer) sent layer \(layer) of a block twice") }
    for (index, place) in places.enumerated() {
      UnsafeMutableRawBufferPointer(rebasing: arena.bytes(of: place)[(layer * layerBytes)...])
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: payload[(index * layerBytes)..<((index + 1) * layerBytes)]))
    }
    let isOver = state.withLock { state in
      for index in begin..<begin + count {
        state.seen[index * layerCount + layer] = true
        state.missing[index] -= 1
      }
      if state.isComplete { onComplete() }
      state.isWriting = false
      return state.isReleased
    }
    if isOver { giveBack() }
  }

  /// Nothing more comes; `why` is empty when all came.
  func end(_ why: String) { state.withLock { if $0.end == nil { $0.end = why } } }

  // MARK: The engine thread

  /// Whether all of a block is here. O(1)
  package func isReady(_ position: Int) -> Bool {
    guard (first..<first + count).contains(position) else { return false }
    return state.withLock { $0.missing[position - first] == 0 && $0.places[position - first] >= 0 }
  }

  /// Whether a block may still become ready, when it is not.
  package func mayCome(_ position: Int) -> Bool {
    guard (first..<first + count).contains(position) else { return false }
    return state.withLock { $0.end == nil && !$0.isReleased && $0.places[position - first] >= 0 }
  }

  /// Why blocks are missing that were announced; nil while they may come, and when all came.
  package var failure: String? {
    state.withLock { state in
      guard let end = state.end, !state.isComplete else { return nil }
      return end.isEmpty ? "the producer ended before it had sent all blocks" : end
    }
  }

  /// Lends the bytes of a block that is ready, all layers one after another, and gives its place back. False where it is
  /// not.
  package func load(_ position: Int, _ body: (UnsafeRawBufferPointer) -> Void) -> Bool {
    guard isReady(position) else { return false }
    let place = state.withLock { $0.places[position - first] }
    body(UnsafeRawBufferPointer(arena.bytes(of: place)))
    let isOurs = state.withLock { state in
      defer { state.places[position - first] = -1 }
      return state.places[position - first] >= 0
    }
    if isOurs { arena.release(place) }
    return true
  }

  /// Nothing of it is wanted any more: all places are free, at once or when the connection's thread has ended its copy.
  package func release() {
    let isIdle = state.withLock { state in
      state.isReleased = true
      return !state.isWriting
    }
    if isIdle { giveBack() }
  }

  private func giveBack() {
    let places = state.withLock { state in
      defer { for index in state.places.indices { state.places[index] = -1 } }
      return state.places.filter { $0 >= 0 }
    }
    for place in places { arena.release(place) }
  }

  var isComplete: Bool { state.withLock { $0.isComplete } }

  var isReleased: Bool { state.withLock { $0.isReleased } }
}
