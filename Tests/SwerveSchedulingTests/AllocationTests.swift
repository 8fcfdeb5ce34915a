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
    arguments: [true, false], [true, false])
  func `a decode step allocates nothing`(caching: Bool, speculating: Bool) throws {
    var numbers = configuration(budget: 8_192, sequences: 256, blockSize: 16, blocks: 32_768, length: 2_048)
    numbers.enablePrefixCaching = caching
    if speculating { numbers.speculation = SpeculationConfiguration() }
    var scheduler = try Scheduler(configuration: numbers)
    scheduler.setRowCost(1e-4)
    for id in 0..<256 {
      try scheduler.add(
        WaitingRequest(
          request: RequestID(rawValue: UInt64(id)), promptTokens: tokens((0..<20).map { $0 * 300 + id }),
          sampling: sampling(maxTokens: nil, minTokens: 0, terminators: [100_000, 100_001])))
    }
    var plan = StepPlan()
    var result = StepResult()
    var outputs: [SequenceOutput] = []
    result.samples.reserveCapacity(4_096)
    var allocations = 0
    var decoded = 0
    // With speculation the sequences count to seven over and over, so that drafts are made, hold and fail.
    for step in 0..<200 {
      let before = allocation_count()
      scheduler.schedule(into: &plan)
      result.removeAll()
      for index in 0..<plan.sequences.count where plan.sequences[index].samples {
        let sequence = plan.sequences[index]
        for draft in 0...sequence.draftCount {
          let place = Int(sequence.contextTokens + 1 + draft)
          let token = speculating ? (place % 50 == 0 ? place : place % 7) : step
          result.samples.append(Sample(sequenceIndex: Int32(index), token: TokenID(token)))
        }
      }
      scheduler.apply(plan, result, into: &outputs)
      if step > 0 {
        allocations += allocation_count() - before
        decoded += outputs.count
      }
    }
    try scheduler.checkInvariants()
    if speculating {
      let statistics = scheduler.statistics
      #expect(statistics.acceptedTokens > 10_000 && statistics.acceptedTokens < statistics.draftTokens)
      #expect(decoded == 199 * 256 + statistics.acceptedTokens)
    } else {
      #expect(decoded == 199 * 256)
    }
    #expect(allocations == 0)
  }
}
