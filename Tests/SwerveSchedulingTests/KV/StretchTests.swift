import SwerveCore
import SwerveScheduling
import Testing

/// Sequences that are larger than a bank lie in several, cut at whole partitions; what fits a bank stays in one.
@Suite struct StretchTests {
  /// Blocks of 4 tokens, partitions of two blocks.
  private func spanned(_ banks: Int, blocks: Int, open: Int? = nil, length: Int = 400) -> SchedulerConfiguration {
    var numbers = configuration(blocks: banks * blocks, length: length)
    numbers.bankCount = banks
    numbers.openBanks = open
    numbers.spanTokens = 8
    return numbers
  }

  /// The banks of each stretch of a sequence in the last plan.
  private func banks(_ harness: Harness, _ id: UInt64, blocks: Int) -> [Int] {
    guard let step = harness.plan.sequences.first(where: { $0.sequence.request.rawValue == id }) else { return [] }
    var found: [Int] = []
    for block in harness.plan.blocks[Int(step.firstBlock)..<Int(step.firstBlock + step.blockCount)] {
      let bank = Int(block.rawValue) / blocks
      if found.last != bank { found.append(bank) }
    }
    return found
  }

  private func alone(_ prompt: [TokenID], _ maxTokens: Int, choice: Int32 = 0) -> [TokenID] {
    FakeModel.reference(
      prompt: prompt, salt: [], sampling: sampling(maxTokens: maxTokens), choice: choice, contextLimit: 400
    ).tokens
  }

  @Test func aPromptLargerThanABankIsCutAtWholePartitions() throws {
    // Nine blocks a bank: a stretch is eight of them.
    let harness = try Harness(spanned(3, blocks: 9))
    let prompt = tokens(0..<80)
    try harness.add(1, prompt, sampling(maxTokens: 8))
    try harness.step()
    try harness.step()
    let step = try #require(harness.plan.sequences.first)
    #expect(step.blockCount == 20 && Set(banks(harness, 1, blocks: 9)).count == 3)
    for position in 0..<20 {
      let bank = harness.plan.blocks[Int(step.firstBlock) + position].rawValue / 9
      #expect(Int(bank) == banks(harness, 1, blocks: 9)[position / 8])
    }
    try harness.drain()
    #expect(harness.tokens(1) == alone(prompt, 8))
  }

  @Test func aSequenceGrowsOverTheBorderOfABank() throws {
    let harness = try Harness(spanned(2, blocks: 4))
    let prompt = tokens(0..<5)
    try harness.add(1, prompt, sampling(maxTokens: 24))
    try harness.step()
    #expect(banks(harness, 1, blocks: 4).count == 1)
    var most = 1
    while harness.hasWork {
      try harness.step()
      most = max(most, banks(harness, 1, blocks: 4).count)
    }
    #expect(most == 2 && harness.statistics.preemptions == 0)
    #expect(harness.tokens(1) == alone(prompt, 24))
  }

  @Test func whatFitsABankStaysThere() throws {
    // Nine blocks hold 36 tokens, more than a stretch does.
    let harness = try Harness(spanned(2, blocks: 9))
    try harness.add(1, tokens(0..<30), sampling(maxTokens: 7))
    while harness.hasWork {
      try harness.step()
      #expect(banks(harness, 1, blocks: 9).count <= 1)
    }
    #expect(harness.tokens(1).count == 7)
  }

  @Test func choicesHaveTheirStretchesInTheSameBanks() throws {
    let harness = try Harness(spanned(3, blocks: 12))
    let prompt = tokens(0..<50)
    try harness.add(1, prompt, n: 3, sampling(maxTokens: 12))
    var together: Set<[Int]> = []
    while harness.hasWork {
      try harness.step()
      for step in harness.plan.sequences where step.blockCount > 12 {
        let (first, last) = (Int(step.firstBlock), Int(step.firstBlock + step.blockCount) - 1)
        together.insert([first, last].map { Int(harness.plan.blocks[$0].rawValue) / 12 })
      }
    }
    #expect(together.count == 1 && harness.runner.copies > 0)
    for choice in 0..<3 { #expect(harness.tokens(1, Int32(choice)) == alone(prompt, 12, choice: Int32(choice))) }
  }

  @Test func aPrefixIsFoundInTheFirstStretch() throws {
    let harness = try Harness(spanned(2, blocks: 10))
    let prompt = tokens(0..<60)
    try harness.add(1, prompt, sampling(maxTokens: 4))
    try harness.drain()
    try harness.add(2, prompt, sampling(maxTokens: 4))
    try harness.drain()
    #expect(harness.cached(2) == 40 && harness.tokens(2) == harness.tokens(1))
  }

  @Test func aLostBankHasAllComputedAgainThatHeldBlocksThere() throws {
    let harness = try Harness(spanned(3, blocks: 10, open: 3))
    let prompt = tokens(0..<50)
    try harness.add(1, prompt, sampling(maxTokens: 20))
    try harness.add(2, tokens(100..<110), sampling(maxTokens: 20))
    for _ in 0..<4 { try harness.step() }
    let own = banks(harness, 1, blocks: 10)
    #expect(own.count == 2)
    let lost = harness.close(own[1])
    #expect(lost >= 1)
    try harness.check()
    // Two banks are left, which are enough.
    try harness.drain()
    #expect(harness.tokens(1) == alone(prompt, 20) && harness.tokens(2) == alone(tokens(100..<110), 20))
  }

  @Test func whoIsTooLongForTheOpenBanksLetsOthersPass() throws {
    let harness = try Harness(spanned(2, blocks: 10))
    _ = harness.close(1)
    let prompt = tokens(0..<60)
    try harness.add(1, prompt, sampling(maxTokens: 4))
    try harness.add(2, tokens(100..<110), sampling(maxTokens: 4))
    for _ in 0..<8 { try harness.step() }
    #expect(harness.tokens(1).isEmpty && harness.tokens(2) == alone(tokens(100..<110), 4))
    harness.scheduler.open(bank: 1)
    try harness.drain()
    #expect(harness.tokens(1) == alone(prompt, 4))
  }

  @Test func aSuspendedBankStopsWhoHasAnythingInIt() throws {
    let harness = try Harness(spanned(2, blocks: 10))
    let prompt = tokens(0..<50)
    try harness.add(1, prompt, sampling(maxTokens: 10))
    for _ in 0..<3 { try harness.step() }
    let own = banks(harness, 1, blocks: 10)
    harness.scheduler.suspend(bank: own[1])
    try harness.step()
    #expect(harness.plan.sequences.isEmpty)
    let kept = harness.scheduler.resume(bank: own[1])
    #expect(kept == 1)
    try harness.drain()
    #expect(harness.tokens(1) == alone(prompt, 10) && harness.statistics.preemptions == 0)
  }

  @Test func banksThatGoForGoodBoundWhatRequestsMayBe() throws {
    let harness = try Harness(spanned(3, blocks: 10))
    try harness.add(1, tokens(0..<50), sampling(maxTokens: nil))
    try harness.step()
    try harness.step()
    // 50 tokens need two banks of 40, so one of three may go, not two.
    #expect(harness.fits(banks: 2) && !harness.fits(banks: 1))
    harness.scheduler.expect(banks: 2)
    #expect(throws: SchedulingError.self) { try harness.add(2, tokens(0..<90), sampling(maxTokens: 1)) }
    try harness.add(3, tokens(0..<70), sampling(maxTokens: 1))
    try harness.drain()
    // Two banks hold 80 tokens; the last one generated needs no place.
    #expect(harness.tokens(1) == Array(alone(tokens(0..<50), 100).prefix(31)) && harness.reason(1) == .length)
  }

  @Test func preemptedSequencesComeBackOverSeveralBanks() throws {
    let harness = try Harness(spanned(2, blocks: 8))
    for id in 1...3 as ClosedRange<UInt64> {
      try harness.add(id, tokens(Int(id) * 40..<Int(id) * 40 + 10), sampling(maxTokens: 40))
    }
    try harness.drain()
    #expect(harness.statistics.preemptions > 0)
    for id in 1...3 as ClosedRange<UInt64> {
      #expect(harness.tokens(id) == alone(tokens(Int(id) * 40..<Int(id) * 40 + 10), 40))
    }
  }

  @Test func partitionsThatAreNoBlocksAreRefused() {
    var numbers = spanned(2, blocks: 10)
    numbers.spanTokens = 6
    #expect(!numbers.problems().isEmpty)
  }

  @Test func aBankSmallerThanAPartitionHoldsNoStretch() throws {
    var numbers = spanned(2, blocks: 4)
    numbers.spanTokens = 32
    #expect(numbers.problems().isEmpty && !numbers.spansBanks && numbers.sequenceBlocks == 4)
  }
}

extension Harness {
  func fits(banks: Int) -> Bool { scheduler.fits(banks: banks) }
}
