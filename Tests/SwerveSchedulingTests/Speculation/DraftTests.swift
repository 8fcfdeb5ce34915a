import SwerveCore
import SwerveScheduling
import Testing

@Suite struct DraftTests {
  private func speculating(
    budget: Int = 64, sequences: Int = 8, blocks: Int = 64, length: Int = 256,
    _ change: (inout SpeculationConfiguration) -> Void = { _ in }
  ) -> SchedulerConfiguration {
    var numbers = configuration(budget: budget, sequences: sequences, blocks: blocks, length: length)
    var speculation = SpeculationConfiguration()
    change(&speculation)
    numbers.speculation = speculation
    return numbers
  }

  /// Says the same token for ever.
  private let looping = sampling(maxTokens: 100, topK: 1)

  @Test func `a loop takes a fraction of the steps`() throws {
    let harness = try Harness(speculating())
    try harness.add(1, tokens([5, 6, 7]), looping)
    try harness.drain()
    #expect(harness.tokens(1) == [TokenID](repeating: 0, count: 100))
    #expect(harness.reason(1) == .length)
    let statistics = harness.statistics
    #expect(statistics.steps < 30)
    #expect(statistics.acceptedTokens == harness.runner.acceptedDrafts)
    #expect(statistics.acceptedTokens + statistics.steps >= 100)
    #expect((0..<16).reduce(0) { $0 + statistics.acceptedByPosition[$1] } == statistics.acceptedTokens)
    #expect(statistics.acceptedByPosition[0] >= statistics.acceptedByPosition[7])
    #expect(statistics.acceptedByPosition[7] > 0 && statistics.acceptedByPosition[8] == 0)
    #expect(statistics.draftLimit == 8)
  }

  @Test func `without speculation there is a step for each token`() throws {
    let harness = try Harness(configuration(length: 256))
    try harness.add(1, tokens([5, 6, 7]), looping)
    try harness.drain()
    #expect(harness.tokens(1) == [TokenID](repeating: 0, count: 100))
    #expect(harness.statistics.drafts == 0 && harness.statistics.draftLimit == 0)
  }

  @Test func `text that does not repeat itself gets hardly any draft`() throws {
    let harness = try Harness(speculating(length: 2_048) { $0.promptLookupMin = 1 })
    harness.checks = false
    // 61 tokens: one of them was seen before nearly always, and is followed by the same one by chance only.
    try harness.add(1, tokens([5, 6, 7]), sampling(maxTokens: 240, seed: 3))
    try harness.drain()
    #expect(harness.tokens(1).count == 240)
    // Each costs a twentieth of a step.
    #expect(harness.statistics.draftTokens < 60)
  }

  @Test(arguments: [true, false]) func `drafts keep the time between tokens that a class was promised`(
    isPromised: Bool
  ) throws {
    var numbers = speculating()
    var rule = ServiceRule()
    // Four rows of 100 ns.
    rule.tokenTarget = isPromised ? 400 : nil
    numbers.serviceRules = [rule, ServiceRule()]
    let harness = try Harness(numbers, policy: ServiceLevels())
    harness.setRowCost(1e-4)
    for rows in 1...40 { harness.scheduler.observeStep(rows: rows % 9 + 1, nanoseconds: UInt64(rows % 9 + 1) * 100) }
    for id in 1...2 { try harness.add(UInt64(id), tokens([5, 6, 7]), looping) }
    var most = 0
    while harness.hasWork {
      harness.scheduler.schedule(into: &harness.plan)
      try harness.runner.execute(harness.plan, into: &harness.result)
      let rows = harness.plan.tokens.count
      harness.scheduler.observeStep(rows: rows, nanoseconds: UInt64(rows) * 100)
      if harness.plan.sequences.count == 2 && harness.plan.admissions.isEmpty { most = max(most, rows) }
      harness.apply()
    }
    #expect(harness.tokens(1).count == 100)
    #expect(isPromised ? (3...4).contains(most) : most > 8, "\(most)")
  }

  @Test func `the more sequences decode, the surer a draft must be`() throws {
    func drafted(_ count: UInt64) throws -> Int {
      let harness = try Harness(speculating(budget: 512, sequences: 64, blocks: 4_096))
      harness.setRowCost(0.2)
      // Half of the guesses hold.
      for id in 1...count { try harness.add(id, tokens([5, 6, 7]), sampling(maxTokens: 60, seed: id, topK: 2)) }
      try harness.drain()
      return harness.statistics.draftTokens / Int(count)
    }
    let alone = try drafted(1)
    let among = try drafted(48)
    #expect(alone > 20)
    #expect(among < alone / 4)
  }

  @Test func `a batch that is too large has no drafts`() throws {
    let harness = try Harness(speculating { $0.disableByBatchSize = 2 })
    try harness.add(1, tokens([5, 6, 7]), looping)
    try harness.add(2, tokens([5, 6, 7]), sampling(maxTokens: 20, topK: 1))
    while harness.reason(2) == nil { try harness.step() }
    #expect(harness.statistics.drafts == 0)
    try harness.drain()
    #expect(harness.statistics.drafts > 0)
  }

  @Test func `prompts come before drafts`() throws {
    let harness = try Harness(speculating(budget: 16))
    try harness.add(1, tokens([5, 6, 7]), sampling(maxTokens: 200, topK: 1))
    while harness.shares != [[1, 9]] { try harness.step() }
    try harness.add(2, tokens(0..<40), sampling(maxTokens: 1))
    try harness.step()
    #expect(harness.shares == [[1, 1], [2, 15]])
    try harness.step()
    #expect(harness.shares == [[1, 1], [2, 15]])
    try harness.step()
    // Ten tokens of the prompt are left, and five rows for drafts.
    #expect(harness.shares == [[1, 6], [2, 10]])
    try harness.drain()
    #expect(harness.tokens(1).count == 200)
  }

  @Test func `a terminator among the accepted tokens ends the sequence there`() throws {
    let harness = try Harness(speculating())
    let state = sampling(maxTokens: 100, minTokens: 50, terminators: [0], topK: 2)
    try harness.add(1, tokens([1, 1, 1, 1, 1, 1, 1, 1]), state)
    try harness.drain()
    let alone = FakeModel.reference(
      prompt: tokens([1, 1, 1, 1, 1, 1, 1, 1]), salt: [], sampling: state, choice: 0, contextLimit: 256)
    #expect(harness.tokens(1) == alone.tokens)
    #expect(harness.reason(1) == .stop && alone.finish == .stop)
    #expect(harness.statistics.acceptedTokens > 20)
  }

  @Test func `drafts take no block that a sequence needs`() throws {
    // Two sequences that fill the pool to the last block, and one that never gets to draft over its own blocks.
    let harness = try Harness(speculating(sequences: 2, blocks: 16, length: 32))
    for id in 1...2 { try harness.add(UInt64(id), tokens([id, 6, 7]), sampling(maxTokens: 29, topK: 1)) }
    try harness.drain()
    #expect(harness.tokens(1).count == 29 && harness.tokens(2).count == 29)
    #expect(harness.statistics.preemptions == 0)
    #expect(harness.statistics.acceptedTokens > 0)
  }

  @Test func `a preempted sequence goes on guessing`() throws {
    let harness = try Harness(speculating(sequences: 4, blocks: 20, length: 64))
    for id in 1...4 { try harness.add(UInt64(id), tokens([id, 6, 7]), sampling(maxTokens: 50, topK: 1)) }
    try harness.drain()
    for id in 1...4 { #expect(harness.tokens(UInt64(id)) == [TokenID](repeating: 0, count: 50)) }
    #expect(harness.statistics.preemptions > 0)
    #expect(harness.statistics.acceptedTokens > 50)
  }

  @Test func `a configuration out of range is refused in a sentence`() {
    #expect(throws: SchedulingError.self) { try Harness(speculating { $0.tokens = 16 }) }
    #expect(throws: SchedulingError.self) { try Harness(speculating { $0.promptLookupMin = 9 }) }
  }
}
