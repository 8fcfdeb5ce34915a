package import SwerveCore

// Steps that are lost with whoever computed them, while everything that earlier steps wrote is kept. What a lost step may
// have written half are rows of its own, which its sequences hold alone and which the step, planned again, writes over with
// the same numbers. Only what it was to copy is not known to be there: who waited for a copy is computed again.
extension Scheduler {
  // MARK: Steps

  /// A step failed and what earlier steps computed is still there: its sequences stay where they are and are planned again,
  /// but for those that lost too many steps without a token in between, which end with `error`.
  package mutating func interrupt(_ plan: borrowing StepPlan, into outputs: inout [SequenceOutput]) {
    begin(&outputs)
    for index in 0..<plan.sequences.count {
      let step = plan.sequences[index]
      guard isCurrent(step, of: plan.id) else { continue }
      let slot = Int(step.slot.rawValue)
      running[slot].plannedStep = 0
      var output = output(of: step, at: index)
      // Some of the step's tokens may have been chosen: the sampler forgets them.
      running[slot].needsAdmission = true
      let goesOn = retry(step.slot)
      emit(&output, ofIncomplete: step.slot, goesOn: goesOn, into: &outputs)
    }
    for bank in 0..<pool.bankCount { giveUpCopies(in: bank) }
  }

  /// The sequence's last step is to be planned again, from what it had computed before. Answers whether it goes on. It may
  /// still await a copy: a block that this was to fill must not be found by others when the sequence leaves it.
  mutating func retry(_ slot: SlotID) -> Bool {
    guard mayLoseAgain(slot) else { return false }
    if running[Int(slot.rawValue)].awaitsCopy || running[Int(slot.rawValue)].isBeam {
      preempt(slot, losingBlocks: true)
      return true
    }
    releaseDraftBlocks(of: slot)
    counters.resumedSequences += 1
    return true
  }

  /// Tells the sampler of a running sequence as if it came from the queue.
  mutating func admitAgain(_ slot: SlotID, into plan: inout StepPlan) {
    let index = Int(slot.rawValue)
    running[index].needsAdmission = false
    let group = groups[running[index].group]
    plan.admissions.append(
      Admission(
        sequence: running[index].sequence, slot: slot, sampling: group.sampling,
        tokens: group.prompt + generated[index], promptTokens: group.prompt.count))
  }

  // MARK: Banks

  /// Whether nobody computes with the sequence's blocks at present.
  func isSuspended(_ slot: SlotID) -> Bool {
    guard banks.suspendedCount > 0 else { return false }
    return (0..<banks.count).contains { banks.states[$0] == .suspended && holds(slot, in: $0) }
  }

  /// Whether other choices of the entry's request hold blocks of a bank that is suspended.
  func awaitsBank(_ entry: RequestQueue.Entry) -> Bool {
    guard banks.suspendedCount > 0, groups[entry.group].running > 0 else { return false }
    let group = groups[entry.group]
    return banks.states[Int(group.bank)] == .suspended
      || group.further.contains { banks.states[Int($0)] == .suspended }
  }

  /// The bank's memory outlives who computed with it: its sequences keep their blocks and wait. Not for a bank that is
  /// draining. Between steps, or before a step's result is applied.
  package mutating func suspend(bank: Int) {
    guard banks.states[bank] == .open else { return }
    banks.set(bank, .suspended)
    giveUpCopies(in: bank)
  }

  /// Has those computed again that a step may have left without copies although they computed nothing in it.
  private mutating func giveUpCopies(in bank: Int) {
    while let slot = order.last(where: {
      let sequence = running[Int($0.rawValue)]
      return (sequence.awaitsCopy || sequence.isBeam) && sequence.plannedStep != stepID && holds($0, in: bank)
    }) {
      preempt(slot, losingBlocks: true)
    }
  }

  /// Somebody computes with the bank's memory again, and finds in it what it held. Answers the sequences that go on.
  @discardableResult
  package mutating func resume(bank: Int) -> Int {
    if banks.states[bank] == .suspended { banks.set(bank, .open) }
    return sequenceCount(in: bank)
  }

  package func isSuspended(bank: Int) -> Bool { banks.states[bank] == .suspended }
}
