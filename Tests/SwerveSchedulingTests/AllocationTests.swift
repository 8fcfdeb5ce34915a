import CAllocationCounter
import SwerveCore
import SwerveScheduling
import Testing

@Suite struct AllocationTests {
  /// 256 sequences decode across many block borders: blocks are taken, filled, hashed and cached, and nothing is
  /// allocated on the heap.
  #if DEBUG
    private static let isOptimized = false
  #else
    private static let isOptimized = true
  #endif

  @Test(
    .enabled(if: isOptimized && allocation_count() >= 0, "unoptimised code boxes temporaries; only Linux counts"),
    arguments: [true, false], Policies.all.map { ($0.name, false) } + [("fcfs", true)])
  func `a decode step allocates nothing`(caching: Bool, way: (policy: String, speculating: Bool)) throws {
    let speculating = way.speculating
    var numbers = configuration(budget: 8_192, sequences: 256, blockSize: 16, blocks: 32_768, length: 2_048)
    numbers.enablePrefixCaching = caching
    if speculating { numbers.speculation = SpeculationConfiguration() }
    for weight in [1.0, 4] {
      var rule = ServiceRule()
      rule.weight = weight
      rule.firstTokenTarget = 10
      rule.tokenTarget = 1_000
      rule.maxShare = 0.9
      rule.preempts = true
      numbers.serviceRules.append(rule)
    }
    let policy = try #require(Policies.named(way.policy))
    var scheduler = try Scheduler(configuration: numbers, policy: policy)
    scheduler.setRowCost(1e-4)
    // 256 run; the others of both classes and many tenants wait, but where their admission would stop drafts.
    for id in 0..<(speculating ? 256 : 300) {
      var request = WaitingRequest(
        request: RequestID(rawValue: UInt64(id)), promptTokens: tokens((0..<20).map { $0 * 300 + id }),
        sampling: sampling(maxTokens: nil, minTokens: 0, terminators: [100_000, 100_001]))
      request.tenant = UInt64(id % 7)
      request.serviceClass = Int32(id % 2)
      try scheduler.add(request)
    }
    var expired: [RequestID] = []
    var plan = StepPlan()
    var result = StepResult()
    var outputs: [SequenceOutput] = []
    result.samples.reserveCapacity(4_096)
    var allocations = 0
    // Classes whose time between tokens is promised start one after the other.
    let warmUp = 20
    var decoded = 0
    var acceptedBefore = 0
    // With speculation the sequences count to seven over and over, so that drafts are made, hold and fail.
    for step in 0..<200 {
      let before = allocation_count()
      scheduler.schedule(into: &plan, now: UInt64(step), expired: &expired)
      result.removeAll()
      for index in 0..<plan.sequences.count where plan.sequences[index].samples {
        let sequence = plan.sequences[index]
        for draft in 0...sequence.draftCount {
          let place = Int(sequence.contextTokens + 1 + draft)
          let token = speculating ? (place % 50 == 0 ? place : place % 7) : step
          result.samples.append(Sample(sequenceIndex: Int32(index), token: TokenID(token)))
        }
      }
      scheduler.observeStep(rows: plan.tokens.count, nanoseconds: 500)
      scheduler.apply(plan, result, into: &outputs)
      if step == warmUp { acceptedBefore = scheduler.statistics.acceptedTokens }
      if step > warmUp {
        allocations += allocation_count() - before
        decoded += outputs.count
      }
    }
    try scheduler.checkInvariants()
    let speculated = scheduler.statistics.acceptedTokens - acceptedBefore
    if speculating {
      #expect(speculated > 10_000 && scheduler.statistics.acceptedTokens < scheduler.statistics.draftTokens)
    }
    #expect(decoded == (199 - warmUp) * 256 + speculated)
    #expect(allocations == 0)
  }
}
