package import SwerveCore

/// Blocks found again by their content: the index from a chain of tokens to the block that holds its keys and values.
/// It owns no block; a cached block without holders waits in the pool's free list until it is evicted.
///
/// Full blocks are found whole (`find`) and shared. Full blocks and partial ones, the last blocks of sequences that ended,
/// are found by their beginning (`findStart`): what they have in common with a prompt can be copied.
///
/// A look-up finds candidates by their chained hash and then compares the block's own tokens and its parent (a block
/// already verified, or the salt's hash for a first block), so a hit is always right, whatever the hash does.
///
/// Invariant: the parent of a cached block is cached. It holds because whoever holds a block holds its parents, tables
/// are released from their end, and so a parent is always evicted after its children.
///
/// Storage is allocated once: per block 4 bytes × (tokens + 6 + 3 … 6 buckets) + 33.
package struct PrefixCache: ~Copyable {
  package let blockSize: Int
  /// Blocks in the index.
  package private(set) var count = 0
  /// Open addressing, linear probing, at most half full: a block or `none`.
  private var buckets: [Int32]
  private let bucketMask: Int
  private let hashMask: BlockHash
  /// [blocks]
  private var hashes: [BlockHash]
  /// [blocks] hash of what precedes the block: its parent's, or the salt's.
  private var parentHashes: [BlockHash]
  /// [blocks] the block before it in the chain; `none` for a first block.
  private var parents: [Int32]
  /// [blocks]
  private var isIndexed: [Bool]
  /// [blocks] tokens whose keys and values count: `blockSize`, or fewer in a partial block.
  private var lengths: [Int32]
  /// [blocks] cached blocks that follow it.
  private var children: [Int32]
  /// [blocks] blocks before it in its chain.
  private var depths: [Int32]
  /// [blocks, blockSize]
  private var tokens: [TokenID]
  /// All cached blocks by their beginning.
  private var starts: StartIndex

  private static let none: Int32 = -1
  /// Siblings with the same first token that `findStart` looks at: newer ones, so that a look-up is bounded.
  private static let siblingsExamined = 32

  package init(blockCount: Int, blockSize: Int, hashBits: Int = 128) {
    self.blockSize = blockSize
    var capacity = 2
    while capacity < 2 * blockCount { capacity *= 2 }
    buckets = [Int32](repeating: Self.none, count: capacity)
    bucketMask = capacity - 1
    hashMask = BlockHash(
      low: hashBits >= 64 ? .max : (1 << UInt64(hashBits)) - 1,
      high: hashBits >= 128 ? .max : hashBits <= 64 ? 0 : (1 << UInt64(hashBits - 64)) - 1)
    let zero = BlockHash(low: 0, high: 0)
    hashes = [BlockHash](repeating: zero, count: blockCount)
    parentHashes = [BlockHash](repeating: zero, count: blockCount)
    parents = [Int32](repeating: Self.none, count: blockCount)
    isIndexed = [Bool](repeating: false, count: blockCount)
    lengths = [Int32](repeating: 0, count: blockCount)
    children = [Int32](repeating: 0, count: blockCount)
    depths = [Int32](repeating: 0, count: blockCount)
    starts = StartIndex(blockCount: blockCount)
    tokens = [TokenID](repeating: 0, count: blockCount * blockSize)
  }

  package func contains(_ block: BlockID) -> Bool { isIndexed[Int(block.rawValue)] }

  package func parent(of block: BlockID) -> BlockID? {
    let parent = parents[Int(block.rawValue)]
    return parent == Self.none ? nil : BlockID(rawValue: parent)
  }

  /// The tokens of a cached full block.
  package func tokens(of block: BlockID) -> [TokenID] {
    Array(tokens[Int(block.rawValue) * blockSize..<(Int(block.rawValue) + 1) * blockSize])
  }
  /// What the chain's hash was before a block that is, or last was, cached.
  package func parentHash(of block: BlockID) -> BlockHash { parentHashes[Int(block.rawValue)] }

  /// Cached blocks that follow a block in some chain: it must not be evicted before them.
  package func childCount(of block: BlockID) -> Int { Int(children[Int(block.rawValue)]) }

  /// Blocks before a cached one in its chain.
  package func depth(of block: BlockID) -> Int { Int(depths[Int(block.rawValue)]) }

  /// The hash of the block that follows `hash` and holds `tokens`.
  package func hash(after hash: BlockHash, _ tokens: Span<TokenID>) -> BlockHash {
    let full = hash.chained(tokens)
    return BlockHash(low: full.low & hashMask.low, high: full.high & hashMask.high)
  }

  /// The cached block that holds `tokens` (one block of them) after `parent`, or after the salt with `parentHash`.
  package func find(
    hash: BlockHash, parent: BlockID?, parentHash: BlockHash, tokens wanted: Span<TokenID>
  ) -> BlockID? {
    let parentIndex = parent?.rawValue ?? Self.none
    var at = Int(truncatingIfNeeded: hash.low) & bucketMask
    while buckets[at] != Self.none {
      let block = Int(buckets[at])
      if hashes[block] == hash, parents[block] == parentIndex, parentHashes[block] == parentHash,
        holds(wanted, block: block)
      {
        return BlockID(rawValue: Int32(block))
      }
      at = (at + 1) & bucketMask
    }
    return nil
  }

  private func holds(_ wanted: Span<TokenID>, block: Int) -> Bool {
    if wanted.count != blockSize { return false }
    let first = block * blockSize
    for offset in 0..<blockSize where tokens[first + offset] != wanted[offset] { return false }
    return true
  }

  /// The cached block after `parent` (or the salt) that shares the longest beginning with `wanted`, and how many tokens
  /// that is: at least one. nil when there is none among the newest with the same first token.
  package func findStart(
    parent: BlockID?, parentHash: BlockHash, wanted: Span<TokenID>
  ) -> (block: BlockID, tokens: Int)? {
    if wanted.isEmpty { return nil }
    let parentIndex = parent?.rawValue ?? Self.none
    var best: (block: BlockID, tokens: Int)?
    var examined = 0
    var block = starts.first(parentHash, wanted[0])
    while block != StartIndex.none && examined < Self.siblingsExamined {
      let index = Int(block)
      if parents[index] == parentIndex && parentHashes[index] == parentHash {
        let limit = min(Int(lengths[index]), wanted.count)
        var shared = 0
        while shared < limit && tokens[index * blockSize + shared] == wanted[shared] { shared += 1 }
        if shared > best?.tokens ?? 0 { best = (BlockID(rawValue: block), shared) }
        if shared == wanted.count { break }
        examined += 1
      }
      block = starts.after(block)
    }
    return best
  }

  /// Makes a computed block findable. It must not be in the index, nor a block of the same content.
  package mutating func insert(
    _ block: BlockID, hash: BlockHash, parent: BlockID?, parentHash: BlockHash, tokens content: Span<TokenID>
  ) {
    precondition(content.count == blockSize, "block \(block.rawValue) is not full")
    enter(block, hash: hash, parent: parent, parentHash: parentHash, content)
    var at = Int(truncatingIfNeeded: hash.low) & bucketMask
    while buckets[at] != Self.none { at = (at + 1) & bucketMask }
    buckets[at] = block.rawValue
  }

  /// Makes the computed beginning of a block findable by `findStart`: 1 ..< blockSize tokens. Nobody may write to it
  /// any more.
  package mutating func insertPartial(
    _ block: BlockID, parent: BlockID?, parentHash: BlockHash, tokens content: Span<TokenID>
  ) {
    precondition((1..<blockSize).contains(content.count), "block \(block.rawValue) is not partial")
    enter(block, hash: BlockHash(low: 0, high: 0), parent: parent, parentHash: parentHash, content)
  }

  private mutating func enter(
    _ block: BlockID, hash: BlockHash, parent: BlockID?, parentHash: BlockHash, _ content: Span<TokenID>
  ) {
    let index = Int(block.rawValue)
    precondition(!isIndexed[index], "block \(index) is already cached")
    hashes[index] = hash
    parentHashes[index] = parentHash
    parents[index] = parent?.rawValue ?? Self.none
    depths[index] = parent.map { depths[Int($0.rawValue)] + 1 } ?? 0
    lengths[index] = Int32(content.count)
    isIndexed[index] = true
    for offset in content.indices { tokens[index * blockSize + offset] = content[offset] }
    if let parent { children[Int(parent.rawValue)] += 1 }
    starts.insert(index, parentHash: parentHash, token: content[0])
    count += 1
  }

  /// Forgets a block; nothing happens when it is not cached.
  package mutating func remove(_ block: BlockID) {
    let index = Int(block.rawValue)
    if !isIndexed[index] { return }
    isIndexed[index] = false
    count -= 1
    starts.remove(index, parentHash: parentHashes[index], token: tokens[index * blockSize])
    if parents[index] != Self.none { children[Int(parents[index])] -= 1 }
    if isFull(index) { vacate(block) }
  }

  private func isFull(_ index: Int) -> Bool { Int(lengths[index]) == blockSize }

  /// Takes a full block out of its bucket.
  private mutating func vacate(_ block: BlockID) {
    var hole = Int(truncatingIfNeeded: hashes[Int(block.rawValue)].low) & bucketMask
    while buckets[hole] != block.rawValue { hole = (hole + 1) & bucketMask }
    // Close the gap: whoever stands behind it and could stand in it moves up, so that probing needs no tombstones.
    var at = hole
    while true {
      at = (at + 1) & bucketMask
      if buckets[at] == Self.none { break }
      let home = Int(truncatingIfNeeded: hashes[Int(buckets[at])].low) & bucketMask
      if (at - home) & bucketMask >= (at - hole) & bucketMask {
        buckets[hole] = buckets[at]
        hole = at
      }
    }
    buckets[hole] = Self.none
  }

  /// The first cached block that cannot be found, or whose parent is not cached, or nil. O(blocks × blockSize)
  package func violation() -> String? {
    var indexed = 0
    var full = 0
    var followers = [Int32](repeating: 0, count: isIndexed.count)
    for index in 0..<isIndexed.count where isIndexed[index] {
      indexed += 1
      let block = BlockID(index)
      if let parent = parent(of: block) {
        followers[Int(parent.rawValue)] += 1
        if !contains(parent) { return "cached block \(index) follows block \(parent.rawValue), which is not cached" }
        if hashes[Int(parent.rawValue)] != parentHashes[index] || !isFull(Int(parent.rawValue)) {
          return "cached block \(index) follows another content than block \(parent.rawValue) has"
        }
      }
      let content = tokens[index * blockSize..<index * blockSize + Int(lengths[index])]
      if isFull(index) {
        full += 1
        if let found = violation(full: block, content.span) { return found }
      }
      var start = starts.first(parentHashes[index], tokens[index * blockSize])
      while start != StartIndex.none && start != block.rawValue { start = starts.after(start) }
      if start == StartIndex.none { return "cached block \(index) is not found by its beginning" }
    }
    if let block = followers.indices.first(where: { isIndexed[$0] && followers[$0] != children[$0] }) {
      return "cached block \(block) has \(followers[block]) cached followers, \(children[block]) counted"
    }
    let bucketed = buckets.count { $0 != Self.none }
    if indexed != count || bucketed != full {
      return "prefix cache: \(indexed) blocks marked, \(bucketed) of \(full) in buckets, \(count) counted"
    }
    return nil
  }

  private func violation(full block: BlockID, _ content: Span<TokenID>) -> String? {
    let index = Int(block.rawValue)
    let hash = hash(after: parentHashes[index], content)
    if hash != hashes[index] { return "cached block \(index) does not have the hash of its tokens" }
    let found = find(hash: hash, parent: parent(of: block), parentHash: parentHashes[index], tokens: content)
    return found == block ? nil : "cached block \(index) is not found by its content"
  }
}
