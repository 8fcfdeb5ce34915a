package import SwerveCore

/// Full blocks found again by their content: the index from a chain of tokens to the block that holds its keys and
/// values. It owns no block; a cached block without holders waits in the pool's free list until it is evicted.
///
/// A look-up finds candidates by their chained hash and then compares the block's own tokens and its parent (a block
/// already verified, or the salt's hash for a first block), so a hit is always right, whatever the hash does.
///
/// Invariant: the parent of a cached block is cached. It holds because whoever holds a block holds its parents, tables
/// are released from their end, and so a parent is always evicted after its children.
///
/// Storage is allocated once: per block 4 bytes × (tokens + 1 + 2 … 4 buckets) + 33.
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
  /// [blocks, blockSize]
  private var tokens: [TokenID]

  private static let none: Int32 = -1

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
    tokens = [TokenID](repeating: 0, count: blockCount * blockSize)
  }

  package func contains(_ block: BlockID) -> Bool { isIndexed[Int(block.rawValue)] }

  package func parent(of block: BlockID) -> BlockID? {
    let parent = parents[Int(block.rawValue)]
    return parent == Self.none ? nil : BlockID(rawValue: parent)
  }

  /// What the chain's hash was before a block that is, or last was, cached.
  package func parentHash(of block: BlockID) -> BlockHash { parentHashes[Int(block.rawValue)] }

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

  /// Makes a computed block findable. It must not be in the index, nor a block of the same content.
  package mutating func insert(
    _ block: BlockID, hash: BlockHash, parent: BlockID?, parentHash: BlockHash, tokens content: Span<TokenID>
  ) {
    let index = Int(block.rawValue)
    precondition(!isIndexed[index] && content.count == blockSize, "block \(index) is already cached or not full")
    hashes[index] = hash
    parentHashes[index] = parentHash
    parents[index] = parent?.rawValue ?? Self.none
    isIndexed[index] = true
    for offset in 0..<blockSize { tokens[index * blockSize + offset] = content[offset] }
    var at = Int(truncatingIfNeeded: hash.low) & bucketMask
    while buckets[at] != Self.none { at = (at + 1) & bucketMask }
    buckets[at] = block.rawValue
    count += 1
  }

  /// Forgets a block; nothing happens when it is not cached.
  package mutating func remove(_ block: BlockID) {
    let index = Int(block.rawValue)
    if !isIndexed[index] { return }
    isIndexed[index] = false
    count -= 1
    var hole = Int(truncatingIfNeeded: hashes[index].low) & bucketMask
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
    for index in 0..<isIndexed.count where isIndexed[index] {
      indexed += 1
      let block = BlockID(index)
      if let parent = parent(of: block) {
        if !contains(parent) { return "cached block \(index) follows block \(parent.rawValue), which is not cached" }
        if hashes[Int(parent.rawValue)] != parentHashes[index] {
          return "cached block \(index) follows another content than block \(parent.rawValue) has"
        }
      }
      let content = tokens[index * blockSize..<(index + 1) * blockSize]
      let hash = hash(after: parentHashes[index], content.span)
      if hash != hashes[index] { return "cached block \(index) does not have the hash of its tokens" }
      let found = find(hash: hash, parent: parent(of: block), parentHash: parentHashes[index], tokens: content.span)
      if found != block { return "cached block \(index) is not found by its content" }
    }
    let bucketed = buckets.count { $0 != Self.none }
    if indexed != count || bucketed != count {
      return "prefix cache: \(indexed) blocks marked, \(bucketed) in buckets, \(count) counted"
    }
    return nil
  }
}
