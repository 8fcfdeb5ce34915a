import SwerveCore
import SwerveScheduling
import Testing

@Suite struct EvictionTests {
  /// The heap against a list that is searched whole.
  @Test func `the block that is given up is the least of all that may be`() {
    var generator = SeededGenerator(seed: 11)
    let blocks = 60
    var heap = EvictionHeap(blockCount: blocks)
    var hits = [Int](repeating: 0, count: blocks)
    var ranked: [Int: (score: Double, stamp: Int)] = [:]
    var inside = Set<Int>()
    var floor = 0.0
    var evicted = 0
    for stamp in 0..<20_000 {
      let block = Int.random(in: 0..<blocks, using: &generator)
      switch Int.random(in: 0..<10, using: &generator) {
      case 0..<4:
        let cost = Double(Int.random(in: 1...3, using: &generator))
        heap.rank(BlockID(block), cost: cost)
        ranked[block] = (floor + cost * Double(1 + hits[block]), stamp)
        inside.remove(block)
        if generator.chance(80) {
          heap.enter(BlockID(block))
          inside.insert(block)
        }
      case 4..<6:
        heap.hit(BlockID(block))
        hits[block] = min(hits[block] + 1, 15)
        inside.remove(block)
      case 6:
        heap.forget(BlockID(block))
        hits[block] = 0
        inside.remove(block)
      default:
        let expected = inside.min { ranked[$0]! < ranked[$1]! }
        #expect(heap.popLeast() == expected.map { BlockID($0) })
        if let expected {
          floor = max(floor, ranked[expected]!.score)
          inside.remove(expected)
          evicted += 1
        }
      }
      #expect(heap.count == inside.count)
    }
    #expect(heap.violation() == nil)
    #expect(evicted > 3_000)
  }

  private func harness(_ policy: Bool, blocks: Int = 24) throws -> Harness {
    var numbers = configuration(blockSize: 2, blocks: blocks, length: 40)
    numbers.evictsByCost = policy
    numbers.attentionCostTokens = 8
    return try Harness(numbers)
  }

  /// A long prompt that comes back now and then, between requests that never do.
  private func hitTokens(_ byCost: Bool) throws -> Int {
    let harness = try harness(byCost)
    var id: UInt64 = 0
    for round in 0..<20 {
      id += 1
      try harness.add(id, tokens(0..<16), sampling(maxTokens: 1))
      try harness.drain()
      for _ in 0..<7 {
        id += 1
        let start = 1_000 + Int(id) * 50
        try harness.add(id, tokens(start..<start + 8), sampling(maxTokens: 1))
        try harness.drain()
      }
      if round == 0 { #expect(harness.statistics.prefixHitTokens == 0) }
    }
    return harness.statistics.prefixHitTokens
  }

  @Test func `what is dear and found often outlives what comes once`() throws {
    let byAge = try hitTokens(false)
    let byCost = try hitTokens(true)
    // Seven others fill the pool between two visits: by age the long prompt is always gone.
    #expect(byCost >= 19 * 14, "by cost \(byCost), by age \(byAge)")
    #expect(byAge * 2 < byCost, "by cost \(byCost), by age \(byAge)")
  }

  @Test func `what is no longer asked for goes in the end`() throws {
    let harness = try harness(true)
    for id in 1...10 {
      try harness.add(UInt64(id), tokens(0..<16), sampling(maxTokens: 1))
      try harness.drain()
    }
    for id in 11...400 {
      let start = 1_000 + id * 50
      try harness.add(UInt64(id), tokens(start..<start + 8), sampling(maxTokens: 1))
      try harness.drain()
    }
    let before = harness.statistics.prefixHitTokens
    try harness.add(500, tokens(0..<16), sampling(maxTokens: 1))
    try harness.drain()
    #expect(harness.statistics.prefixHitTokens == before)
  }

  @Test(arguments: [false, true]) func `a chain loses its end first`(byCost: Bool) throws {
    let harness = try harness(byCost, blocks: 8)
    try harness.add(1, tokens(0..<10), sampling(maxTokens: 1))
    try harness.drain()
    try harness.add(2, tokens(100..<110), sampling(maxTokens: 1))
    try harness.drain()
    try harness.add(3, tokens(0..<10), sampling(maxTokens: 1))
    try harness.step()
    #expect(harness.cached(3) == 6)
    try harness.drain()
  }

  @Test(arguments: [false, true]) func `a reset leaves nothing to be found`(byCost: Bool) throws {
    let harness = try harness(byCost, blocks: 12)
    try harness.add(1, tokens(0..<15), sampling(maxTokens: 4))
    try harness.drain()
    #expect(harness.statistics.blocksCached == 9)
    #expect(harness.resetPrefixCache())
    #expect(harness.statistics.blocksCached == 0)
    try harness.check()
    try harness.add(2, tokens(0..<15), sampling(maxTokens: 4))
    try harness.drain()
    #expect(harness.cached(2) == 0)
    #expect(harness.tokens(2) == harness.tokens(1))
  }
}
