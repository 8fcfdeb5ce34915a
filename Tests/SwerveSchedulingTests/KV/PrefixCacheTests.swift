import SwerveCore
import SwerveScheduling
import Testing

@Suite struct PrefixCacheTests {
  private let salt = BlockHash(salt: [])

  @Test func `a block is found by its tokens and its parent only`() {
    var cache = PrefixCache(blockCount: 8, blockSize: 2)
    let first = tokens([1, 2])
    let second = tokens([3, 4])
    let firstHash = cache.hash(after: salt, first.span)
    let secondHash = cache.hash(after: firstHash, second.span)
    cache.insert(BlockID(5), hash: firstHash, parent: nil, parentHash: salt, tokens: first.span)
    cache.insert(BlockID(2), hash: secondHash, parent: BlockID(5), parentHash: firstHash, tokens: second.span)
    let found = cache.find(hash: secondHash, parent: BlockID(5), parentHash: firstHash, tokens: second.span)
    let orphan = cache.find(hash: secondHash, parent: nil, parentHash: salt, tokens: second.span)
    let other = cache.find(hash: secondHash, parent: BlockID(5), parentHash: firstHash, tokens: first.span)
    let violation = cache.violation()
    #expect(found == BlockID(2))
    #expect(orphan == nil)
    #expect(other == nil)
    #expect(violation == nil)
  }

  @Test(arguments: [1, 2, 8, 64, 65, 128]) func `collisions cost comparisons and never a wrong hit`(bits: Int) {
    let blocks = 100
    var generator = SeededGenerator(seed: UInt64(bits))
    var cache = PrefixCache(blockCount: blocks, blockSize: 1, hashBits: bits)
    var model: [Int: TokenID] = [:]
    for _ in 0..<3_000 {
      let block = Int.random(in: 0..<blocks, using: &generator)
      if model.removeValue(forKey: block) != nil {
        cache.remove(BlockID(block))
      } else {
        let content = [TokenID(Int.random(in: 0..<200, using: &generator))]
        let hash = cache.hash(after: salt, content.span)
        let found = cache.find(hash: hash, parent: nil, parentHash: salt, tokens: content.span)
        let expected = model.first { $0.value == content[0] }.map { BlockID($0.key) }
        #expect(found == expected)
        if found == nil {
          cache.insert(BlockID(block), hash: hash, parent: nil, parentHash: salt, tokens: content.span)
          model[block] = content[0]
        }
      }
      let count = cache.count
      #expect(count == model.count)
    }
    let violation = cache.violation()
    #expect(violation == nil)
  }

  @Test func `a hash depends on the salt, each token, their order and their count`() {
    let chains: [[Int]] = [[], [0], [0, 0], [1, 2], [2, 1], [1, 2, 0], [-1, 2], [1, -2]]
    var seen = Set<BlockHash>()
    for salt: [UInt8] in [[], [0], [0, 0], [1], Array("tenant".utf8)] {
      for chain in chains {
        let isNew = seen.insert(BlockHash(salt: salt).chained(tokens(chain).span)).inserted
        #expect(isNew, "salt \(salt), tokens \(chain)")
      }
      let split = BlockHash(salt: salt).chained(tokens([1]).span).chained(tokens([2]).span)
      #expect(seen.insert(split).inserted)
    }
  }

  @Test func `each token bit changes about half of the hash`() {
    var generator = SeededGenerator(seed: 5)
    var changed = 0
    var trials = 0
    for _ in 0..<64 {
      let base = (0..<16).map { _ in TokenID(Int.random(in: 0..<150_000, using: &generator)) }
      let hash = salt.chained(base.span)
      for bit in 0..<18 {
        var other = base
        let place = Int.random(in: 0..<16, using: &generator)
        other[place] = TokenID(rawValue: other[place].rawValue ^ 1 << Int32(bit))
        let second = salt.chained(other.span)
        changed += (hash.low ^ second.low).nonzeroBitCount + (hash.high ^ second.high).nonzeroBitCount
        trials += 128
      }
    }
    let share = Double(changed) / Double(trials)
    #expect(share > 0.49 && share < 0.51)
  }
}
