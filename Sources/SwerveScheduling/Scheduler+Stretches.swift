import SwerveCore

// Sequences that are larger than a bank. Their tables are cut into stretches of as many whole partitions as a bank
// holds; each stretch lies in another bank, and the choices of a request have theirs in the same ones. What fits a
// bank never leaves it, so a stretch begins only behind a bank's worth of blocks.
//
// Prefixes are found in the first stretch alone: a chain of cached blocks stays in its bank, so that it is evicted
// from its end and lost as a whole.
extension SchedulerConfiguration {
  /// Whether sequences may lie in several banks: where nothing lies below them.
  package var spansBanks: Bool {
    bankCount > 1 && hostBlockCount + overflowBlockCount == 0 && tiers == nil && stretchBlocks > 0
  }

  /// Blocks of a stretch; 0 where no bank holds a whole partition.
  var stretchBlocks: Int {
    guard let spanTokens else { return 0 }
    let partition = spanTokens / blockSize
    return bankBlocks / partition * partition
  }

  /// Blocks that a sequence can have in so many banks.
  func spreadBlocks(over banks: Int) -> Int { max(bankBlocks, banks * stretchBlocks) }
}

extension Scheduler {
  // MARK: Lengths

  /// Most blocks of a sequence now: as configured, but for banks that went for good.
  package var sequenceBlocks: Int {
    guard configuration.spansBanks else { return configuration.sequenceBlocks }
    return min(configuration.sequenceBlocks, configuration.spreadBlocks(over: banks.expected))
  }

  /// Blocks of a stretch of a sequence that may come to so many tokens.
  func stretch(for tokens: Int) -> Int32 {
    guard configuration.spansBanks, configuration.blocks(for: tokens) > configuration.bankBlocks else { return .max }
    return Int32(configuration.stretchBlocks)
  }

  /// Whether all requests under way, as long as they are by now, fit so many banks.
  package func fits(banks count: Int) -> Bool {
    guard configuration.spansBanks else { return true }
    let limit = configuration.spreadBlocks(over: count)
    let runs = order.allSatisfy { tables.count($0) <= limit }
    return runs
      && waiting.places.allSatisfy {
        let entry = waiting[$0.1]
        let known = Int(entry.key.promptTokens) + (entry.preempted?.generated.count ?? 0)
        return configuration.blocks(for: known) <= limit
      }
  }

  /// So many banks there are from now on, closed ones that come back included: requests end where these are full.
  package mutating func expect(banks count: Int) {
    banks.expected = count
    guard configuration.spansBanks else { return }
    let tokens = min(configuration.maxModelLength, sequenceBlocks * configuration.blockSize + 1)
    groups.forEach {
      guard $0.beams == nil else { return }
      $0.maxNewTokens = min($0.maxNewTokens, Int32(max(tokens - $0.prompt.count, min(Int($0.maxNewTokens), 1))))
    }
    for slot in order where !running[Int(slot.rawValue)].isBeam {
      let most = groups[running[Int(slot.rawValue)].group].maxNewTokens
      running[Int(slot.rawValue)].maxNewTokens = min(running[Int(slot.rawValue)].maxNewTokens, most)
    }
  }

  /// Banks that an entry needs for what is known of it.
  func stretchCount(_ entry: RequestQueue.Entry) -> Int {
    let stretch = Int(groups[entry.group].stretch)
    let blocks = configuration.blocks(for: Int(entry.key.promptTokens) + (entry.preempted?.generated.count ?? 0))
    return (blocks + stretch - 1) / stretch
  }

  /// Whether an entry is longer than the banks hold that it may have now, and waits for others to come back.
  func exceedsOpenBanks(_ entry: RequestQueue.Entry) -> Bool {
    guard configuration.spansBanks else { return false }
    let count = stretchCount(entry)
    if count == 1 { return false }
    let group = groups[entry.group]
    var possible = 0
    for bank in 0..<banks.count {
      let isOwn = group.running > 0 && (group.bank == Int32(bank) || group.further.contains(Int32(bank)))
      if banks.states[bank] == .open || isOwn && banks.states[bank] == .draining { possible += 1 }
    }
    return count > possible
  }

  // MARK: Whose bank

  /// The bank of the block at a position of a table; nil where that is not decided.
  func assignedBank(of slot: SlotID, at position: Int) -> Int? {
    if pool.bankCount == 1 { return 0 }
    let group = running[Int(slot.rawValue)].group
    let number = position / Int(groups[group].stretch)
    if number == 0 { return Int(groups[group].bank) }
    return number <= groups[group].further.count ? Int(groups[group].further[number - 1]) : nil
  }

  /// The bank that a sequence's next block comes from: where its stretch lies, or begins; nil where no bank can take
  /// it.
  func bankToGrow(_ slot: SlotID) -> Int? {
    if pool.bankCount == 1 { return 0 }
    let position = tables.count(slot)
    let group = running[Int(slot.rawValue)].group
    if position < Int(groups[group].stretch) { return Int(groups[group].bank) }
    if let own = assignedBank(of: slot, at: position) {
      return banks.states[own] == .open || banks.states[own] == .draining ? own : nil
    }
    return emptiestBank { $0 != groups[group].bank && !groups[group].further.contains($0) }
  }

  /// The bank in which a sequence that decodes needs a block: a fresh one, or a copy of one that others hold.
  func bankNeeded(by slot: SlotID) -> Int? {
    if pool.bankCount == 1 { return 0 }
    let position = (Int(running[Int(slot.rawValue)].knownTokens) - 1) / configuration.blockSize
    return position < tables.count(slot) ? assignedBank(of: slot, at: position) : bankToGrow(slot)
  }

  /// The open bank with most free blocks of some.
  private func emptiestBank(where mayBe: (Int32) -> Bool) -> Int? {
    var best: Int?
    for bank in 0..<banks.count where banks.states[bank] == .open && mayBe(Int32(bank)) {
      if best.map({ pool.freeCount(in: bank) > pool.freeCount(in: $0) }) ?? true { best = bank }
    }
    return best
  }

  /// A block is about to be put at the end of a table: its stretch lies in this bank, also for the request's other
  /// choices.
  mutating func noteStretch(_ slot: SlotID, in bank: Int) {
    guard configuration.spansBanks else { return }
    let group = running[Int(slot.rawValue)].group
    if tables.count(slot) / Int(groups[group].stretch) > groups[group].further.count {
      groups[group].further.append(Int32(bank))
    }
  }

  /// Whether a running sequence has blocks in a bank.
  func holds(_ slot: SlotID, in bank: Int) -> Bool {
    if self.bank(of: slot) == bank { return true }
    guard configuration.spansBanks else { return false }
    let group = running[Int(slot.rawValue)].group
    let stretch = Int(groups[group].stretch)
    // Of those decided for the request, as many as this sequence has reached.
    let reached = (tables.count(slot) - 1) / stretch
    for number in 0..<min(reached, groups[group].further.count) where groups[group].further[number] == Int32(bank) {
      return true
    }
    return false
  }

  // MARK: Admission

  /// Finds banks for what an entry needs behind the first stretch, `banks.chosenFurther`: those where its request's
  /// other choices have theirs, then the emptiest ones. Whether all have room.
  mutating func chooseFurther(_ entry: RequestQueue.Entry, known: Int, reserve: Int) -> Bool {
    guard configuration.spansBanks else { return true }
    let group = groups[entry.group]
    banks.chosenFurther.removeAll(keepingCapacity: true)
    if group.running > 0 { for bank in group.further { banks.chosenFurther.append(bank) } }
    let stretch = Int(group.stretch)
    let blocks = configuration.blocks(for: known)
    if blocks <= stretch { return true }
    for number in 1...(blocks - 1) / stretch {
      let first = number * stretch
      let needed = min(stretch, blocks - first) - max(0, min(hits.count - first, stretch))
      let bank: Int
      if number <= banks.chosenFurther.count {
        bank = Int(banks.chosenFurther[number - 1])
        guard banks.states[bank] != .suspended, banks.states[bank] != .closed else { return false }
      } else {
        let own = Int32(banks.chosen)
        guard let found = emptiestBank(where: { $0 != own && !banks.chosenFurther.contains($0) }) else { return false }
        bank = found
        banks.chosenFurther.append(Int32(bank))
      }
      if pool.freeCount(in: bank) < needed + reserve { return false }
    }
    return true
  }

  // MARK: Going

  /// Nobody has blocks in the bank any more: no stretch is to begin there.
  mutating func forgetStretches(in bank: Int) {
    guard configuration.spansBanks else { return }
    groups.forEach {
      if let number = $0.further.firstIndex(of: Int32(bank)) { $0.further.removeSubrange(number...) }
    }
  }

  /// The first thing that does not add up about a sequence's stretches, or nil.
  func stretchViolation(_ slot: SlotID) -> String? {
    let group = groups[running[Int(slot.rawValue)].group]
    if group.stretch == .max { return nil }
    if group.beams != nil { return "slot \(slot.rawValue) is a hypothesis that may lie in several banks" }
    if Int(group.stretch) != configuration.stretchBlocks || !configuration.spansBanks {
      return "slot \(slot.rawValue) has stretches of \(group.stretch) blocks"
    }
    let own = [group.bank] + group.further
    return Set(own).count == own.count ? nil : "slot \(slot.rawValue) has two stretches in one bank: \(own)"
  }
}
