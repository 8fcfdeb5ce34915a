internal import CSwervePlatform

/// Sealed blocks in host memory: a fixed number of places of `blockBytes`, each with all layers of one block together.
///
/// A place is free, being filled, or sealed. Sealed blocks without pins are evicted by the policy when a place is needed.
/// Pins are counted: a running sequence that reads a block holds one, and so does a transfer.
///
/// One thread owns a tier. Other threads touch only the bytes of places pinned for them (`memory`). A look-up is O(1);
/// reserving, pinning the first time and unpinning the last time are O(log places). Nothing is allocated after `init`.
package final class HostTier {
  private enum State: UInt8 { case free, filling, sealed }

  package struct Statistics: Sendable, Hashable {
    package var hits = 0
    package var misses = 0
    /// Look-ups whose table key was right and whose tokens, parent or scope were not.
    package var collisions = 0
    package var insertions = 0
    package var evictions = 0
    /// Reservations that found every place pinned.
    package var refusals = 0
    /// Uses of a slot whose place had got another block.
    package var staleReferences = 0
    /// Blocks whose bytes were no longer those that were sealed.
    package var damages = 0
  }

  package let blockBytes: Int
  package let blockCount: Int
  package private(set) var statistics = Statistics()
  /// Places being filled or sealed.
  package private(set) var usedCount = 0
  /// Places with at least one pin.
  package private(set) var pinnedCount = 0

  private let arena: HostArena
  private let keyMask: ShortDigest
  /// Table key → place, of the places being filled and the sealed ones.
  private var table: [ShortDigest: Int32]
  private var order: EvictionOrder
  /// Free places, the next one last.
  private var free: [Int32]
  /// [places] each:
  private var states: [State]
  private var generations: [UInt32]
  private var pins: [Int32]
  private var lossy: [Bool]
  private var costs: [Double]
  /// Of the bytes that were sealed.
  private var checks: [UInt64]
  private var identities: [BlockIdentity?]

  /// As many places of `blockBytes` as `capacityBytes` holds. Throws when that is none, or no address space is left.
  /// `keyBits` (1 ... 128) shortens the table's keys, for tests that need collisions.
  package init(
    blockBytes: Int, capacityBytes: Int, policy: EvictionPolicy = .lru, keyBits: Int = 128
  ) throws(TierError) {
    guard blockBytes > 0, blockBytes <= 1 << 32 else {
      throw .configuration(tier: "host", reason: "needs blocks of 1 byte to 4 GiB, not \(blockBytes) bytes")
    }
    let count = min(capacityBytes / ((blockBytes + 4095) & ~4095), Int(Int32.max) - 1)
    guard count >= 1 else {
      throw .configuration(
        tier: "host", reason: "of \(capacityBytes) bytes cannot hold one block of \(blockBytes); make it larger")
    }
    self.blockBytes = blockBytes
    blockCount = count
    arena = try HostArena(blockCount: count, blockBytes: blockBytes)
    keyMask = ShortDigest(
      low: keyBits >= 64 ? .max : (1 << UInt64(keyBits)) - 1,
      high: keyBits >= 128 ? .max : keyBits <= 64 ? 0 : (1 << UInt64(keyBits - 64)) - 1)
    table = Dictionary(minimumCapacity: count)
    order = EvictionOrder(policy: policy, capacity: count)
    free = (0..<Int32(count)).reversed()
    states = [State](repeating: .free, count: count)
    generations = [UInt32](repeating: 0, count: count)
    pins = [Int32](repeating: 0, count: count)
    lossy = [Bool](repeating: false, count: count)
    costs = [Double](repeating: 0, count: count)
    checks = [UInt64](repeating: 0, count: count)
    identities = [BlockIdentity?](repeating: nil, count: count)
  }

  // MARK: Finding

  /// The sealed block of an identity, counted as a use; nil when it is not here. Everything is compared.
  package func find(_ identity: BlockIdentity) -> HostSlot? {
    guard let index = table[key(identity)].map({ Int($0) }) else {
      statistics.misses += 1
      return nil
    }
    guard identities[index] == identity else {
      statistics.collisions += 1
      statistics.misses += 1
      return nil
    }
    guard states[index] == .sealed else {
      statistics.misses += 1
      return nil
    }
    statistics.hits += 1
    order.use(index, costPerByte: costs[index] / Double(blockBytes), isEvictable: false)
    return slot(index)
  }

  /// Whether somebody is filling the block now.
  package func isFilling(_ identity: BlockIdentity) -> Bool {
    guard let index = table[key(identity)].map({ Int($0) }) else { return false }
    return states[index] == .filling && identities[index] == identity
  }

  /// Whether a sealed block's bytes went through a lower precision on their way here. False for a stale slot.
  package func isLossy(_ slot: HostSlot) -> Bool { place(of: slot).map { lossy[$0] } ?? false }

  /// The bytes of a pinned place, for a transfer or a copy; nil for a slot that is stale or not pinned. Valid until the
  /// pin is given back. Only the one who reserved a place being filled may write.
  package func memory(of slot: HostSlot) -> BlockMemory? {
    guard let index = place(of: slot), pins[index] > 0 else { return nil }
    return BlockMemory(bytes: arena.bytes(of: index), owner: arena)
  }

  // MARK: Filling

  /// A place for a block, evicting another one if need be. `reloadCost`: what bringing the block back by other means
  /// would cost, in any unit the caller keeps to (seconds of recomputation); used by the `cost` policy.
  package func reserve(_ identity: BlockIdentity, reloadCost: Double) -> HostReservation {
    let key = key(identity)
    if let index = table[key].map({ Int($0) }) {
      guard identities[index] == identity else {
        statistics.collisions += 1
        return .refused
      }
      return states[index] == .sealed ? .present(slot(index)) : .filling(slot(index))
    }
    if free.isEmpty {
      guard let victim = order.removeFirst() else {
        statistics.refusals += 1
        return .refused
      }
      statistics.evictions += 1
      release(victim)
    }
    let index = Int(free.removeLast())
    usedCount += 1
    pinnedCount += 1
    states[index] = .filling
    pins[index] = 1
    costs[index] = reloadCost
    identities[index] = identity
    table[key] = Int32(index)
    return .reserved(slot(index))
  }

  /// Ends filling: the block is findable, immutable, and still pinned once. False for a slot that is not being filled.
  @discardableResult
  package func seal(_ slot: HostSlot, lossy isLossy: Bool = false) -> Bool {
    guard let index = place(of: slot), states[index] == .filling else { return false }
    states[index] = .sealed
    lossy[index] = isLossy
    checks[index] = check(index)
    statistics.insertions += 1
    order.use(index, costPerByte: costs[index] / Double(blockBytes), isEvictable: false)
    return true
  }

  /// Ends filling without a block: the place is free again. False for a slot that is not being filled.
  @discardableResult
  package func abandon(_ slot: HostSlot) -> Bool {
    guard let index = place(of: slot), states[index] == .filling else { return false }
    pins[index] = 0
    pinnedCount -= 1
    release(index)
    return true
  }

  /// Copies a block in: `fill` writes all `blockBytes`. The block is sealed and not pinned afterwards. Nil when every
  /// place is pinned or the block is being filled by somebody else.
  package func put(
    _ identity: BlockIdentity, reloadCost: Double, lossy: Bool = false, fill: (UnsafeMutableRawBufferPointer) -> Void
  ) -> HostSlot? {
    switch reserve(identity, reloadCost: reloadCost) {
    case .present(let slot): return slot
    case .filling, .refused: return nil
    case .reserved(let slot):
      fill(arena.bytes(of: Int(slot.index)))
      seal(slot, lossy: lossy)
      unpin(slot)
      return slot
    }
  }

  private func check(_ index: Int) -> UInt64 {
    let bytes = arena.bytes(of: index)
    return swerve_memory_check(bytes.baseAddress, bytes.count)
  }

  // MARK: Pins

  /// `pin`, for who reads the bytes: the first of several holders compares them with what was sealed, O(bytes). False for
  /// one that has changed, which is forgotten, and for a slot that is stale or being filled.
  package func pinIntact(_ slot: HostSlot) -> Bool {
    guard let index = place(of: slot), states[index] == .sealed else { return false }
    if pins[index] == 0, check(index) != checks[index] {
      statistics.damages += 1
      evict(slot)
      return false
    }
    return pin(slot)
  }

  /// One more holder of a sealed block. False for a slot that is stale or being filled.
  package func pin(_ slot: HostSlot) -> Bool {
    guard let index = place(of: slot), states[index] == .sealed else { return false }
    if pins[index] == 0 {
      pinnedCount += 1
      order.remove(index)
    }
    pins[index] += 1
    return true
  }

  /// One holder less of a sealed block; the last one makes it evictable. False for a slot without pins.
  @discardableResult
  package func unpin(_ slot: HostSlot) -> Bool {
    guard let index = place(of: slot), states[index] == .sealed, pins[index] > 0 else { return false }
    pins[index] -= 1
    if pins[index] == 0 {
      pinnedCount -= 1
      order.insert(index)
    }
    return true
  }

  /// Forgets a sealed block without pins. False when it has some, or the slot is stale.
  @discardableResult
  package func evict(_ slot: HostSlot) -> Bool {
    guard let index = place(of: slot), states[index] == .sealed, pins[index] == 0 else { return false }
    order.remove(index)
    release(index)
    return true
  }

  /// Forgets every block that has no pins. O(places)
  package func removeAll() {
    while let index = order.first {
      order.remove(index)
      release(index)
    }
  }

  // MARK: Places

  private func key(_ identity: BlockIdentity) -> ShortDigest {
    let short = identity.digest.short
    return ShortDigest(low: short.low & keyMask.low, high: short.high & keyMask.high)
  }

  private func slot(_ index: Int) -> HostSlot { HostSlot(index: Int32(index), generation: generations[index]) }

  private func place(of slot: HostSlot) -> Int? {
    let index = Int(slot.index)
    guard generations.indices.contains(index), generations[index] == slot.generation, states[index] != .free else {
      statistics.staleReferences += 1
      return nil
    }
    return index
  }

  /// Makes a place free that is in no order and has no pins.
  private func release(_ index: Int) {
    if let identity = identities[index] { table[key(identity)] = nil }
    identities[index] = nil
    states[index] = .free
    lossy[index] = false
    generations[index] &+= 1
    usedCount -= 1
    free.append(Int32(index))
  }

  /// All sealed blocks. O(places): for tests and idle time.
  package var sealedSlots: [HostSlot] { states.indices.filter { states[$0] == .sealed }.map { slot($0) } }

  /// What does not add up, or nil. O(places): for tests and idle time.
  package func violation() -> String? {
    if free.count + usedCount != blockCount { return "\(free.count) free and \(usedCount) used of \(blockCount)" }
    if table.count != usedCount { return "\(table.count) in the table, \(usedCount) used" }
    var pinned = 0
    for index in 0..<blockCount {
      if pins[index] > 0 { pinned += 1 }
      let isEvictable = states[index] == .sealed && pins[index] == 0
      if order.contains(index) != isEvictable { return "place \(index) is wrongly in or out of the order" }
      guard let identity = identities[index] else {
        if states[index] != .free { return "place \(index) holds a block without identity" }
        continue
      }
      if table[key(identity)] != Int32(index) { return "place \(index) is not found by its key" }
      if states[index] == .filling, pins[index] != 1 {
        return "place \(index) is being filled with \(pins[index]) pins"
      }
    }
    if pinned != pinnedCount { return "\(pinned) pinned places, \(pinnedCount) counted" }
    return order.violation()
  }
}
