import SwerveCore
import SwerveScheduling
import Testing

private func rule(
  _ weight: Double, first: UInt64? = nil, token: UInt64? = nil, share: Double = 1, preempts: Bool = false
) -> ServiceRule {
  var rule = ServiceRule()
  rule.weight = weight
  rule.firstTokenTarget = first
  rule.tokenTarget = token
  rule.maxShare = share
  rule.preempts = preempts
  return rule
}

/// Each policy by what it admits, computes and takes away.
@Suite struct PolicyTests {
  /// Ids in the order their first token came.
  private func firstTokens(_ harness: Harness) throws -> [UInt64] {
    var ids: [UInt64] = []
    while harness.hasWork {
      try harness.step()
      ids += harness.outputs.filter(\.isFirstScheduled).map(\.sequence.request.rawValue)
    }
    return ids
  }

  @Test func `priority runs lower numbers first and preempts the highest`() throws {
    let harness = try Harness(configuration(sequences: 1), policy: PriorityFirst())
    try harness.add(1, tokens(0..<4), priority: 5)
    try harness.add(2, tokens(10..<14), priority: -1, arrival: 3)
    try harness.add(3, tokens(20..<24), priority: 5, arrival: 1)
    #expect(try firstTokens(harness) == [2, 1, 3])

    // Two sequences fill the pool; the less urgent one, although it came first, gives its blocks back.
    let small = try Harness(configuration(blocks: 6), policy: PriorityFirst())
    try small.add(1, tokens(0..<8), sampling(maxTokens: 12), priority: 1)
    try small.step()
    try small.add(2, tokens(10..<18), sampling(maxTokens: 12), priority: 0)
    try small.drain()
    #expect(small.finished[sequence(1)]?.preemptions ?? 0 > 0)
    #expect(small.finished[sequence(2)]?.preemptions == 0)
  }

  @Test func `shortest first lets pass what is short, and only for a while`() throws {
    let policy = ShortestFirst(patience: 10)
    func key(_ tokens: Int32, _ arrival: UInt64) -> SchedulingKey {
      SchedulingKey(priority: 0, arrival: arrival, serial: arrival, choice: 0, promptTokens: tokens)
    }
    #expect(policy.precedes(key(1, 50), key(100, 0)))
    #expect(!policy.precedes(key(1, 991), key(100, 0)))
    #expect(!policy.precedes(key(1, .max), key(100, .max)))
    let harness = try Harness(configuration(sequences: 1), policy: policy)
    try harness.add(1, tokens(0..<40), sampling(maxTokens: 1))
    try harness.add(2, tokens(0..<5), sampling(maxTokens: 1), arrival: 9)
    try harness.add(3, tokens(0..<5), sampling(maxTokens: 1), arrival: 800)
    #expect(try firstTokens(harness) == [2, 1, 3])
  }

  @Test(arguments: [1.0, 3.0])
  func `tenants get tokens by weight, whatever they ask for`(weight: Double) throws {
    var numbers = configuration(budget: 32, sequences: 6, blocks: 64, length: 64)
    numbers.enablePrefixCaching = false
    numbers.serviceRules = [rule(1), rule(weight)]
    let harness = try Harness(numbers, policy: FairShare())
    // The first tenant floods with large requests before the other one comes with small ones.
    for id in 0..<400 { try harness.add(UInt64(id), tokens(0..<40), sampling(maxTokens: 20), tenant: 7) }
    for id in 400..<9000 {
      try harness.add(UInt64(id), tokens(0..<5), sampling(maxTokens: 5), tenant: 8, serviceClass: 1)
    }
    var served = [0, 0]
    for _ in 0..<2500 {
      try harness.step()
      for step in harness.plan.sequences { served[step.sequence.request.rawValue < 400 ? 0 : 1] += Int(step.rowCount) }
    }
    #expect(harness.statistics.waitingRequests > 0)
    let ratio = Double(served[1]) / Double(served[0])
    // The policy's bound: one large request and what runs, of the tokens served.
    let slack = Double(60 + 6 * 60) * (1 + weight) / Double(min(served[0], served[1]))
    #expect(abs(ratio / weight - 1) < slack, "served \(served)")
    #expect(slack < 0.5)
  }

  @Test func `a tenant that was away has no credit, and one that is alone has no limit`() throws {
    var numbers = configuration(budget: 16, sequences: 2, blocks: 64, length: 64)
    numbers.enablePrefixCaching = false
    let harness = try Harness(numbers, policy: FairShare())
    for id in 0..<60 { try harness.add(UInt64(id), tokens(0..<8), sampling(maxTokens: 8), tenant: 1) }
    for _ in 0..<100 { try harness.step() }
    let before = harness.finished.count
    #expect(before > 15)
    // The newcomer shares from now on; it is not paid for the steps before.
    for id in 100..<160 { try harness.add(UInt64(id), tokens(0..<8), sampling(maxTokens: 8), tenant: 2) }
    for _ in 0..<80 { try harness.step() }
    let newcomers = harness.finished.keys.count { $0.request.rawValue >= 100 }
    let others = harness.finished.count - before - newcomers
    #expect(abs(newcomers - others) <= 3, "\(newcomers) and \(others)")
  }

  @Test func `where tenants share, who was served most gives its blocks back`() throws {
    let harness = try Harness(configuration(sequences: 4, blocks: 7), policy: FairShare())
    // The larger prompt came first, so the order of arrival alone would take from the other one.
    try harness.add(1, tokens(0..<12), sampling(maxTokens: 12), tenant: 1)
    try harness.add(2, tokens(50..<54), sampling(maxTokens: 16), tenant: 2)
    try harness.drain()
    #expect(harness.finished[sequence(1)]?.preemptions ?? 0 > 0)
    #expect(harness.finished[sequence(2)]?.preemptions == 0)
  }

  @Test func `a class that may preempt takes the slot of a lower one, and the result stays`() throws {
    var numbers = configuration(sequences: 2)
    numbers.serviceRules = [rule(1), rule(8, first: 10, preempts: true)]
    let harness = try Harness(numbers, policy: ServiceLevels())
    for id in 1...3 { try harness.add(UInt64(id), tokens((id * 20)..<(id * 20 + 6)), sampling(maxTokens: 20)) }
    for _ in 0..<4 { try harness.step() }
    try harness.add(9, tokens(200..<206), sampling(maxTokens: 4), arrival: harness.now, serviceClass: 1)
    try harness.step()
    #expect(harness.started[sequence(9)] != nil)
    try harness.drain()
    #expect(harness.statistics.preemptions == 1)
    for id in 1...3 {
      let alone = FakeModel.reference(
        prompt: tokens((id * 20)..<(id * 20 + 6)), salt: [], sampling: sampling(maxTokens: 20), choice: 0,
        contextLimit: 64)
      #expect(harness.tokens(UInt64(id)) == alone.tokens)
    }
    // Without the right to preempt it waits for a slot.
    numbers.serviceRules[1].preempts = false
    let patient = try Harness(numbers, policy: ServiceLevels())
    for id in 1...3 { try patient.add(UInt64(id), tokens(0..<6), sampling(maxTokens: 20)) }
    for _ in 0..<4 { try patient.step() }
    try patient.add(9, tokens(0..<6), sampling(maxTokens: 4), arrival: patient.now, serviceClass: 1)
    try patient.step()
    #expect(patient.started[sequence(9)] == nil)
    try patient.drain()
    #expect(patient.statistics.preemptions == 0)
  }

  @Test func `a class never holds more slots than its share`() throws {
    var numbers = configuration(sequences: 8)
    numbers.serviceRules = [rule(1, share: 0.25), rule(1)]
    let harness = try Harness(numbers, policy: ServiceLevels())
    for id in 1...10 { try harness.add(UInt64(id), tokens(0..<4), sampling(maxTokens: 10)) }
    for id in 11...13 { try harness.add(UInt64(id), tokens(0..<4), sampling(maxTokens: 10), serviceClass: 1) }
    try harness.step()
    #expect(harness.plan.sequences.count { $0.sequence.request.rawValue <= 10 } == 2)
    #expect(harness.plan.sequences.count { $0.sequence.request.rawValue > 10 } == 3)
    try harness.drain()
    #expect(harness.finished.count == 13)
  }

  @Test func `prompts are cut so that steps keep the promised time between tokens`() throws {
    var numbers = configuration(budget: 64, sequences: 4, blocks: 256, length: 256)
    numbers.enablePrefixCaching = false
    numbers.serviceRules = [rule(8, token: 20), rule(1)]
    let harness = try Harness(numbers, policy: ServiceLevels())
    try harness.add(1, tokens(0..<4), sampling(maxTokens: 200))
    try harness.add(2, tokens(0..<250), sampling(maxTokens: 1), serviceClass: 1)
    var longest = 0
    for step in 0..<30 {
      // One nanosecond a row and two for the step.
      harness.stepTime = UInt64(harness.plan.tokens.count + 2)
      try harness.step()
      if step > 10 { longest = max(longest, harness.plan.tokens.count) }
      if step == 10 {
        for id in 3..<9 { try harness.add(UInt64(id), tokens(0..<250), sampling(maxTokens: 1), serviceClass: 1) }
      }
    }
    #expect(longest > 1 && longest <= 22, "a step of \(longest) rows")
  }

  @Test func `prompts of similar length are admitted together, and the first one is never passed`() throws {
    var numbers = configuration(budget: 16, sequences: 8)
    numbers.groupsLengths = true
    let harness = try Harness(numbers)
    for (id, length) in [8, 30, 9, 3, 2].enumerated() {
      // Nothing in common: who waits for a prefix would be passed.
      try harness.add(UInt64(id), tokens((0..<length).map { 100 * id + $0 }), sampling(maxTokens: 1))
    }
    try harness.step()
    #expect(harness.shares.map(\.first) == [0, 2])
    try harness.step()
    #expect(harness.shares.first?.first == 2 || harness.shares.first?.first == 1)
    try harness.drain()
    #expect(harness.finished.count == 5)
  }

  @Test func `who waited too long is given up, oldest first, and nobody who ran`() throws {
    var numbers = configuration(sequences: 1)
    numbers.queueTimeout = 5
    let harness = try Harness(numbers)
    try harness.add(1, tokens(0..<4), sampling(maxTokens: 20))
    try harness.step()
    for id in 2...4 { try harness.add(UInt64(id), tokens(0..<4), arrival: UInt64(id)) }
    #expect(harness.statistics.waitingTokens == 12)
    var expired: [UInt64] = []
    while harness.now < 12 {
      try harness.step()
      expired += harness.expired.map(\.rawValue)
      #expect(harness.statistics.oldestArrival == [2, 3, 4].first { !expired.contains($0) })
    }
    #expect(expired == [2, 3, 4])
    try harness.drain()
    #expect(harness.tokens(1).count == 20)
  }

  @Test func `a beam search is given up like any request that waits too long`() throws {
    var numbers = configuration(sequences: 2)
    numbers.queueTimeout = 5
    let harness = try Harness(numbers)
    try harness.add(1, tokens(0..<4), sampling(maxTokens: 20))
    try harness.step()
    // Waits for two slots, and one is taken.
    try harness.addSearch(2, tokens(0..<4), width: 2, maxTokens: 4, arrival: 2)
    var expired: [UInt64] = []
    while harness.now < 10 {
      try harness.step()
      expired += harness.expired.map(\.rawValue)
    }
    #expect(expired == [2])
    try harness.drain()
    #expect(harness.tokens(1).count == 20 && harness.endedSearches.isEmpty)
  }

  @Test func `a class that does not exist is refused`() throws {
    let harness = try Harness(configuration())
    #expect(throws: SchedulingError.unknownServiceClass(1)) {
      try harness.add(1, tokens(0..<4), serviceClass: 1)
    }
    var numbers = configuration()
    numbers.serviceRules = [rule(0), rule(1, share: 2)]
    #expect(numbers.problems().count == 2)
  }
}
