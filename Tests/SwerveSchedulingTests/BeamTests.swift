import SwerveCore
import SwerveScheduling
import Testing

/// Beam searches in the scheduler. `FakeSearch` draws how hypotheses go on and compares what was computed for each, in
/// every step, with what its tokens give alone.
@Suite struct BeamTests {
  @Test(arguments: [true, false]) func `hypotheses hold common blocks together and cost a row each`(caching: Bool)
    throws
  {
    var numbers = configuration(blocks: 256)
    numbers.enablePrefixCaching = caching
    let harness = try Harness(numbers)
    try harness.addSearch(1, tokens(0..<14), width: 4, maxTokens: 20)
    try harness.step()
    #expect(harness.shares == [[1, 14]])
    #expect(harness.statistics.blocksUsed == 4)
    var steps = 1
    while harness.hasWork {
      let hypotheses = harness.searches[1]?.beams.count ?? 0
      try harness.step()
      steps += 1
      #expect(harness.plan.tokens.count == hypotheses)
    }
    #expect(steps == 20 && harness.endedSearches == [1])
    try harness.step()
    #expect(harness.statistics.blocksUsed == 0 && harness.runner.slots.isEmpty)
  }

  @Test func `only what is written to is copied`() throws {
    let harness = try Harness(configuration(sequences: 3, blocks: 64))
    try harness.addSearch(1, tokens(0..<6), width: 3, maxTokens: 4)
    try harness.step()
    let hypotheses = harness.searches[1]?.beams.count ?? 0
    try harness.step()
    // All of them came from the prompt: the last one to write needs no copy.
    #expect(harness.runner.copies == hypotheses - 1)
    try harness.drain()
  }

  @Test(arguments: [1, 7, 64]) func `a search is preempted as a whole and goes on where it was`(budget: Int) throws {
    var seen = 0
    for seed in UInt64(1)...40 {
      var numbers = configuration(budget: max(budget, 3), sequences: 8, blockSize: 2, blocks: 20, length: 30)
      numbers.enablePrefixCaching = seed % 2 == 0
      let harness = try Harness(numbers)
      try harness.add(1, tokens(60..<64), sampling(maxTokens: 24))
      try harness.addSearch(2, tokens(0..<5), width: 3, maxTokens: 10, seed: seed)
      try harness.addSearch(3, tokens(30..<34), width: 3, maxTokens: 9, seed: seed + 100)
      try harness.drain()
      #expect(harness.endedSearches.sorted() == [2, 3])
      #expect(harness.tokens(1).count == 24)
      #expect(harness.statistics.blocksUsed == 0)
      seen += harness.statistics.preemptions
    }
    #expect(seen > 0)
  }

  @Test func `cancelling, finishing or failing a search frees everything at once`() throws {
    for way in 0..<3 {
      let harness = try Harness(configuration())
      try harness.addSearch(1, tokens(0..<10), width: 4, maxTokens: 20)
      for _ in 0..<5 { try harness.step() }
      switch way {
      case 0: #expect(harness.cancel(1))
      case 1:
        #expect(harness.finish(sequence(1, 2)))
        harness.searches = [:]
      default:
        harness.scheduler.schedule(into: &harness.plan)
        try harness.runner.begin(harness.plan)
        harness.scheduler.fail(harness.plan, into: &harness.outputs)
        harness.collect()
        #expect(harness.outputs.map(\.finish) == [.error])
      }
      #expect(harness.statistics.blocksUsed == 0 && !harness.hasWork)
      try harness.step()
      #expect(harness.runner.slots.isEmpty)
    }
  }

  @Test func `a search without a place waits, and a search that can never have one is refused`() throws {
    let harness = try Harness(configuration(sequences: 4, blockSize: 4, blocks: 20, length: 40))
    #expect(throws: SchedulingError.beamsTooWide(width: 5, limit: 4)) {
      try harness.addSearch(1, tokens(0..<4), width: 5, maxTokens: 4)
    }
    #expect(throws: SchedulingError.exceedsPool(blocks: 1 + 4 * 7, available: 20, blockSize: 4)) {
      try harness.addSearch(1, tokens(0..<4), width: 4, maxTokens: 29)
    }
    #expect(throws: SchedulingError.searchWithoutTokens) {
      try harness.addSearch(1, tokens(0..<4), width: 4, maxTokens: 0)
    }
    // Without a limit of its own it ends where the pool does: 1 + 4 × 4 blocks, and the last token is not computed.
    try harness.add(1, tokens(50..<52), sampling(maxTokens: 5))
    try harness.addSearch(2, tokens(0..<4), width: 4, maxTokens: nil)
    #expect(harness.searches[2]?.maxTokens == 17)
    try harness.step()
    #expect(harness.shares == [[1, 2]])
    try harness.drain()
    #expect(harness.endedSearches == [2])
  }

  /// Blocks of a search of which every step keeps the best few of all continuations, so that hypotheses share most of
  /// their history, against hypotheses that each have blocks of their own.
  @Test func `blocks saved by hypotheses`() throws {
    for width in [4, 6] {
      for (prompt, output) in [(50, 100), (200, 200), (500, 100)] {
        let harness = try Harness(configuration(budget: 4096, blockSize: 16, blocks: 1000, length: 2048))
        harness.checks = false
        try harness.addSearch(1, tokens(0..<prompt), width: width, maxTokens: output)
        var held = 0
        var apart = 0
        while harness.hasWork {
          try harness.step()
          guard let beams = harness.searches[1]?.beams else { continue }
          held += harness.statistics.blocksUsed
          apart += beams.count * ((prompt + beams[0].count + 15) / 16)
        }
        let saved = 1 - Double(held) / Double(apart)
        print("width \(width), \(prompt) + \(output) tokens: saved \(Int(saved * 100)) % of blocks")
        #expect(saved > 0.37)
      }
    }
  }
}
