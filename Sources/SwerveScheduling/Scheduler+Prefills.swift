import SwerveCore

// How a step's rows are shared between prompts.
extension Scheduler {
  /// Sequences whose known tokens are not all computed, in order. Their blocks were taken at admission, or are taken now
  /// where the device cannot hold them all.
  mutating func schedulePrefills(into plan: inout StepPlan, budget: inout Int) {
    var position = 0
    // The order grows by choices that start behind a prompt.
    while position < order.count && budget > 0 {
      schedulePrefill(order[position], into: &plan, budget: &budget, atMost: budget)
      position += 1
    }
  }

  private mutating func schedulePrefill(
    _ slot: SlotID, into plan: inout StepPlan, budget: inout Int, atMost limit: Int
  ) {
    let index = Int(slot.rawValue)
    let remaining = Int(running[index].remainingTokens)
    guard remaining > 1 && running[index].plannedStep != stepID && !isParked(slot) && !isSuspended(slot) else {
      return
    }
    // Planned again after a lost step, a prompt that is computed whole waits for a step that holds it.
    if !configuration.enableChunkedPrefill && !running[index].isBeam && remaining > budget { return }
    if continueLoading(slot, &budget) { return }
    var rows = min(prefillRows(slot, budget), limit)
    if running[index].isStreamed {
      rows = growForRows(slot, rows, in: &plan)
      if rows == 0 && !stuck.contains(slot) { stuck.append(slot) }
    }
    if rows > 0 { append(slot, rows: rows, to: &plan) }
    budget -= rows
  }

  /// Rows of a sequence whose tokens are not all computed, in what is left of the step.
  func prefillRows(_ slot: SlotID, _ budget: Int) -> Int {
    let sequence = running[Int(slot.rawValue)]
    if sequence.isBeam { return beamRows(slot, budget) }
    return min(Int(sequence.remainingTokens), chunk(budget))
  }

  /// Longest piece of one prompt in what is left of the step.
  func chunk(_ budget: Int) -> Int {
    let threshold = configuration.longPrefillThreshold
    return threshold > 0 && configuration.enableChunkedPrefill ? min(budget, threshold) : budget
  }

  /// Every other step of a prompt that takes more than one, those that can end in this step go first: running ones in
  /// order, then whoever waits, in order; the long prompt then gets rows that cost about as much as theirs did. So a short
  /// request waits for the step under way and then for its own, which takes twice its own work; and a long prompt is
  /// never held up for longer than half of the steps. Answers whether it planned the step's prompts.
  mutating func scheduleShortPrompts(into plan: inout StepPlan, budget: inout Int, admits: Bool) -> Bool {
    let gaveWay = longPromptGaveWay
    longPromptGaveWay = false
    guard configuration.adaptsLongPrefill, configuration.enableChunkedPrefill, waiting.sharing != .classes,
      !gaveWay, let long = firstLongPrompt(budget)
    else { return false }
    let key = running[Int(long.rawValue)].key
    let rows = budget
    let before = plan.sequences.count
    var position = 0
    while position < order.count && budget > 0 {
      let index = Int(order[position].rawValue)
      if running[index].remainingTokens <= rows && running[index].key.priority <= key.priority {
        schedulePrefill(order[position], into: &plan, budget: &budget, atMost: budget)
      }
      position += 1
    }
    if admits { admit(into: &plan, budget: &budget, passing: key) }
    let cost = cost(of: plan, from: before)
    if cost == 0 { return false }
    longPromptGaveWay = true
    // Hypotheses move together: they are not cut, and have their turn in the next step.
    for slot in order where budget > 0 && !running[Int(slot.rawValue)].isBeam {
      let context = Double(running[Int(slot.rawValue)].computedTokens)
      let share = Int(cost / (1 + context / Double(configuration.attentionCostTokens)))
      let left = budget
      schedulePrefill(slot, into: &plan, budget: &budget, atMost: max(share, 1))
      if budget < left { break }
    }
    return true
  }

  /// The first sequence whose prompt does not end within so many rows.
  private func firstLongPrompt(_ rows: Int) -> SlotID? {
    order.first {
      !running[Int($0.rawValue)].isBeam && !isSuspended($0) && Int(running[Int($0.rawValue)].remainingTokens) > rows
    }
  }

  /// What the rows planned so far cost, in rows at the beginning of a prompt.
  private func cost(of plan: borrowing StepPlan, from first: Int) -> Double {
    var cost = 0.0
    for index in first..<plan.sequences.count {
      let step = plan.sequences[index]
      let context = Double(step.contextTokens) + Double(step.rowCount) / 2
      cost += Double(step.rowCount) * (1 + context / Double(configuration.attentionCostTokens))
    }
    return cost
  }
}
