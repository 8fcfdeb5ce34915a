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
    cache.insert(BlockID(5), parent: nil, parentHash: salt, tokens: first.span)
    cache.insert(BlockID(2), parent: BlockID(5), parentHash: firstHash, tokens: second.span)
    let found = cache.find(parent: BlockID(5), parentHash: firstHash, tokens: second.span)
    let orphan = cache.find(parent: nil, parentHash: salt, tokens: second.span)
    let stranger = cache.find(parent: nil, parentHash: BlockHash(salt: [1]), tokens: first.span)
    let other = cache.find(parent: BlockID(5), parentHash: firstHash, tokens: first.span)
    let before = (cache.parentHash(of: BlockID(5)), cache.parentHash(of: BlockID(2)))
    let violation = cache.violation()
    #expect(stranger == nil && before == (salt, firstHash))
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
        let found = cache.find(parent: nil, parentHash: salt, tokens: content.span)
        let expected = model.first { $0.value == content[0] }.map { BlockID($0.key) }
        #expect(found == expected)
        if found == nil {
          cache.insert(BlockID(block), parent: nil, parentHash: salt, tokens: content.span)
          model[block] = content[0]
        }
      }
      let count = cache.count
      #expect(count == model.count)
    }
    let violation = cache.violation()
    #expect(violation == nil)
  }

  @Test(arguments: [100, 60_000, 1 << 17, 1 << 18, 1 << 20, 1 << 24, Int(Int32.max)], [1, 1 << 16, 1 << 18, 1 << 31])
  func `tokens of any size come back, whatever was announced`(largest: Int, announced: Int) {
    var generator = SeededGenerator(seed: UInt64(largest))
    var cache = PrefixCache(blockCount: 40, blockSize: 16, vocabularySize: announced)
    var contents: [[TokenID]] = []
    for block in 0..<40 {
      // Small ones first: what is there already is kept when the store is widened.
      let most = block < 20 ? min(largest, 50) : largest
      var content = (0..<16).map { TokenID($0 == 3 ? most : Int.random(in: 0...most, using: &generator)) }
      content[0] = TokenID(block)
      cache.insert(BlockID(block), parent: nil, parentHash: salt, tokens: content.span)
      contents.append(content)
    }
    for block in 0..<40 {
      let content = contents[block]
      let found = cache.find(parent: nil, parentHash: salt, tokens: content.span)
      let kept = cache.tokens(of: BlockID(block))
      #expect(found == BlockID(block) && kept == content)
      var other = content
      other[15] = TokenID(rawValue: other[15].rawValue ^ 1 << 17)
      let changed = cache.find(parent: nil, parentHash: salt, tokens: other.span)
      let start = cache.findStart(parent: nil, parentHash: salt, wanted: other.span)
      #expect(changed == nil && start?.block == BlockID(block) && start?.tokens == 15)
    }
    let violation = cache.violation()
    #expect(violation == nil)
  }

  @Test(arguments: [32_000, 128_256, 151_936, 262_144]) func `a block takes 64 bytes at most`(vocabulary: Int) {
    let blocks = 1 << 16
    var cache = PrefixCache(blockCount: blocks, blockSize: 16, vocabularySize: vocabulary)
    let pool = BlockPool(blockCount: blocks, banks: 4)
    // Full of chains of eight.
    var parent: BlockID?
    var hash = salt
    for block in 0..<blocks {
      if block % 8 == 0 { (parent, hash) = (nil, salt) }
      let content = (0..<16).map { TokenID((block * 31 + $0 * 7 + block / 8) % vocabulary) }
      cache.insert(BlockID(block), parent: parent, parentHash: hash, tokens: content.span)
      parent = BlockID(block)
      hash = cache.hash(after: hash, content.span)
    }
    let count = cache.count
    let perBlock = Double(cache.byteCount + pool.byteCount) / Double(blocks)
    #expect(count == blocks && perBlock <= 64, "\(perBlock) bytes")
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
