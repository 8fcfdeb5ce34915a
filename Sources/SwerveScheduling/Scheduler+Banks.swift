import SwerveCore

/// Parts of the pool, each with blocks of its own memory: a bank is what one data worker holds. A request's blocks lie in
/// one bank, so that attention of a sequence is one worker's work; which bank is decided when the first of its choices is
/// admitted, and again after all of them were preempted. Only what is larger than a bank lies in several
/// (`Scheduler+Stretches.swift`).
package struct Banks: Sendable {
  package enum State: Sendable, Hashable {
    /// Takes sequences.
    case open
    /// Keeps those it has; takes no others.
    case draining
    /// Keeps what is in its memory, and nobody computes with it until it is resumed: takes no sequences, plans none.
    case suspended
    /// Has no memory behind it.
    case closed
  }

  /// [banks]
  package private(set) var states: [State]
  package private(set) var closedCount: Int
  package private(set) var suspendedCount = 0
  /// The bank of the last look-up, and those of the stretches behind the first.
  var chosen = 0
  var chosenFurther: [Int32] = []
  /// Banks that there are, or will be again: what sequences may count on.
  var expected: Int

  init(count: Int, open: Int) {
    states = (0..<count).map { $0 < open ? .open : .closed }
    closedCount = count - min(open, count)
    expected = min(open, count)
    chosenFurther.reserveCapacity(count)
  }

  package var count: Int { states.count }
  mutating func set(_ bank: Int, _ state: State) {
    states[bank] = state
    closedCount = states.count { $0 == .closed }
    suspendedCount = states.count { $0 == .suspended }
  }
}

extension SchedulerConfiguration {
  /// Blocks of a bank.
  package var bankBlocks: Int { blockCount / max(bankCount, 1) }

  func bankProblems() -> [String] {
    guard (1...4096).contains(bankCount), blockCount % bankCount == 0 else {
      return [
        "The scheduler's bankCount must be between 1 and 4096 and divide its \(blockCount) blocks, not \(bankCount)."
      ]
    }
    var found: [String] = []
    if !(0...bankCount).contains(openBanks ?? bankCount) {
      found.append("The scheduler's openBanks must be between 0 and \(bankCount), not \(openBanks ?? bankCount).")
    }
    if let spanTokens, spanTokens < 1 || spanTokens % blockSize != 0 {
      found.append("The scheduler's spanTokens must be whole blocks of \(blockSize) tokens, not \(spanTokens).")
    }
    guard bankCount > 1 else { return found }
    if overflowBlockCount > 0 {
      found.append("Places in an overflow store need a pool of one bank, not of \(bankCount).")
    }
    return found
  }
}

extension Scheduler {
  // MARK: Whose is what

  /// The bank of a sequence's first blocks; of all of them, unless it is larger than a bank.
  func bank(of slot: SlotID) -> Int {
    pool.bankCount == 1 ? 0 : Int(groups[running[Int(slot.rawValue)].group].bank)
  }

  /// Free blocks that a sequence may take next.
  func freeBlocks(for slot: SlotID) -> Int { bankToGrow(slot).map { pool.freeCount(in: $0) } ?? 0 }

  /// The last sequence in order of those that hold blocks where this one needs some: none before it.
  func lastInBank(of slot: SlotID) -> SlotID {
    if pool.bankCount == 1 { return order[order.count - 1] }
    let bank = bankNeeded(by: slot)
    return order.last { other in other == slot || bank.map { holds(other, in: $0) } ?? false } ?? slot
  }

  /// Where the chains of a group's blocks start: each bank has its own, so that a chain never leaves its bank.
  func chainStart(of group: SequenceGroup) -> BlockHash {
    if banks.chosen == 0 && group.bank == 0 { return group.saltHash }
    let bank = group.running > 0 ? Int(group.bank) : banks.chosen
    if bank == 0 { return group.saltHash }
    let spread = UInt64(bank) &* 0x9E37_79B9_7F4A_7C15
    return BlockHash(low: group.saltHash.low ^ spread, high: group.saltHash.high &+ spread)
  }

  // MARK: Choosing

  /// Looks an entry's prefix up in the bank it belongs to: that of its request's running choices; else, of those that take
  /// sequences and have room, the one that knows most of it, and between equals the one with most free blocks.
  mutating func findPrefixInBanks(of entry: RequestQueue.Entry) -> Int {
    let group = groups[entry.group]
    if group.running > 0 { return findPrefix(of: entry, in: Int(group.bank)) }
    var best = -1
    var last = -1
    var known = 0
    var bestRank = (hasRoom: false, tokens: -1, free: Int.min)
    for bank in 0..<pool.bankCount where banks.states[bank] == .open {
      known = findPrefix(of: entry, in: bank)
      last = bank
      let revived = hits.count { pool.referenceCount(of: $0) == 0 }
      let free = pool.freeCount(in: bank)
      let blocks = min(configuration.blocks(for: known), Int(group.stretch))
      let rank = (
        hasRoom: blocks - hits.count + revived <= free, tokens: hitTokens,
        free: configuration.fillsBanksInOrder ? -bank : free
      )
      let isBetter =
        rank.hasRoom != bestRank.hasRoom
        ? rank.hasRoom : (rank.tokens, rank.free) > (bestRank.tokens, bestRank.free)
      if best < 0 || isBetter {
        best = bank
        bestRank = rank
      }
    }
    return best == last && best >= 0 ? known : findPrefix(of: entry, in: max(best, 0))
  }

  /// Whether an entry may take blocks of a bank: one that is open, or where other choices of its request run.
  func mayAdmit(_ entry: RequestQueue.Entry, to bank: Int) -> Bool {
    banks.states[bank] == .open || groups[entry.group].running > 0 && banks.states[bank] != .suspended
  }

  /// The request's blocks lie in this bank from now on.
  mutating func settle(_ group: Int32, in bank: Int, _ slot: SlotID) {
    if pool.bankCount == 1 { return }
    groups[group].bank = Int32(bank)
    if configuration.spansBanks { groups[group].further = banks.chosenFurther }
    running[Int(slot.rawValue)].group = group
  }

  // MARK: Coming and going

  /// Whether the bank's blocks take part.
  package func isOpen(_ bank: Int) -> Bool { banks.states[bank] == .open }

  /// Running sequences with blocks in the bank.
  package func sequenceCount(in bank: Int) -> Int { order.count { holds($0, in: bank) } }

  /// Blocks of the bank with holders, and those kept for prompts that begin alike.
  package func usedBlocks(in bank: Int) -> Int {
    banks.states[bank] == .closed ? 0 : pool.bankBlocks - pool.freeCount(in: bank)
  }

  /// The bank has memory, with nothing in it: it takes sequences. Between steps only.
  package mutating func open(bank: Int) {
    precondition(sequenceCount(in: bank) == 0, "bank \(bank) is opened with sequences in it")
    forgetCached(in: bank)
    banks.set(bank, .open)
  }

  /// The bank takes no more sequences; those it has go on.
  package mutating func drain(bank: Int) {
    if banks.states[bank] == .open { banks.set(bank, .draining) }
  }

  /// What the bank holds is gone, or is about to go: its sequences wait at their places in the queue with their tokens and
  /// go on elsewhere. Answers how many. Between steps only.
  ///
  /// - Parameter keeping: its memory can still be read until the next plan's moves are carried out: sequences have their
  ///   blocks copied below as other preempted ones do. Otherwise they have what tiers got of them before, and the rest is
  ///   computed again.
  @discardableResult
  package mutating func close(bank: Int, keeping: Bool = false) -> Int {
    banks.set(bank, .closed)
    let count = sequenceCount(in: bank)
    while let slot = order.last(where: { holds($0, in: bank) }) { preempt(slot, losingBlocks: !keeping) }
    forgetStretches(in: bank)
    forgetCached(in: bank)
    return count
  }

  /// Forgets what free blocks of a bank hold; blocks that follow others go before them.
  mutating func forgetCached(in bank: Int) {
    var block = pool.freeBlock(after: nil, in: bank)
    while let free = block {
      cache.remove(free)
      pool.discard(free)
      evictions?.forget(free)
      block = pool.freeBlock(after: free)
    }
  }

  /// The first thing that does not add up about banks, or nil.
  func bankViolation() -> String? {
    if pool.bankCount != banks.count { return "\(banks.count) banks of a pool that has \(pool.bankCount)" }
    for slot in order {
      if let found = stretchViolation(slot) { return found }
      for position in 0..<tables.count(slot) where configuration.ranges.isOnDevice(tables[slot, position]) {
        guard let own = assignedBank(of: slot, at: position) else {
          return "slot \(slot.rawValue) holds a block at \(position), which belongs to no bank"
        }
        if banks.states[own] == .closed { return "slot \(slot.rawValue) runs in bank \(own), which is closed" }
        let bank = pool.bank(of: tables[slot, position])
        if bank != own { return "slot \(slot.rawValue) of bank \(own) holds a block of bank \(bank)" }
      }
    }
    for bank in 0..<banks.count where banks.states[bank] == .closed && pool.freeCount(in: bank) < pool.bankBlocks {
      return "bank \(bank) is closed and has blocks in use"
    }
    return nil
  }
}
