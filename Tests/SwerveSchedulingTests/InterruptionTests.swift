import SwerveCore
import SwerveScheduling
import Testing

/// Steps that are lost while all that was computed before is kept: nobody may find what such a step was to copy or compute.
@Suite struct InterruptionTests {
  enum Loss: CaseIterable {
    /// The whole step.
    case interrupted
    /// The part of it whose bank is suspended.
    case suspended
  }

  private func bankedHarness() throws -> Harness {
    var numbers = configuration(blocks: 40)
    numbers.bankCount = 2
    return try Harness(numbers)
  }

  /// Plans a step that stops before its first copy. `between` runs before it is known to be lost.
  private func lose(_ harness: Harness, _ loss: Loss, between: () -> Void = {}) throws {
    harness.scheduler.schedule(into: &harness.plan)
    try harness.runner.begin(harness.plan)
    between()
    switch loss {
    case .interrupted:
      harness.scheduler.interrupt(harness.plan, into: &harness.outputs)
      harness.collect()
    case .suspended:
      let bank = Int(harness.plan.blocks[0].rawValue) / harness.scheduler.configuration.bankBlocks
      harness.scheduler.suspend(bank: bank)
      harness.result.removeAll()
      harness.result.incomplete = harness.plan.sequences.indices.map { Int32($0) }
      harness.apply()
      harness.scheduler.resume(bank: bank)
    }
    try harness.check()
  }

  private func expectAlone(_ harness: Harness, _ id: UInt64, _ prompt: [TokenID], _ choice: Int32 = 0) {
    let alone = FakeModel.reference(
      prompt: prompt, salt: [], sampling: sampling(), choice: choice,
      contextLimit: harness.scheduler.configuration.contextLimit)
    #expect(harness.tokens(id, choice) == alone.tokens && harness.reason(id, choice) == alone.finish)
  }

  @Test(arguments: Loss.allCases) func `a choice's copy that was never taken is not found`(loss: Loss) throws {
    let harness = try bankedHarness()
    try harness.add(1, tokens(0..<6), n: 2)
    try harness.step()
    try lose(harness, loss)
    #expect(harness.plan.copies.count == 1 && harness.statistics.preemptions == 1)
    let prompt = tokens(0..<6) + tokens([50])
    try harness.add(2, prompt)
    try harness.drain()
    expectAlone(harness, 1, tokens(0..<6), 0)
    expectAlone(harness, 1, tokens(0..<6), 1)
    expectAlone(harness, 2, prompt)
  }

  @Test(arguments: Loss.allCases) func `a row that a choice was to share and nobody computed is not found`(loss: Loss)
    throws
  {
    let harness = try bankedHarness()
    try harness.add(1, tokens(0..<3), n: 2)
    // The choice that computes the prompt for both leaves; the other one holds its block alone.
    try lose(harness, loss) { harness.finish(sequence(1, 0)) }
    #expect(harness.shares == [[1, 3], [1, 0]] && harness.statistics.preemptions == 1)
    let prompt = tokens(0..<3) + tokens([50])
    try harness.add(2, prompt)
    try harness.drain()
    expectAlone(harness, 1, tokens(0..<3), 1)
    expectAlone(harness, 2, prompt)
  }

  @Test(arguments: Loss.allCases) func `a beginning that was never copied is not found through choices`(loss: Loss)
    throws
  {
    let harness = try bankedHarness()
    try harness.add(1, tokens(0..<3))
    try harness.drain()
    let prompt = tokens(0..<2) + tokens([50])
    try harness.add(2, prompt, n: 3)
    try lose(harness, loss)
    #expect(harness.shares == [[2, 1], [2, 0], [2, 0]] && harness.plan.copies.count == 1)
    #expect(harness.statistics.preemptions == 3)
    try harness.drain()
    for choice in 0..<3 { expectAlone(harness, 2, prompt, Int32(choice)) }
  }
}
