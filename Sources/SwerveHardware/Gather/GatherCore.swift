internal import Dispatch
internal import SwerveCore
internal import Synchronization

/// What a ring and its threads share.
final class GatherCore: Sendable {
  enum Phase {
    case free
    /// Reads are to be begun or under way.
    case filling
    case ready
    /// In use by who took it.
    case taken
    /// Nobody wants it any more, and reads are under way.
    case abandoned
    case failed
  }

  struct Slot {
    var phase = Phase.free
    var item = 0
    /// Pieces whose read has begun, of all.
    var begun = 0
    var pieces = 0
    /// Reads under way.
    var reading = 0
    var failure = GatherError("")
  }

  struct State {
    var slots: [Slot]
    /// Slots that will be taken, in order.
    var order: [Int] = []
    var taken: Int?
    /// The item that is fetched next, and how often its round goes through the tail from there.
    var next = 0
    var passesLeft = 1
    /// Passes of the latest round: the guess for the one after it. Most rounds sample once.
    var passes = 1
    var isAwaited = false
    var isEnding = false
    var traffic = GatherTraffic()
  }

  let items: [GatherItem]
  let tailCount: Int
  let slotBytes: Int
  let memory: GatherMemory
  let sources: [any GatherSource]
  let configuration: GatherRing.Configuration
  let state: Mutex<State>
  let work = DispatchSemaphore(value: 0)
  private let changed = DispatchSemaphore(value: 0)

  init(
    items: [GatherItem], tailCount: Int, slotCount: Int, slotBytes: Int, memory: GatherMemory,
    sources: [any GatherSource], configuration: GatherRing.Configuration
  ) {
    self.items = items
    self.tailCount = tailCount
    self.slotBytes = slotBytes
    self.memory = memory
    self.sources = sources
    self.configuration = configuration
    var state = State(slots: Array(repeating: Slot(), count: slotCount))
    state.order.reserveCapacity(slotCount)
    self.state = Mutex(state)
    self.state.withLock { request(&$0) }
  }

  var traffic: GatherTraffic {
    var now = state.withLock { $0.traffic }
    for source in sources { now.fetchedBytes += source.fetchedBytes }
    return now
  }

  func end() {
    state.withLock { $0.isEnding = true }
    work.signal()
  }

  // MARK: What will be needed

  func begin(tailPasses: Int) {
    let passes = tailCount == 0 ? 0 : tailPasses
    state.withLock { state in
      state.passes = passes
      if state.next < items.count - tailCount { state.passesLeft = passes }
    }
  }

  /// Gives every free slot the next item.
  private func request(_ state: inout State) {
    for index in state.slots.indices where state.slots[index].phase == .free {
      let pieces = (aligned(state.next) + configuration.pieceBytes - 1) / configuration.pieceBytes
      state.slots[index] = Slot(phase: .filling, item: state.next, pieces: pieces)
      state.order.append(index)
      advance(&state)
      for _ in 0..<pieces { work.signal() }
    }
  }

  private func aligned(_ item: Int) -> Int { GatherItem.aligned(items[item].byteCount) }

  private func advance(_ state: inout State) {
    let tail = items.count - tailCount
    state.next += 1
    if state.next == tail, state.passesLeft == 0 { state.next = items.count }
    guard state.next == items.count else { return }
    if state.passesLeft > 1 {
      state.passesLeft -= 1
      state.next = tail
    } else {
      state.passesLeft = state.passes
      state.next = 0
    }
  }

  // MARK: Taking

  func take(_ item: Int) throws(GatherError) -> Int {
    precondition(items.indices.contains(item), "an item that the ring does not have")
    var begin: ContinuousClock.Instant?
    var isLate = false
    while true {
      let found = state.withLock { look(&$0, for: item, gaveUp: isLate) }
      switch found {
      case .success(let slot?):
        if let begin { count(stall: begin) }
        return slot
      case .failure(let error):
        if let begin { count(stall: begin) }
        throw error
      case .success(nil): break
      }
      let start = begin ?? ContinuousClock.now
      begin = start
      let left = configuration.deadline - (ContinuousClock.now - start) / .seconds(1)
      isLate = changed.wait(timeout: .now() + max(0, left)) == .timedOut
    }
  }

  private func count(stall begin: ContinuousClock.Instant) {
    let nanoseconds = Int((ContinuousClock.now - begin) / .nanoseconds(1))
    state.withLock { state in
      state.traffic.stallNanoseconds += nanoseconds
      state.traffic.lateItems += 1
    }
  }

  /// The slot that has the item, nil while it does not.
  private func look(_ state: inout State, for item: Int, gaveUp: Bool) -> Result<Int?, GatherError> {
    precondition(state.taken == nil, "an item was taken and not given back")
    while let first = state.order.first, state.slots[first].item != item { abandonFirst(&state) }
    if state.order.isEmpty {
      // Out of turn: from here on in order again.
      state.passesLeft = item < items.count - tailCount ? state.passes : max(1, state.passesLeft)
      state.next = item
      request(&state)
    }
    guard let first = state.order.first else { return waiting(&state, gaveUp: gaveUp) }
    switch state.slots[first].phase {
    case .ready:
      state.order.removeFirst()
      state.slots[first].phase = .taken
      state.taken = first
      return .success(first)
    case .failed:
      let failure = state.slots[first].failure
      abandonFirst(&state)
      return .failure(failure)
    default: break
    }
    if gaveUp { abandonFirst(&state) }
    return waiting(&state, gaveUp: gaveUp)
  }

  private func waiting(_ state: inout State, gaveUp: Bool) -> Result<Int?, GatherError> {
    if gaveUp {
      state.isAwaited = false
      return .failure(
        GatherError("weights were not delivered within \(Int(configuration.deadline)) s; look at the disk or the peer"))
    }
    state.isAwaited = true
    return .success(nil)
  }

  private func abandonFirst(_ state: inout State) {
    let slot = state.order.removeFirst()
    if state.slots[slot].phase != .failed { state.traffic.wastedItems += 1 }
    state.slots[slot].begun = state.slots[slot].pieces
    state.slots[slot].phase = state.slots[slot].reading > 0 ? .abandoned : .free
  }

  func restart() {
    state.withLock { state in
      precondition(state.taken == nil, "an item was taken and not given back")
      while !state.order.isEmpty { abandonFirst(&state) }
      state.passesLeft = state.passes
      state.next = 0
      request(&state)
    }
  }

  func giveBack() {
    state.withLock { state in
      guard let slot = state.taken else { return }
      state.taken = nil
      state.slots[slot].phase = .free
      request(&state)
    }
  }

  // MARK: Fetching

  struct Piece {
    var slot: Int
    var item: GatherItem
    /// From the item's first byte.
    var offset: Int
    /// Bytes that must come, of those that there is room for.
    var needed: Int
    var count: Int
  }

  /// The next piece to read, in the order in which items will be taken.
  func nextPiece(_ state: inout State) -> Piece? {
    for slot in state.order where state.slots[slot].phase == .filling {
      guard state.slots[slot].begun < state.slots[slot].pieces else { continue }
      let item = items[state.slots[slot].item]
      let offset = state.slots[slot].begun * configuration.pieceBytes
      state.slots[slot].begun += 1
      state.slots[slot].reading += 1
      let count = min(configuration.pieceBytes, GatherItem.aligned(item.byteCount) - offset)
      return Piece(
        slot: slot, item: item, offset: offset, needed: min(count, item.byteCount - offset), count: count)
    }
    return nil
  }

  /// A read has ended.
  func finish(_ piece: Piece, failure: GatherError?) {
    let wakes = state.withLock { state in
      state.slots[piece.slot].reading -= 1
      state.traffic.readBytes += failure == nil ? piece.needed : 0
      if let failure, state.slots[piece.slot].phase == .filling {
        state.slots[piece.slot].failure = failure
        state.slots[piece.slot].begun = state.slots[piece.slot].pieces
        state.slots[piece.slot].phase = .failed
        state.traffic.failedItems += 1
      }
      let slot = state.slots[piece.slot]
      // A failed slot's memory is free when its last read has ended; `failed` stays until it was told.
      guard slot.reading == 0 && slot.begun == slot.pieces else { return false }
      switch slot.phase {
      case .filling: state.slots[piece.slot].phase = .ready
      case .abandoned:
        state.slots[piece.slot].phase = .free
        request(&state)
      default: break
      }
      defer { state.isAwaited = false }
      return state.isAwaited
    }
    if wakes { changed.signal() }
  }
}
