import SwerveCore

// Running sequences with blocks below the device. A table is device blocks, then blocks below, then device blocks again:
// the beginning stays where prefix hits find it, the end is where new tokens are written, and what leaves the device
// leaves next to what left before. Which blocks of a sequence are where changes no token: attention reads all of them.
// Places in host memory are one pool for all banks; a block moves there to make room in its own bank.
extension Scheduler {
  var hasLowerPlaces: Bool { configuration.ranges.count > configuration.blockCount }

  /// Whether so many known tokens can never be on the device together: their blocks may go to the overflow store, and a
  /// prompt of that length takes blocks as it is computed.
  func exceedsDevice(_ knownTokens: Int) -> Bool {
    hasLowerPlaces && configuration.blocks(for: knownTokens) > configuration.bankBlocks
  }

  // MARK: Growing

  /// A fresh block at the end of a table; where the device has none, another block moves below it. False when neither
  /// can be.
  mutating func grow(_ slot: SlotID, in plan: inout StepPlan) -> Bool {
    if appendBlock(to: slot) { return true }
    return moveOne(from: bank(of: slot), in: &plan) && appendBlock(to: slot)
  }

  /// Blocks for the next rows of a prompt that takes them as it goes: how many of `rows` there is room for, ≥ 0.
  mutating func growForRows(_ slot: SlotID, _ rows: Int, in plan: inout StepPlan) -> Int {
    let computed = Int(running[Int(slot.rawValue)].computedTokens)
    let needed = configuration.blocks(for: computed + rows)
    while tables.count(slot) < needed && grow(slot, in: &plan) {}
    return min(rows, tables.count(slot) * configuration.blockSize - computed)
  }

  /// Frees a block of a bank by moving its content below: first of sequences that do not fit the device anyway, then
  /// of others, each time of the last in order. False when nothing can be moved.
  mutating func moveOne(from bank: Int, ofLargeOnly: Bool = false, in plan: inout StepPlan) -> Bool {
    guard lower.freeCount > 0 else { return false }
    for slot in order.reversed()
    where self.bank(of: slot) == bank && exceedsDevice(Int(running[Int(slot.rawValue)].knownTokens)) {
      if move(from: slot, allowsOverflow: true, in: &plan) { return true }
    }
    if ofLargeOnly || lower.freeHostCount == 0 { return false }
    for slot in order.reversed()
    where self.bank(of: slot) == bank && !exceedsDevice(Int(running[Int(slot.rawValue)].knownTokens)) {
      if move(from: slot, allowsOverflow: false, in: &plan) { return true }
    }
    return false
  }

  /// Moves one computed block of a sequence below the device: the first one behind those that are there, else the last one
  /// before them. False when it has none that it holds alone.
  private mutating func move(from slot: SlotID, allowsOverflow: Bool, in plan: inout StepPlan) -> Bool {
    let index = Int(slot.rawValue)
    // What others may share is on the device, and what this step's copies bring is not there yet.
    if running[index].isForking || running[index].awaitsCopy { return false }
    // This step writes behind these.
    let full = Int(running[index].computedTokens) / configuration.blockSize
    let isEmpty = running[index].lowerBegin == running[index].lowerEnd
    let begin = isEmpty ? full : Int(running[index].lowerBegin)
    let end = isEmpty ? full : Int(running[index].lowerEnd)
    let position: Int
    if end < full && pool.referenceCount(of: tables[slot, end]) == 1 {
      position = end
    } else if begin > 0 && pool.referenceCount(of: tables[slot, begin - 1]) == 1 {
      position = begin - 1
    } else {
      return false
    }
    let block = tables[slot, position]
    if isLoading(block) { return false }
    guard let place = lower.allocate(allowsOverflow: allowsOverflow) else { return false }
    if position < running[index].sealedBlocks {
      running[index].sealedBlocks = Int32(position)
      running[index].chainHash = cache.parentHash(of: block)
    }
    running[index].lowerBegin = Int32(min(begin, position))
    running[index].lowerEnd = Int32(max(end, position + 1))
    if configuration.ranges.isOverflow(place) {
      running[index].overflowBlocks += 1
      counters.overflow.blocksToStore += 1
    } else {
      counters.overflow.blocksToHost += 1
    }
    tables[slot, position] = place
    plan.moves.append(BlockMove(from: block, to: place))
    if running[index].plannedStep == stepID { replace(block, at: position, of: slot, by: place, in: &plan) }
    giveBack(block)
    return true
  }

  /// The plan has the sequence's table already.
  private func replace(
    _ block: BlockID, at position: Int, of slot: SlotID, by place: BlockID, in plan: inout StepPlan
  ) {
    guard let step = plan.sequences.first(where: { $0.slot == slot }), position < Int(step.blockCount) else { return }
    plan.blocks[Int(step.firstBlock) + position] = place
  }

  // MARK: Admission

  /// Takes a sequence in that can never be on the device as a whole: its prefix hits, and blocks for the first rows. All
  /// of its known tokens must have a place somewhere, so that prompts do not run out of blocks half-way. Where its hits
  /// fill the device, the last of them are computed again. Answers the rows, at most `limit`; 0 when it has to wait.
  mutating func takeFirstBlocks(_ slot: SlotID, known: Int, limit: Int, in plan: inout StepPlan) -> Int {
    let revived = hits.count { pool.referenceCount(of: $0) == 0 }
    let room = freeBlocks(for: slot) - revived + lower.freeCount
    if configuration.blocks(for: known) - hits.count > room { return 0 }
    for block in hits {
      reviveBlock(block)
      tables.append(block, to: slot)
    }
    while true {
      let rows = min(known - hitTokens, limit)
      let needed = configuration.blocks(for: hitTokens + rows)
      while tables.count(slot) < needed && grow(slot, in: &plan) {}
      let granted = min(rows, tables.count(slot) * configuration.blockSize - hitTokens)
      if granted > 0 { return granted }
      guard let last = hits.last, pool.referenceCount(of: last) == 1 else { break }
      hitHash = cache.parentHash(of: last)
      hits.removeLast()
      hitTokens -= configuration.blockSize
      if let block = tables.removeLast(slot) { giveBack(block) }
    }
    while let block = tables.removeLast(slot) { giveBack(block) }
    return 0
  }

  // MARK: Turns at the store

  /// Tells how many blocks of the overflow store a step may read. Results do not depend on it.
  package mutating func setStoreBlocksPerStep(_ blocks: Int) { storeBlocksPerStep = max(blocks, 0) }

  /// Chooses the sequences that may read the overflow store in this step: those that read least recently, as far as the
  /// step's share of its bandwidth goes, and one at least. The others are parked for this step with all they hold.
  mutating func chooseReaders() {
    counters.overflow.parkedSequences = 0
    guard lower.usedOverflowCount > 0 else { return }
    var left = storeBlocksPerStep ?? .max
    var isFirst = true
    while let slot = nextReader(within: isFirst ? .max : left) {
      running[Int(slot.rawValue)].readStep = stepID
      left = max(left - Int(running[Int(slot.rawValue)].overflowBlocks), 0)
      isFirst = false
    }
    for slot in order where isParked(slot) { counters.overflow.parkedSequences += 1 }
  }

  private func nextReader(within blocks: Int) -> SlotID? {
    var found: SlotID?
    for slot in order {
      let sequence = running[Int(slot.rawValue)]
      guard sequence.overflowBlocks > 0, sequence.readStep != stepID, Int(sequence.overflowBlocks) <= blocks else {
        continue
      }
      if let other = found, running[Int(other.rawValue)].readStep <= sequence.readStep { continue }
      found = slot
    }
    return found
  }

  /// Whether the sequence waits for its turn at the store.
  func isParked(_ slot: SlotID) -> Bool {
    let index = Int(slot.rawValue)
    return running[index].overflowBlocks > 0 && running[index].readStep != stepID
      && running[index].plannedStep != stepID
  }

  /// Where nobody computes anything in this step, because those whose turn it was found no block: others have their turn,
  /// and then the last in order makes room, until somebody does.
  mutating func unblock(_ plan: inout StepPlan) {
    // Of several that hold the places the others need, the last gives its own up, be other banks as busy as they may.
    if pool.bankCount > 1, stuck.count > 1, let last = order.last(where: { stuck.contains($0) }) { preempt(last) }
    // Sequences of a bank that nobody computes with come back with it.
    while plan.sequences.isEmpty && order.contains(where: { !isSuspended($0) }) {
      var budget = configuration.maxBatchedTokens
      chooseReaders()
      _ = scheduleDecodes(into: &plan, budget: &budget)
      schedulePrefills(into: &plan, budget: &budget)
      guard plan.sequences.isEmpty, order.count(where: { !isSuspended($0) }) > 1,
        let last = order.last(where: { !isSuspended($0) })
      else { return }
      preempt(last)
    }
  }

  // MARK: Missing blocks

  /// A block of the sequence could not be read: what it holds is given up and its tokens are computed again, or it ends
  /// with an error when that happened too often. Answers whether it goes on.
  mutating func recover(_ slot: SlotID) -> Bool {
    counters.overflow.recoveries += 1
    guard mayLoseAgain(slot) else { return false }
    preempt(slot, losingBlocks: true)
    return true
  }

  /// Counts a step that the sequence lost; whether it has lost no more of them than a request may.
  mutating func mayLoseAgain(_ slot: SlotID) -> Bool {
    // Losses do not add up while tokens come in between.
    let generated = running[Int(slot.rawValue)].generatedTokens
    if generated > running[Int(slot.rawValue)].recoveredTokens { running[Int(slot.rawValue)].recoveries = 0 }
    running[Int(slot.rawValue)].recoveredTokens = generated
    running[Int(slot.rawValue)].recoveries += 1
    return running[Int(slot.rawValue)].recoveries <= Self.mostRecoveries
  }

  static var mostRecoveries: Int32 { 3 }
}
