import SwerveCore
import SwerveScheduling
import Testing

@Suite struct PartialBlockTests {
  private func reference(_ prompt: [TokenID]) -> [TokenID] {
    FakeModel.reference(prompt: prompt, salt: [], sampling: sampling(), choice: 0, contextLimit: 64).tokens
  }

  @Test func `a prompt that parts in the middle of a block computes only what is its own`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<12))
    try harness.drain()
    let prompt = tokens(0..<6) + tokens(50..<55)
    try harness.add(2, prompt)
    try harness.step()
    // One whole block, two tokens of the next.
    #expect(harness.cached(2) == 6)
    #expect(harness.shares == [[2, 5]])
    #expect(harness.plan.copies.count == 1)
    try harness.drain()
    #expect(harness.tokens(2) == reference(prompt))
    #expect(harness.statistics.copiedTokens == 2)
    #expect(harness.statistics.prefixHitTokens == 6)
  }

  @Test func `the last block of a conversation is found although it is not full`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<5), sampling(maxTokens: 6))
    try harness.drain()
    // 5 + 6 tokens, of which ten were computed: two blocks and a half.
    let prompt = tokens(0..<5) + harness.tokens(1) + tokens([60, 61, 62])
    try harness.add(2, prompt)
    try harness.step()
    #expect(harness.cached(2) == 10)
    #expect(harness.shares == [[2, 4]])
    try harness.drain()
    #expect(harness.tokens(2) == reference(prompt))
  }

  @Test func `the longest beginning of several is taken`() throws {
    let harness = try Harness(configuration(blockSize: 8))
    for (id, own) in [(1, 3), (2, 6), (3, 2)] {
      try harness.add(UInt64(id), tokens(0..<own) + tokens(id * 100..<id * 100 + 9 - own), skip: true)
    }
    try harness.drain()
    try harness.add(4, tokens(0..<8) + tokens([70]))
    try harness.step()
    #expect(harness.cached(4) == 6)
    try harness.drain()
  }

  @Test func `a running sequence's block is copied and not touched`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<10), sampling(maxTokens: 20))
    try harness.step()
    let prompt = tokens(0..<7) + tokens([40, 41])
    try harness.add(2, prompt)
    try harness.step()
    #expect(harness.cached(2) == 7)
    try harness.drain()
    #expect(harness.tokens(2) == reference(prompt))
    let alone = FakeModel.reference(
      prompt: tokens(0..<10), salt: [], sampling: sampling(maxTokens: 20), choice: 0, contextLimit: 64)
    #expect(harness.tokens(1) == alone.tokens)
  }

  @Test func `another salt shares no beginning`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<7), salt: [1])
    try harness.drain()
    try harness.add(2, tokens(0..<7), salt: [2])
    try harness.step()
    #expect(harness.cached(2) == 0 && harness.plan.copies.isEmpty)
    try harness.drain()
  }

  @Test func `a step that failed leaves no beginning that was never copied`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<12))
    try harness.drain()
    try harness.add(2, tokens(0..<6) + tokens([50, 51]))
    harness.scheduler.schedule(into: &harness.plan)
    #expect(harness.plan.copies.count == 1)
    // The runner stopped before the copy.
    try harness.runner.begin(harness.plan)
    harness.scheduler.fail(harness.plan, into: &harness.outputs)
    try harness.check()
    // The source is still there; the block that was to receive the copy is not found.
    let prompt = tokens(0..<6) + tokens([50, 52])
    try harness.add(3, prompt)
    try harness.drain()
    #expect(harness.tokens(3) == reference(prompt))
  }

  @Test func `when the pool is full a prompt gets its blocks and no copy`() throws {
    let harness = try Harness(configuration(blockSize: 4, blocks: 4, length: 16))
    try harness.add(1, tokens(0..<7), sampling(maxTokens: 1))
    try harness.drain()
    let prompt = tokens(0..<3) + tokens(30..<40)
    try harness.add(2, prompt, sampling(maxTokens: 2))
    try harness.step()
    // All four blocks are its own: none is left to be copied from.
    #expect(harness.plan.copies.isEmpty && harness.cached(2) == 0)
    try harness.drain()
    #expect(harness.reason(2) == .length)
  }

  @Test func `many siblings with one first token bound a look-up and are all evicted cleanly`() throws {
    let harness = try Harness(configuration(blockSize: 4, blocks: 200, length: 16))
    for id in 0..<150 {
      try harness.add(UInt64(id), tokens([1, id / 50 + 10, id % 50 + 100, 5, 6]), sampling(maxTokens: 1))
      try harness.drain()
    }
    try harness.add(1_000, tokens([1, 12, 149, 7, 8]), sampling(maxTokens: 1))
    try harness.step()
    #expect(harness.cached(1_000) == 3)
    for id in 2_000..<2_100 {
      try harness.add(UInt64(id), tokens(id..<id + 12), sampling(maxTokens: 1))
      try harness.drain()
    }
  }
}
