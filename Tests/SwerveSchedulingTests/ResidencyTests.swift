import SwerveCore
import SwerveScheduling
import Testing

/// Sequences with blocks below the device: they end with the tokens they have alone, in the places that were given.
@Suite struct ResidencyTests {
  private func numbers(device: Int, host: Int, store: Int, budget: Int = 16, length: Int = 512)
    -> SchedulerConfiguration
  {
    var numbers = configuration(budget: budget, sequences: 4, blockSize: 4, blocks: device, length: length)
    numbers.hostBlockCount = host
    numbers.overflowBlockCount = store
    return numbers
  }

  private func expected(_ prompt: [TokenID], _ state: SamplingState, _ harness: Harness) -> [TokenID] {
    FakeModel.reference(
      prompt: prompt, salt: [], sampling: state, choice: 0, contextLimit: harness.scheduler.configuration.contextLimit
    ).tokens
  }

  @Test(arguments: [true, false]) func `a sequence of ten times the device runs`(caching: Bool) throws {
    var configuration = numbers(device: 6, host: 5, store: 80)
    configuration.enablePrefixCaching = caching
    let harness = try Harness(configuration)
    let prompt = tokens((0..<180).map { $0 % 61 })
    let state = sampling(maxTokens: 60)
    try harness.add(1, prompt, state)
    try harness.drain()
    #expect(harness.tokens(1) == expected(prompt, state, harness))
    #expect(harness.reason(1) == .length)
    // 239 tokens are computed: 60 blocks, of which 6 were on the device at the end.
    #expect(harness.statistics.overflow.blocksToHost == 5)
    #expect(harness.statistics.overflow.blocksToStore >= 48)
    #expect(harness.statistics.overflow.hostBlocksUsed == 0 && harness.statistics.overflow.storeBlocksUsed == 0)
    #expect(harness.statistics.preemptions == 0)
  }

  /// Who takes blocks as it is computed loads none: what was asked for below the device ends with its admission, also
  /// where one token is left, for which nobody asks again.
  @Test func `a read ends where a sequence takes its blocks as it goes`() throws {
    var configuration = numbers(device: 4, host: 8, store: 0)
    configuration.tiers = TierRules()
    let harness = try Harness(configuration)
    /// Asks for what lies below the device, and hears that nothing does.
    func readNothing() throws -> ReadOrder {
      harness.scheduler.collectReads(now: harness.now)
      let order = try #require(harness.scheduler.tierOrders.reads.last)
      harness.scheduler.update(
        ReadReport(
          id: order.id, sequence: order.sequence, ready: order.first, end: order.first, lossyFrom: nil, isStalled: false
        ))
      return order
    }
    try harness.add(1, tokens(0..<13), sampling(maxTokens: 1))
    _ = try readNothing()
    try harness.drain(limit: 10)
    harness.scheduler.tierOrders = TierOrders()
    let prompt = tokens(0..<17)
    try harness.add(2, prompt, sampling(maxTokens: 3))
    let order = try readNothing()
    #expect(order.first == 3 && order.limit == 4, "three of four blocks are on the device")
    try harness.step()
    #expect(harness.plan.tokens.count == 4, "admitted: four rows have room, and what is left looks like a decode")
    #expect(harness.scheduler.tierOrders.ended == [order.id])
    try harness.drain(limit: 10)
    #expect(harness.tokens(2) == expected(prompt, sampling(maxTokens: 3), harness))
  }

  @Test func `it fills all places to the last`() throws {
    let harness = try Harness(numbers(device: 3, host: 4, store: 5))
    let prompt = tokens(0..<20)
    let state = sampling(maxTokens: nil)
    try harness.add(1, prompt, state)
    try harness.drain()
    // Twelve blocks of four; the last token needs no place.
    #expect(harness.tokens(1).count == 49 - 20)
    #expect(harness.tokens(1) == expected(prompt, state, harness))
  }

  @Test func `what no places can hold is refused`() throws {
    func refusal(_ numbers: SchedulerConfiguration, maxTokens: Int) throws -> SchedulingError? {
      try Scheduler(configuration: numbers).refusal(promptTokens: 40, maxTokens: maxTokens)
    }
    let with = numbers(device: 3, host: 4, store: 5)
    #expect(try refusal(with, maxTokens: 9) == nil)
    #expect(try refusal(with, maxTokens: 10) == .exceedsPool(blocks: 13, available: 12, blockSize: 4))
    let without = numbers(device: 3, host: 0, store: 0)
    #expect(try refusal(without, maxTokens: 9) == .exceedsPool(blocks: 12, available: 3, blockSize: 4))
    var whole = with
    whole.enableChunkedPrefill = false
    #expect(try refusal(whole, maxTokens: 9) == .exceedsPool(blocks: 12, available: 3, blockSize: 4))
  }

  @Test func `a prompt whose cached beginning fills the device is let in`() throws {
    let harness = try Harness(numbers(device: 6, host: 5, store: 80))
    let prompt = tokens((0..<90).map { $0 % 61 })
    try harness.add(1, Array(prompt[..<23]), sampling(maxTokens: 2))
    try harness.drain()
    // A look-up finds five full blocks, then all six.
    try harness.add(2, Array(prompt[..<24]), sampling(maxTokens: 1))
    try harness.drain()
    try harness.add(3, prompt, sampling(maxTokens: 20))
    try harness.drain()
    #expect(harness.tokens(3) == expected(prompt, sampling(maxTokens: 20), harness))
    #expect(harness.cached(3) == 20)
  }

  @Test func `choices larger than the device hold blocks of their own below it`() throws {
    for caching in [true, false] {
      var numbers = numbers(device: 6, host: 5, store: 80)
      numbers.enablePrefixCaching = caching
      let harness = try Harness(numbers)
      let prompt = tokens((0..<90).map { $0 % 61 })
      try harness.add(1, prompt, n: 3, sampling(maxTokens: 40))
      try harness.add(2, tokens(30..<41), n: 2, sampling(maxTokens: 8))
      try harness.drain()
      for (id, prompt, limit, n) in [(1, prompt, 40, 3), (2, tokens(30..<41), 8, 2)] {
        for choice in 0..<n {
          let alone = FakeModel.reference(
            prompt: prompt, salt: [], sampling: sampling(maxTokens: limit), choice: Int32(choice), contextLimit: 365)
          #expect(harness.tokens(UInt64(id), Int32(choice)) == alone.tokens)
          #expect(alone.tokens.count == limit)
        }
      }
      #expect(harness.statistics.overflow.blocksToStore > 40)
    }
  }

  @Test func `choices and beams that fit stay on the device`() throws {
    let harness = try Harness(numbers(device: 12, host: 20, store: 80))
    let prompt = tokens(0..<18)
    try harness.add(2, prompt, sampling(maxTokens: 40))
    try harness.add(3, prompt, n: 2, sampling(maxTokens: 15))
    try harness.add(4, tokens(30..<45), sampling(maxTokens: 30))
    try harness.addSearch(5, tokens(5..<12), width: 2, maxTokens: 12)
    try harness.drain()
    #expect(harness.tokens(2) == expected(prompt, sampling(maxTokens: 40), harness))
    #expect(harness.endedSearches == [5])
    #expect(harness.tokens(4) == expected(tokens(30..<45), sampling(maxTokens: 30), harness))
    for choice in 0..<2 {
      let alone = FakeModel.reference(
        prompt: prompt, salt: [], sampling: sampling(maxTokens: 15), choice: Int32(choice), contextLimit: 49)
      #expect(harness.tokens(3, Int32(choice)) == alone.tokens)
    }
    #expect(harness.statistics.overflow.blocksToHost + harness.statistics.overflow.blocksToStore > 0)
  }

  @Test func `short requests run beside a long one`() throws {
    let harness = try Harness(numbers(device: 8, host: 4, store: 60))
    let long = tokens((0..<150).map { $0 % 59 })
    try harness.add(1, long, sampling(maxTokens: 120))
    for _ in 0..<20 { try harness.step() }
    for id in 2..<12 {
      try harness.add(UInt64(id), tokens((0..<9).map { $0 + id }), sampling(maxTokens: 6, seed: UInt64(id)))
    }
    while harness.reason(11) == nil { try harness.step() }
    #expect(harness.reason(1) == nil, "the short ones did not wait for the long one")
    try harness.drain()
    #expect(harness.tokens(1) == expected(long, sampling(maxTokens: 120), harness))
    for id in 2..<12 {
      let alone = expected(tokens((0..<9).map { $0 + id }), sampling(maxTokens: 6, seed: UInt64(id)), harness)
      #expect(harness.tokens(UInt64(id)) == alone)
    }
  }

  @Test func `growing sequences move to the host before any is preempted`() throws {
    func run(host: Int) throws -> EngineStatistics {
      let harness = try Harness(numbers(device: 8, host: host, store: 0))
      for id in 1...4 { try harness.add(UInt64(id), tokens([id, 2, 3, 4, 5]), sampling(maxTokens: 20)) }
      try harness.drain()
      for id in 1...4 {
        #expect(harness.tokens(UInt64(id)) == expected(tokens([id, 2, 3, 4, 5]), sampling(maxTokens: 20), harness))
      }
      return harness.statistics
    }
    let with = try run(host: 20)
    #expect(with.preemptions == 0 && with.overflow.blocksToHost > 0)
    #expect(try run(host: 0).preemptions > 0)
  }

  @Test func `sequences take turns at the store`() throws {
    var configuration = numbers(device: 8, host: 0, store: 200)
    configuration.storeBlocksPerStep = 10
    let harness = try Harness(configuration)
    let prompts = (1...3).map { id in tokens((0..<60).map { ($0 * id) % 61 }) }
    for (index, prompt) in prompts.enumerated() { try harness.add(UInt64(index + 1), prompt, sampling(maxTokens: 30)) }
    var parked = 0
    var decoded = Set<UInt64>()
    while harness.finished.isEmpty {
      try harness.step()
      parked += harness.statistics.overflow.parkedSequences
      for share in harness.shares where share[1] == 1 { decoded.insert(UInt64(share[0])) }
    }
    #expect(parked > 10)
    #expect(decoded == [1, 2, 3], "none waits for another one's end")
    try harness.drain()
    for (index, prompt) in prompts.enumerated() {
      #expect(harness.tokens(UInt64(index + 1)) == expected(prompt, sampling(maxTokens: 30), harness))
    }
  }

  @Test func `a lost block is computed again, and not for ever`() throws {
    let harness = try Harness(numbers(device: 4, host: 2, store: 40))
    let prompt = tokens((0..<90).map { $0 % 61 })
    try harness.add(1, prompt, sampling(maxTokens: 20))
    while harness.tokens(1).count < 5 { try harness.step() }
    let first = harness.scheduler.configuration.ranges.firstOverflow
    harness.runner.lost = [BlockID(first + 3)]
    while harness.statistics.overflow.recoveries == 0 { try harness.step() }
    #expect(harness.tokens(1).count >= 5)
    try harness.drain()
    #expect(harness.tokens(1) == expected(prompt, sampling(maxTokens: 20), harness))
    #expect(harness.statistics.overflow.recoveries == 1)

    try harness.add(2, prompt, sampling(maxTokens: 20))
    var steps = 0
    while harness.reason(2) == nil && steps < 10_000 {
      steps += 1
      harness.runner.lost = Set((first..<first + 40).map { BlockID($0) })
      // Moves of a step make places whole again, so that only later steps miss them.
      try harness.step()
    }
    #expect(harness.reason(2) == .error)
    #expect(harness.statistics.overflow.storeBlocksUsed == 0)
    try harness.check()
  }
}
