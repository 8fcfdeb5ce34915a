import SwerveCore

/// The hypotheses of one beam search: sequences of one request that hold their common blocks together.
struct BeamGroup {
  /// Hypotheses at most, and slots that the search holds while it runs.
  let width: Int32
  /// Slots of the running hypotheses, in the order of the search. One while the prompt is computed.
  var members: [SlotID] = []
  /// The other slots of the search.
  var spares: [SlotID] = []
  /// After a preemption: leading tokens that the first hypothesis computes for all, in whole blocks; 0 once they are.
  var sharedTokens: Int32 = 0
}

// A beam search in a step: admitted with all its slots, scheduled and preempted as a whole, so that all hypotheses are
// sampled in the same step, one row each.
extension Scheduler {
  // MARK: Limits

  /// Why a search can never run here. `n` is 1.
  func checkBeams(_ width: Int, _ request: WaitingRequest) throws(SchedulingError) {
    let limit = min(configuration.maxSequences, configuration.maxBatchedTokens)
    if width < 1 || request.n != 1 { throw .invalidChoiceCount(width < 1 ? width : request.n) }
    if width > limit { throw .beamsTooWide(width: width, limit: limit) }
    let prompt = request.promptTokens.count
    if request.sampling.params.maxTokens == 0 { throw .searchWithoutTokens }
    let output = min(request.sampling.params.maxTokens ?? 1, configuration.maxModelLength - prompt)
    if output > longestBeams(width, promptTokens: prompt) {
      throw .exceedsPool(
        blocks: blocks(ofBeams: width, promptTokens: prompt, output), available: configuration.bankBlocks,
        blockSize: configuration.blockSize)
    }
  }

  /// Most output tokens for which all hypotheses fit the pool when they have nothing but the prompt in common.
  func longestBeams(_ width: Int, promptTokens: Int) -> Int {
    var low = 0
    var high = max(configuration.maxModelLength - promptTokens, 0)
    while low < high {
      let middle = (low + high + 1) / 2
      if blocks(ofBeams: width, promptTokens: promptTokens, middle) <= configuration.bankBlocks {
        low = middle
      } else {
        high = middle - 1
      }
    }
    return low
  }

  /// Blocks at most. The last output token is never computed.
  private func blocks(ofBeams width: Int, promptTokens: Int, _ output: Int) -> Int {
    let shared = promptTokens / configuration.blockSize
    return shared + width * (configuration.blocks(for: promptTokens + max(output, 1) - 1) - shared)
  }

  // MARK: Coming

  /// The other slots of a search whose first hypothesis has just entered, and after a preemption the other hypotheses:
  /// each takes the blocks for all its tokens now, and holds those of the common beginning with the first one.
  mutating func enterBeams(_ entry: RequestQueue.Entry, leader: SlotID, into plan: inout StepPlan) {
    let group = groups[entry.group]
    guard var beams = group.beams else { return }
    let kept = entry.preempted?.beams ?? []
    beams.members = [leader]
    beams.spares = []
    beams.sharedTokens = kept.count > 1 ? (entry.preempted?.sharedBlocks ?? 0) * Int32(configuration.blockSize) : 0
    for place in 1..<max(Int(beams.width), 1) {
      let slot = freeSlots.removeLast()
      let sequence = SequenceID(request: group.request, index: Int32(place))
      running[Int(slot.rawValue)] = RunningSequence()
      running[Int(slot.rawValue)].sequence = sequence
      plan.admissions.append(
        Admission(
          sequence: sequence, slot: slot, sampling: group.sampling, tokens: group.prompt,
          promptTokens: group.prompt.count))
      if place < kept.count {
        restore(kept[place], in: slot, beside: leader, shared: Int(beams.sharedTokens))
        beams.members.append(slot)
      } else {
        beams.spares.append(slot)
      }
    }
    groups[entry.group].beams = beams
    shareComputed(of: entry.group)
  }

  private mutating func restore(_ output: [TokenID], in slot: SlotID, beside leader: SlotID, shared: Int) {
    var sequence = running[Int(leader.rawValue)]
    sequence.sequence = running[Int(slot.rawValue)].sequence
    sequence.lastToken = output.last ?? sequence.lastToken
    sequence.computedTokens = 0
    sequence.sealedBlocks = 0
    sequence.chainHash = chainStart(of: groups[sequence.group])
    running[Int(slot.rawValue)] = sequence
    generated[Int(slot.rawValue)] = output
    let sharedBlocks = shared / configuration.blockSize
    for position in 0..<sharedBlocks {
      pool.retain(tables[leader, position])
      tables.append(tables[leader, position], to: slot)
    }
    for _ in sharedBlocks..<configuration.blocks(for: Int(sequence.knownTokens)) where !appendBlock(to: slot) {
      preconditionFailure("the pool has fewer free blocks than it counted")
    }
    startRunning(slot)
  }

  /// Once the common beginning of restored hypotheses is computed, all of them go on behind it.
  mutating func shareComputed(of group: Int32) {
    guard let beams = groups[group].beams, beams.sharedTokens > 0,
      running[Int(beams.members[0].rawValue)].computedTokens == beams.sharedTokens
    else { return }
    let leader = beams.members[0]
    let first = running[Int(leader.rawValue)]
    for slot in beams.members.dropFirst() {
      for position in 0..<Int(beams.sharedTokens) / configuration.blockSize {
        // The first one's block may have given way to an equal one of the cache.
        let block = tables[leader, position]
        let old = tables[slot, position]
        pool.retain(block)
        tables[slot, position] = block
        giveBack(old)
      }
      running[Int(slot.rawValue)].computedTokens = beams.sharedTokens
      running[Int(slot.rawValue)].sealedBlocks = first.sealedBlocks
      running[Int(slot.rawValue)].chainHash = first.chainHash
    }
    groups[group].beams?.sharedTokens = 0
  }

  // MARK: Scheduling

  /// One row for each hypothesis, all in this step or none. `false`: blocks were short and the search itself had to go,
  /// the last one in order. O(hypotheses)
  mutating func scheduleBeams(
    of group: Int32, into plan: inout StepPlan, budget: inout Int, _ preemptedAny: inout Bool
  ) -> Bool {
    guard let beams = groups[group].beams, beams.sharedTokens == 0, beams.members.count <= budget else { return true }
    for slot in beams.members {
      let sequence = running[Int(slot.rawValue)]
      if sequence.remainingTokens != 1 || sequence.plannedStep == stepID { return true }
    }
    let copies = plan.copies.count
    for slot in beams.members {
      while !takeWritableBlock(of: slot, into: &plan) {
        if moveOne(from: bank(of: slot), in: &plan) { continue }
        let victim = lastInBank(of: slot)
        let isOwn = running[Int(victim.rawValue)].group == group
        preempt(victim)
        preemptedAny = true
        if isOwn {
          plan.copies.removeSubrange(copies...)
          return false
        }
      }
    }
    for slot in beams.members { append(slot, rows: 1, to: &plan) }
    budget -= beams.members.count
    return true
  }

  /// Rows of a hypothesis that is behind: to the end of the prompt while it is alone; up to its last token, which all
  /// compute in one step, when there are several.
  func beamRows(_ slot: SlotID, _ budget: Int) -> Int {
    let sequence = running[Int(slot.rawValue)]
    guard let beams = groups[sequence.group].beams, beams.members.count > 1 else {
      return min(Int(sequence.remainingTokens), chunk(budget))
    }
    if beams.sharedTokens == 0 { return min(Int(sequence.remainingTokens) - 1, chunk(budget)) }
    return slot == beams.members[0] ? min(Int(beams.sharedTokens - sequence.computedTokens), chunk(budget)) : 0
  }

  /// Sends all hypotheses back to the queue, with their tokens.
  mutating func preemptBeams(_ group: Int32) {
    guard let members = groups[group].beams?.members, let first = members.first else { return }
    let sequence = running[Int(first.rawValue)]
    let outputs = members.map { generated[Int($0.rawValue)] }
    var common = 0
    while outputs.count > 1, outputs.allSatisfy({ common < $0.count && $0[common] == outputs[0][common] }) {
      common += 1
    }
    var kept = RequestQueue.Preempted(
      generated: outputs[0], cachedTokens: sequence.cachedTokens, preemptions: sequence.preemptions + 1,
      isAnnounced: sequence.isAnnounced, paidTokens: sequence.paidTokens)
    kept.recoveries = sequence.recoveries
    kept.recoveredTokens = sequence.recoveredTokens
    kept.beams = outputs
    kept.sharedBlocks = (sequence.promptTokens + Int32(common)) / Int32(configuration.blockSize)
    waiting.insert(RequestQueue.Entry(key: sequence.key, group: group, preempted: kept))
    releaseBeams(group)
    counters.preemptions += 1
  }

  /// Gives back all blocks and slots of a search.
  mutating func releaseBeams(_ group: Int32) {
    guard let beams = groups[group].beams else { return }
    // The first one last: while a search is restored, only its table has the parents of blocks that became findable.
    for slot in beams.members.reversed() { release(slot) }
    freeSlots.append(contentsOf: beams.spares)
    releases.append(contentsOf: beams.spares)
    groups[group].beams?.members = []
    groups[group].beams?.spares = []
    groups[group].beams?.sharedTokens = 0
  }
}
