import SwerveCore

/// What drafts may take of a step.
struct DraftAllowance {
  /// Rows that nobody else needs.
  var rows: Int
  /// Probability that a draft must reach.
  var threshold: Float
}

extension Scheduler {
  /// What a row adds to a step, in units of a step without rows: decides how likely a draft must be. Results do not
  /// depend on it. Ignored without speculation.
  package mutating func setRowCost(_ cost: Float) { drafts?.rowCost = max(cost, 1e-4) }

  /// The rows left when every running sequence has what it needs, of those that keep the times promised; nil when drafts have no place in the step. Requests
  /// that could be admitted come before drafts. O(running sequences)
  func draftAllowance() -> DraftAllowance? {
    if drafts == nil || (!waiting.isEmpty && !freeSlots.isEmpty) { return nil }
    var rows = min(configuration.maxBatchedTokens, pacedRows ?? .max)
    var decoding = 0
    for slot in order {
      let remaining = Int(running[Int(slot.rawValue)].remainingTokens)
      rows -= min(remaining, chunk(configuration.maxBatchedTokens))
      if remaining == 1 { decoding += 1 }
    }
    guard rows > 0, decoding > 0, let threshold = drafts?.threshold(sequences: decoding) else { return nil }
    return DraftAllowance(rows: rows, threshold: threshold)
  }

  /// Drafts behind the plan's last sequence, which decodes. They are written where nobody else writes: to the sequence's
  /// own blocks, or to blocks that no other running sequence can need in this step.
  mutating func appendDrafts(to slot: SlotID, of plan: inout StepPlan, _ allowance: inout DraftAllowance) -> Int {
    let sequence = running[Int(slot.rawValue)]
    // The token sampled after all drafts is the last one allowed.
    let limit = min(allowance.rows, Int(sequence.maxNewTokens - sequence.generatedTokens) - 1)
    var count = drafts?.draftLength(slot, limit: limit, threshold: allowance.threshold) ?? 0
    let known = Int(sequence.knownTokens)
    while count > 0 && tables.count(slot) < configuration.blocks(for: known + count) {
      if freeBlocks(for: slot) > order.count + configuration.watermarkBlocks && appendBlock(to: slot) { continue }
      count = tables.count(slot) * configuration.blockSize - known
    }
    guard count > 0 else { return 0 }
    drafts?.append(count, of: slot, to: &plan.tokens)
    let last = plan.sequences.count - 1
    plan.sequences[last].rowCount += Int32(count)
    plan.sequences[last].draftCount = Int32(count)
    let needed = configuration.blocks(for: known + count)
    for position in Int(plan.sequences[last].blockCount)..<needed { plan.blocks.append(tables[slot, position]) }
    plan.sequences[last].blockCount = Int32(needed)
    allowance.rows -= count
    counters.drafts += 1
    counters.draftTokens += count
    return count
  }

  /// Whether the sample of a sequence's draft row may be looked at: the token sampled before it is the one drafted.
  func isAccepted(_ draft: Int, of step: SequenceStep, after token: TokenID, in plan: borrowing StepPlan) -> Bool {
    draft < Int(step.draftCount) && plan.tokens[Int(step.firstSampledRow) + 1 + draft] == token
  }

  /// Counts the drafts that became tokens.
  mutating func countAccepted(_ count: Int) {
    counters.acceptedTokens += count
    for position in 0..<min(count, counters.acceptedByPosition.scalarCount) {
      counters.acceptedByPosition[position] += 1
    }
  }

  /// Gives back the blocks that only rejected drafts were written to.
  mutating func releaseDraftBlocks(of slot: SlotID) {
    let needed = configuration.blocks(for: Int(running[Int(slot.rawValue)].knownTokens))
    while tables.count(slot) > needed, let block = tables.removeLast(slot) { pool.release(block, keeping: false) }
  }
}
