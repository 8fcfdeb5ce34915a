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
    arguments: [true, false])
  func `a decode step allocates nothing`(caching: Bool) throws {
    var numbers = configuration(budget: 8_192, sequences: 256, blockSize: 16, blocks: 4_096, length: 1_024)
    numbers.enablePrefixCaching = caching
    var scheduler = try Scheduler(configuration: numbers)
    for id in 0..<256 {
      try scheduler.add(
        WaitingRequest(
          request: RequestID(rawValue: UInt64(id)), promptTokens: tokens((0..<20).map { $0 * 300 + id }),
          sampling: sampling(maxTokens: nil, minTokens: 0, terminators: [100_000, 100_001])))
    }
    var plan = StepPlan()
    var result = StepResult()
    var outputs: [SequenceOutput] = []
    result.samples.reserveCapacity(256)
    var allocations = 0
    var decoded = 0
    for step in 0..<200 {
      let before = allocation_count()
      scheduler.schedule(into: &plan)
      result.removeAll()
      for index in 0..<plan.sequences.count where plan.sequences[index].samples {
        result.samples.append(Sample(sequenceIndex: Int32(index), token: TokenID(step)))
      }
      scheduler.apply(plan, result, into: &outputs)
      if step > 0 {
        allocations += allocation_count() - before
        decoded += outputs.count
      }
    }
    try scheduler.checkInvariants()
    #expect(decoded == 199 * 256)
    #expect(allocations == 0)
  }
}
