import SwerveCore
import SwerveScheduling
import Testing

/// Choices of one request: one prompt, one set of blocks for it, a copy for whoever writes first.
@Suite struct ForkTests {
  static let caching = [true, false]

  private func numbers(
    caching: Bool, budget: Int = 64, sequences: Int = 8, blockSize: Int = 4, blocks: Int = 64, length: Int = 64
  ) -> SchedulerConfiguration {
    var numbers = configuration(
      budget: budget, sequences: sequences, blockSize: blockSize, blocks: blocks, length: length)
    numbers.enablePrefixCaching = caching
    return numbers
  }

  private func expectAlone(
    _ harness: Harness, _ id: UInt64, _ prompt: [TokenID], n: Int32, _ state: SamplingState, limit: Int = 64
  ) {
    for choice in 0..<n {
      let alone = FakeModel.reference(prompt: prompt, salt: [], sampling: state, choice: choice, contextLimit: limit)
      #expect(harness.tokens(id, choice) == alone.tokens && harness.reason(id, choice) == alone.finish)
    }
  }

  @Test(arguments: caching) func `choices sample one row, hold one table and copy the last block`(caching: Bool) throws
  {
    let harness = try Harness(numbers(caching: caching))
    try harness.add(1, tokens(0..<14), n: 3)
    try harness.step()
    #expect(harness.shares == [[1, 14], [1, 0], [1, 0]])
    #expect(harness.plan.sequences.map(\.samples) == [true, true, true])
    // Four blocks for fourteen tokens, of all three.
    #expect(harness.statistics.blocksUsed == 4)
    #expect(harness.runner.copies == 0)
    try harness.step()
    #expect(harness.shares == [[1, 1], [1, 1], [1, 1]])
    // Two took a copy, the last one writes in place.
    #expect(harness.runner.copies == 2 && harness.statistics.blocksUsed == 6)
    try harness.drain()
    #expect(harness.runner.copies == 2)
    #expect(harness.runner.rows == 14 + 3 * 7)
    expectAlone(harness, 1, tokens(0..<14), n: 3, sampling())
  }

  @Test(arguments: caching) func `a prompt of whole blocks needs no copy`(caching: Bool) throws {
    let harness = try Harness(numbers(caching: caching))
    try harness.add(1, tokens(0..<16), n: 4)
    try harness.step()
    #expect(harness.statistics.blocksUsed == 4)
    try harness.step()
    #expect(harness.statistics.blocksUsed == 8 && harness.runner.copies == 0)
    try harness.drain()
    expectAlone(harness, 1, tokens(0..<16), n: 4, sampling())
  }

  @Test(arguments: caching) func `the prompt is computed once also in pieces, and for one token`(caching: Bool) throws {
    let harness = try Harness(numbers(caching: caching, budget: 8))
    try harness.add(1, tokens(0..<14), n: 3, sampling(maxTokens: 1))
    try harness.add(2, tokens(100..<102))
    try harness.step()
    #expect(harness.shares == [[1, 8]])
    try harness.step()
    #expect(harness.shares == [[1, 6], [1, 0], [1, 0], [2, 2]])
    try harness.drain()
    #expect(harness.statistics.promptTokens == 16)
    expectAlone(harness, 1, tokens(0..<14), n: 3, sampling(maxTokens: 1))
  }

  @Test(arguments: caching) func `choices without a slot go on from a running one when there is one`(caching: Bool)
    throws
  {
    let harness = try Harness(numbers(caching: caching, sequences: 2))
    let state = sampling(maxTokens: 6)
    try harness.add(1, tokens(0..<14), n: 3, state)
    try harness.step()
    #expect(harness.shares == [[1, 14], [1, 0]])
    try harness.step()
    #expect(harness.finish(sequence(1, 0)))
    try harness.step()
    // The last token is computed again, to be sampled from.
    #expect(harness.shares == [[1, 1], [1, 1]])
    try harness.drain()
    #expect(
      harness.tokens(1, 2)
        == FakeModel.reference(
          prompt: tokens(0..<14), salt: [], sampling: state, choice: 2, contextLimit: 64
        ).tokens)
    #expect(harness.started[sequence(1, 2)]?.cachedTokens == 0)
  }

  @Test func `a skipped cache is not asked, and a choice still shares its sibling's blocks`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<9), n: 2, skip: true)
    try harness.step()
    #expect(harness.shares == [[1, 9], [1, 0]])
    try harness.drain()
    #expect(harness.statistics.prefixQueriedTokens == 0)
  }

  @Test func `a prompt is looked up once for all its choices`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<14), n: 3)
    try harness.drain()
    #expect(harness.statistics.promptTokens == 14)
    #expect(harness.statistics.prefixQueriedTokens == 14 && harness.statistics.prefixHitTokens == 0)
    try harness.add(2, tokens(0..<14), n: 3)
    try harness.drain()
    #expect(harness.statistics.promptTokens == 28)
    #expect(harness.statistics.prefixQueriedTokens == 28 && harness.statistics.prefixHitTokens == 13)
    #expect((0..<3).map { harness.cached(2, $0) } == [13, 13, 13])
  }

  @Test(arguments: caching) func `when the first choice leaves, the next one computes the prompt`(caching: Bool) throws
  {
    let harness = try Harness(numbers(caching: caching, budget: 8))
    try harness.add(1, tokens(0..<14), n: 3)
    try harness.step()
    #expect(harness.finish(sequence(1, 0)))
    try harness.step()
    #expect(harness.plan.sequences[0].sequence == sequence(1, 1))
    #expect(harness.plan.sequences[0].contextTokens == (caching ? 8 : 0))
    try harness.drain()
    #expect(harness.reason(1, 1) == .length && harness.reason(1, 2) == .length)
  }

  @Test(arguments: caching) func `choices are preempted and come back with the same tokens`(caching: Bool) throws {
    let harness = try Harness(numbers(caching: caching, blockSize: 2, blocks: 16, length: 24))
    let state = sampling(maxTokens: 12)
    try harness.add(1, tokens(0..<7), n: 4, state)
    try harness.add(2, tokens(50..<55), n: 2, state)
    try harness.drain()
    #expect(harness.statistics.preemptions > 0)
    expectAlone(harness, 1, tokens(0..<7), n: 4, state, limit: 24)
    expectAlone(harness, 2, tokens(50..<55), n: 2, state, limit: 24)
  }

  @Test func `drafts go behind choices like behind anybody`() throws {
    var numbers = configuration(budget: 128, blocks: 128, length: 120)
    numbers.speculation = SpeculationConfiguration()
    let harness = try Harness(numbers)
    harness.setRowCost(1e-4)
    let state = sampling(maxTokens: 60, topK: 1)
    try harness.add(1, tokens(0..<10), n: 3, state)
    try harness.drain()
    #expect(harness.statistics.acceptedTokens > 20)
    expectAlone(harness, 1, tokens(0..<10), n: 3, state, limit: 120)
  }

  /// Blocks at the end of 500-token prompts of which n choices are generated, in blocks of 16, with and without sharing
  /// between choices (what n requests with the prompt hold when nothing is cached).
  @Test func `blocks saved by choices of one prompt`() throws {
    for output in [100, 400, 1500] {
      for n in [2, 4, 6] {
        let shared = try peak(requests: 1, n: n, output: output)
        let apart = try peak(requests: n, n: 1, output: output)
        let saved = 1 - Double(shared) / Double(apart)
        print("n = \(n), 500 + \(output) tokens: \(shared) blocks instead of \(apart), saved \(Int(saved * 100)) %")
        // Each choice has the prompt's 31 full blocks for nothing, but the first.
        #expect(apart - shared >= 31 * (n - 1))
      }
    }
  }

  private func peak(requests: Int, n: Int, output: Int) throws -> Int {
    var numbers = configuration(budget: 4096, blockSize: 16, blocks: 2000, length: 4096)
    numbers.enablePrefixCaching = false
    let harness = try Harness(numbers)
    harness.checks = false
    for id in 0..<requests {
      try harness.add(UInt64(id), tokens(0..<500), n: n, sampling(maxTokens: output))
    }
    var peak = 0
    while harness.hasWork {
      try harness.step()
      peak = max(peak, harness.statistics.blocksUsed)
    }
    return peak
  }
}
