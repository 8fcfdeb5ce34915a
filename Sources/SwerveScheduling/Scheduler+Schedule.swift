package import SwerveCore

extension Scheduler {
  /// Decides the next step. The plan's storage is reused: the first call takes all the capacity a step can need.
  ///
  /// A plan without sequences comes only from a scheduler without work, from one whose sequences all wait for a bank or for
  /// blocks from below, or from one that only took a preempted beam search back, all of whose tokens were cached; it may
  /// still carry releases. O(running
  /// sequences + blocks they hold) without admissions; an admission adds hashing its prompt up to the first block that
  /// is not cached.
  package mutating func schedule(into plan: inout StepPlan) {
    plan.removeAll()
    reserve(&plan)
    stepID &+= 1
    plan.id = stepID
    stuck.removeAll(keepingCapacity: true)
    var budget = configuration.maxBatchedTokens
    chooseReaders()
    makeRoom()
    let relieved = relieveTenants(&plan)
    let preemptedAny = scheduleDecodes(into: &plan, budget: &budget) || relieved
    limitPrefills(plan, &budget)
    if !preemptedAny { admitUrgent(into: &plan, budget: &budget) }
    // Blocks were short: what came free belongs to those already here.
    if !scheduleShortPrompts(into: &plan, budget: &budget, admits: !preemptedAny) {
      schedulePrefills(into: &plan, budget: &budget)
      if !preemptedAny { admit(into: &plan, budget: &budget) }
    }
    if hasLowerPlaces { unblock(&plan) }
    releaseSources()
    plan.releases.append(contentsOf: releases)
    releases.removeAll(keepingCapacity: true)
  }

  private func reserve(_ plan: inout StepPlan) {
    let sequences = configuration.maxSequences
    if plan.sequences.capacity < sequences { plan.sequences.reserveCapacity(sequences) }
    let rows = min(configuration.maxBatchedTokens, 1 << 20)
    if plan.tokens.capacity < rows { plan.tokens.reserveCapacity(rows) }
    // Untouched capacity costs address space only; shared blocks appear in several tables.
    if plan.blocks.capacity < sequences * tables.stride { plan.blocks.reserveCapacity(sequences * tables.stride) }
    if plan.releases.capacity < 2 * sequences { plan.releases.reserveCapacity(2 * sequences) }
    if plan.copies.capacity < sequences { plan.copies.reserveCapacity(sequences) }
    if hasLowerPlaces && plan.moves.capacity < pool.blockCount { plan.moves.reserveCapacity(pool.blockCount) }
  }

  /// Sequences that need one token, in order, each with the block it is written to, and their drafts. Answers whether any was preempted.
  mutating func scheduleDecodes(into plan: inout StepPlan, budget: inout Int) -> Bool {
    var preemptedAny = false
    var allowance = draftAllowance()
    var position = 0
    while position < order.count && budget > 0 {
      let slot = order[position]
      let index = Int(slot.rawValue)
      let isForking = running[index].isForking
      if isSuspended(slot) {
        position += 1
        continue
      }
      if isForking && running[index].isBeam {
        // What comes next stands in the place of those that had to go.
        if !scheduleBeams(of: running[index].group, into: &plan, budget: &budget, &preemptedAny) { continue }
      } else if running[index].remainingTokens == 1 && !isParked(slot) {
        let needed = configuration.blocks(for: Int(running[index].knownTokens))
        var isPreempted = false
        while isForking ? !takeWritableBlock(of: slot, into: &plan) : tables.count(slot) < needed {
          if isForking ? moveOne(from: bank(of: slot), in: &plan) : grow(slot, in: &plan) { continue }
          // The victim is the last in order of the bank: this sequence, or one that has no place in the plan yet.
          let victim = lastInBank(of: slot)
          preempt(victim)
          preemptedAny = true
          if victim == slot {
            isPreempted = true
            break
          }
        }
        if isPreempted { continue }
        append(slot, rows: 1, to: &plan)
        budget -= 1
        // Behind a prompt's last token stand choices that sample the same row.
        if allowance != nil, plan.sequences[plan.sequences.count - 1].slot == slot {
          budget -= appendDrafts(to: slot, of: &plan, &allowance!)
        }
      }
      position += 1
    }
    return preemptedAny
  }

  /// A fresh block at the end of a table, evicting what was cached in it; false when none is free.
  mutating func appendBlock(to slot: SlotID) -> Bool {
    guard let bank = bankToGrow(slot), let block = takeBlock(in: bank) else { return false }
    noteStretch(slot, in: bank)
    tables.append(block, to: slot)
    return true
  }

  /// The sequence's next `rows` tokens as rows of the plan.
  mutating func append(_ slot: SlotID, rows: Int, to plan: inout StepPlan) {
    let index = Int(slot.rawValue)
    running[index].plannedStep = stepID
    if running[index].needsAdmission { admitAgain(slot, into: &plan) }
    let sequence = running[index]
    let context = Int(sequence.computedTokens)
    charge(index, upTo: sequence.computedTokens + Int32(rows))
    let blockCount = configuration.blocks(for: context + rows)
    plan.sequences.append(
      SequenceStep(
        sequence: sequence.sequence, slot: slot, firstRow: Int32(plan.tokens.count), rowCount: Int32(rows),
        contextTokens: sequence.computedTokens, promptTokens: sequence.promptTokens,
        firstBlock: Int32(plan.blocks.count), blockCount: Int32(blockCount),
        samples: context + rows == Int(sequence.knownTokens) && sequence.maxNewTokens > 0))
    tables.copyPrefix(blockCount, of: slot, to: &plan.blocks)
    let end = context + rows
    if rows == 1 && end == Int(sequence.knownTokens) {
      plan.tokens.append(sequence.lastToken)
    } else {
      let prompt = Int(sequence.promptTokens)
      if context < prompt { plan.tokens.append(contentsOf: groups[sequence.group].prompt[context..<min(end, prompt)]) }
      if end > prompt { plan.tokens.append(contentsOf: generated[index][max(context - prompt, 0)..<end - prompt]) }
    }
    guard sequence.isForking else { return }
    if sequence.generatedTokens == 0 && end == Int(sequence.promptTokens) && sequence.maxNewTokens > 0 {
      admitRiders(behind: slot, into: &plan)
    }
  }

  /// Sends a running sequence, of a beam search all of them, back to its place in the queue, with its tokens and without
  /// blocks and slot.
  ///
  /// - Parameter losingBlocks: what is in its blocks must not be read any more.
  mutating func preempt(_ slot: SlotID, losingBlocks: Bool = false) {
    let sequence = running[Int(slot.rawValue)]
    if sequence.isBeam { return preemptBeams(sequence.group) }
    let isSwapped = losingBlocks ? wasKept(slot) : swapsOut(slot)
    if isSwapped && !losingBlocks { swapOut(slot) }
    var kept = RequestQueue.Preempted(
      generated: generated[Int(slot.rawValue)], cachedTokens: sequence.cachedTokens,
      preemptions: sequence.preemptions + 1, isAnnounced: sequence.isAnnounced, paidTokens: sequence.paidTokens,
      recoveries: sequence.recoveries, isSwapped: isSwapped, hasReadLossy: sequence.hasReadLossy)
    kept.recoveredTokens = sequence.recoveredTokens
    // In this order: a lane without anything waiting or running may be forgotten.
    waiting.insert(RequestQueue.Entry(key: sequence.key, group: sequence.group, preempted: kept))
    release(slot)
    counters.preemptions += 1
  }
}
