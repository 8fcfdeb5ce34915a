import SwerveCore

// How sequences of one request share blocks. A full block is never written again, so any number of them hold it. A block
// that is not full may be held by several too; whoever writes to it first takes a copy, and the last holder writes in place.
extension Scheduler {
  // MARK: Copy on write

  /// Makes sure that the sequence's last known token has a place that nobody else holds: takes a fresh block or, of a
  /// shared one, a copy. false when no block is free.
  mutating func takeWritableBlock(of slot: SlotID, into plan: inout StepPlan) -> Bool {
    let position = (Int(running[Int(slot.rawValue)].knownTokens) - 1) / configuration.blockSize
    while tables.count(slot) <= position {
      if !appendBlock(to: slot) { return false }
    }
    let shared = tables[slot, position]
    if pool.referenceCount(of: shared) == 1 { return true }
    guard let own = takeBlock(in: pool.bank(of: shared)) else { return false }
    running[Int(slot.rawValue)].awaitsCopy = true
    plan.copies.append(BlockCopy(from: shared, to: own))
    tables[slot, position] = own
    giveBack(shared)
    return true
  }

  // MARK: Choices

  /// Starts further choices of a sequence's request in the step that computes the prompt's last token: they sample the
  /// same row, compute nothing and hold the same blocks, the last one included. As many as there are slots for, and
  /// blocks for the tokens they write next; others go on from a running choice later (`fork`).
  mutating func admitRiders(behind leader: SlotID, into plan: inout StepPlan) {
    let group = running[Int(leader.rawValue)].group
    guard groups[group].nextChoice < groups[group].choices, preferredLane == nil else { return }
    let lane = running[Int(leader.rawValue)].key.lane
    guard waiting.nextLane() == lane else { return }
    let place = RequestQueue.Place(lane: lane, position: 0)
    var writers = 1
    while groups[group].nextChoice < groups[group].choices, let slot = freeSlots.last, mayGrow(lane) {
      let entry = waiting[place]
      guard entry.group == group, entry.preempted == nil, mayHold(entry),
        freeBlocks(for: leader) > configuration.watermarkBlocks + writers
      else { return }
      ride(entry, at: place, slot, behind: leader, into: &plan)
      writers += 1
    }
  }

  private mutating func ride(
    _ entry: RequestQueue.Entry, at place: RequestQueue.Place, _ slot: SlotID, behind leader: SlotID,
    into plan: inout StepPlan
  ) {
    let group = groups[entry.group]
    let first = running[Int(leader.rawValue)]
    shareTable(of: leader, with: slot)
    enter(entry, group, slot, Start(tokens: first.promptTokens, hash: first.chainHash, isForked: true))
    // The blocks are computed with the leader's row, and become findable with its.
    running[Int(slot.rawValue)].sealedBlocks = first.sealedBlocks
    running[Int(slot.rawValue)].plannedStep = stepID
    running[Int(slot.rawValue)].awaitsCopy = true
    leaveQueue(entry, at: place, choices: group.choices)
    let sequence = running[Int(slot.rawValue)].sequence
    plan.admissions.append(
      Admission(
        sequence: sequence, slot: slot, sampling: group.sampling, tokens: group.prompt,
        promptTokens: group.prompt.count))
    let blockCount = configuration.blocks(for: group.prompt.count)
    plan.sequences.append(
      SequenceStep(
        sequence: sequence, slot: slot, firstRow: Int32(plan.tokens.count), rowCount: 0,
        contextTokens: first.promptTokens, promptTokens: first.promptTokens, firstBlock: Int32(plan.blocks.count),
        blockCount: Int32(blockCount), samples: true))
    tables.copyPrefix(blockCount, of: slot, to: &plan.blocks)
  }

  /// All blocks of a table also into an empty one.
  mutating func shareTable(of slot: SlotID, with other: SlotID) {
    for position in 0..<tables.count(slot) {
      pool.retain(tables[slot, position])
      tables.append(tables[slot, position], to: other)
    }
  }

  /// Whether an entry waits for a running choice of its request, which is computing the prompt for both, or has blocks that
  /// nobody computes with at present.
  func awaitsSibling(_ entry: RequestQueue.Entry) -> Bool {
    groups[entry.group].sharesBlocks && groups[entry.group].running > 0
      && (awaitsBank(entry) || forkSource(of: entry) == nil)
  }

  /// A running choice of the entry's request whose prompt was computed in an earlier step; nil when there is none.
  /// O(running sequences), where choices share blocks
  func forkSource(of entry: RequestQueue.Entry) -> SlotID? {
    guard groups[entry.group].sharesBlocks, groups[entry.group].running > 0 else { return nil }
    return order.first {
      let other = running[Int($0.rawValue)]
      return other.group == entry.group && other.generatedTokens > 0 && other.computedTokens >= other.promptTokens
    }
  }

  /// Takes over the prompt, but for its last token where that is still to be sampled from: full blocks are shared, of the
  /// last one, which the other choice went on writing to, a copy is taken.
  mutating func fork(from sibling: SlotID, known: Int, _ group: SequenceGroup) {
    let tokens = min(group.prompt.count, known - 1)
    let full = tokens / configuration.blockSize
    hits.removeAll(keepingCapacity: true)
    tables.copyPrefix(full, of: sibling, to: &hits)
    hitTokens = tokens
    isForkHit = true
    partialHit = tokens % configuration.blockSize == 0 ? nil : tables[sibling, full]
    hitHash = chainStart(of: group)
    if !configuration.enablePrefixCaching { return }
    for block in 0..<min(full, Int(group.stretch)) {
      copyBlock(block, prompt: group.prompt, output: [])
      hitHash = cache.hash(after: hitHash, blockTokens.span)
    }
  }
}
