import SwerveCore
import SwerveScheduling
import Testing

/// A pool in banks, each the memory of another worker.
@Suite struct BankTests {
  private func banked(_ banks: Int, blocks: Int, open: Int? = nil) -> SchedulerConfiguration {
    var numbers = configuration(blocks: banks * blocks)
    numbers.bankCount = banks
    numbers.openBanks = open
    return numbers
  }

  /// The bank of each sequence of the last plan.
  private func banksOfPlan(_ harness: Harness, blocks: Int) -> [Int] {
    harness.plan.sequences.map { Int(harness.plan.blocks[Int($0.firstBlock)].rawValue) / blocks }
  }

  @Test func requestsGoWhereMostIsFreeAndChoicesStayTogether() throws {
    let harness = try Harness(banked(3, blocks: 12))
    for id in 1...3 { try harness.add(UInt64(id), tokens(id * 100..<id * 100 + 9)) }
    try harness.step()
    #expect(Set(banksOfPlan(harness, blocks: 12)) == [0, 1, 2])
    try harness.add(9, tokens(900..<906), n: 3)
    for _ in 0..<4 { try harness.step() }
    let ninth = zip(harness.plan.sequences, banksOfPlan(harness, blocks: 12)).filter {
      $0.0.sequence.request.rawValue == 9
    }
    #expect(ninth.count == 3 && Set(ninth.map(\.1)).count == 1)
    try harness.drain()
  }

  @Test func aPrefixIsFoundInItsBankAlone() throws {
    let harness = try Harness(banked(2, blocks: 20))
    let prompt = tokens(0..<17)
    try harness.add(1, prompt)
    try harness.step()
    let first = banksOfPlan(harness, blocks: 20)
    try harness.drain()
    // The other bank has more free blocks; the prefix is worth more.
    try harness.add(2, prompt)
    try harness.step()
    #expect(banksOfPlan(harness, blocks: 20) == first)
    #expect(harness.cached(2) == 16)
    try harness.drain()
    // Without the bank there is no hit, and the same tokens.
    #expect(harness.close(first[0]) == 0)
    try harness.add(3, prompt)
    try harness.drain()
    #expect(harness.cached(3) == 0)
    #expect(harness.tokens(3) == harness.tokens(1))
  }

  @Test func whatABankLosesIsComputedElsewhere() throws {
    let harness = try Harness(banked(2, blocks: 20))
    for id in 1...6 { try harness.add(UInt64(id), tokens(id * 50..<id * 50 + 10), sampling(maxTokens: 20)) }
    for _ in 0..<6 { try harness.step() }
    let lost = harness.close(0)
    #expect(lost > 0)
    try harness.check()
    try harness.step()
    #expect(Set(banksOfPlan(harness, blocks: 20)) == [1])
    #expect(harness.statistics.blocksTotal == 20)
    harness.scheduler.open(bank: 0)
    try harness.drain()
    for id in 1...6 {
      let alone = try Harness(configuration())
      try alone.add(UInt64(id), tokens(id * 50..<id * 50 + 10), sampling(maxTokens: 20))
      try alone.drain()
      #expect(harness.tokens(UInt64(id)) == alone.tokens(UInt64(id)))
    }
    #expect(harness.statistics.preemptions >= lost)
  }

  @Test func aDrainingBankKeepsWhatItHasAndTakesNoMore() throws {
    let harness = try Harness(banked(2, blocks: 20))
    for id in 1...4 { try harness.add(UInt64(id), tokens(id * 50..<id * 50 + 6), sampling(maxTokens: 6)) }
    try harness.step()
    harness.scheduler.drain(bank: 1)
    let kept = harness.sequenceCount(1)
    #expect(kept > 0)
    for id in 5...6 { try harness.add(UInt64(id), tokens(id * 50..<id * 50 + 6), sampling(maxTokens: 30)) }
    try harness.step()
    #expect(harness.sequenceCount(1) == kept && harness.sequenceCount(0) == 6 - kept)
    for _ in 0..<10 { try harness.step() }
    #expect(harness.sequenceCount(1) == 0)
    try harness.drain()
    #expect(harness.statistics.preemptions == 0)
  }

  /// What a bank cannot hold goes to places that all banks share, and makes room in its own bank only.
  @Test func aRequestLargerThanABankHasBlocksBelowIt() throws {
    var numbers = banked(2, blocks: 4)
    numbers.hostBlockCount = 6
    let harness = try Harness(numbers)
    try harness.add(1, tokens(0..<26), sampling(maxTokens: 8))
    try harness.add(2, tokens(50..<56), sampling(maxTokens: 8))
    try harness.add(3, tokens(100..<130), sampling(maxTokens: 4))
    try harness.drain()
    for (id, prompt, count) in [(1, 0..<26, 8), (2, 50..<56, 8), (3, 100..<130, 4)] {
      let alone = try Harness(configuration())
      try alone.add(UInt64(id), tokens(prompt), sampling(maxTokens: count))
      try alone.drain()
      #expect(harness.tokens(UInt64(id)) == alone.tokens(UInt64(id)))
    }
    #expect(harness.runner.movedToHost > 4 && harness.statistics.overflow.hostBlocksUsed == 0)
    // More than its bank and all places.
    #expect(throws: SchedulingError.self) { try harness.add(4, tokens(0..<44), sampling(maxTokens: 4)) }
  }

  /// What a bank loses must not be read any more: nothing is copied out of it, and copies below are asked for.
  @Test func aLostBankIsNotCopiedOutAndAClosedOneIs() throws {
    for isKept in [false, true] {
      var numbers = banked(2, blocks: 20)
      numbers.tiers = TierRules()
      numbers.tiers?.preemption = .swap
      let harness = try Harness(numbers)
      for id in 1...4 { try harness.add(UInt64(id), tokens(id * 50..<id * 50 + 10), sampling(maxTokens: 20)) }
      harness.scheduler.collectReads(now: 1)
      for order in harness.scheduler.tierOrders.reads {
        harness.scheduler.update(
          ReadReport(
            id: order.id, sequence: order.sequence, ready: order.first, end: order.first, lossyFrom: nil,
            isStalled: false))
      }
      for _ in 0..<4 { try harness.step() }
      let running = harness.sequenceCount(0)
      #expect(running > 0)
      let closed = harness.scheduler.close(bank: 0, keeping: isKept)
      #expect(closed == running)
      let orders = harness.scheduler.tierOrders.swapOuts
      #expect(orders.count == (isKept ? running : 0))
      #expect(orders.allSatisfy { $0.blocks.allSatisfy { $0.rawValue < 20 } })
      #expect(harness.statistics.keptSequences == running)
    }
  }

  @Test func aRequestLargerThanABankIsRefused() throws {
    let harness = try Harness(banked(2, blocks: 4))
    #expect(throws: SchedulingError.self) { try harness.add(1, tokens(0..<17), sampling(maxTokens: 4)) }
    try harness.add(2, tokens(0..<12), sampling(maxTokens: 4))
    try harness.drain()
  }

  @Test func banksThatCannotBeAreRefused() {
    var numbers = configuration(blocks: 10)
    numbers.bankCount = 3
    #expect(!numbers.problems().isEmpty)
    numbers.bankCount = 2
    #expect(numbers.problems().isEmpty)
    numbers.hostBlockCount = 2
    numbers.evictsByCost = true
    numbers.tiers = TierRules()
    #expect(numbers.problems().isEmpty)
    numbers.overflowBlockCount = 2
    #expect(!numbers.problems().isEmpty)
  }
}

extension Harness {
  /// The bank's worker is gone, with all it held.
  func close(_ bank: Int) -> Int {
    runner.forget(bank: bank)
    return scheduler.close(bank: bank)
  }

  func sequenceCount(_ bank: Int) -> Int { scheduler.sequenceCount(in: bank) }
}
