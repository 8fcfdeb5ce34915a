package import SwerveCore

/// Blocks found again by their content: the index from a chain of tokens to the block that holds its keys and values.
/// It owns no block; a cached block without holders waits in the pool's free list until it is evicted.
///
/// Full blocks are found whole (`find`) and shared. Full blocks and partial ones, the last blocks of sequences that ended,
/// are found by their beginning (`findStart`): what they have in common with a prompt can be copied.
///
/// A look-up finds candidates by a hash of what precedes the block and of its tokens, and then compares both (a parent that
/// was verified before, or the chain's beginning), so a hit is always right, whatever the hash does.
///
/// Invariant: the parent of a cached block is cached. It holds because whoever holds a block holds its parents, tables
/// are released from their end, and so a parent is always evicted after its children.
///
/// Storage is allocated once: per block the tokens (36 bytes for 16 of a vocabulary up to 2¹⁸) and 19 bytes, 8 more where
/// chains are counted. No hash is kept: it is computed again from the tokens where a block leaves.
package struct PrefixCache: ~Copyable {
  package let blockSize: Int
  /// Blocks in the index.
  package private(set) var count = 0
  /// Full blocks by what they follow and hold.
  var blocks: BlockIndex
  /// All cached blocks by their beginning.
  var starts: StartIndex
  /// What chains begin with.
  var chains = ChainStarts()
  /// [blocks] what a cached block follows: a block, or `chain` of a beginning; `none` where it is not cached.
  var parents: [Int32]
  /// [blocks] one bit each: whether fewer tokens than `blockSize` count; the last token's place then says how many.
  private var isPartial: [UInt64]
  var tokens: TokenStore
  /// [blocks] cached blocks that follow it, and blocks before it in its chain; empty where nobody asks.
  var children: [Int32]
  private var depths: [Int32]
  /// Of local hashes, and of those of chains.
  private let localMask: UInt64
  private let hashMask: BlockHash

  private static let none = Int32.max
  /// Siblings with the same first token that `findStart` looks at: newer ones, so that a look-up is bounded.
  private static let siblingsExamined = 32

  /// - Parameters:
  ///   - vocabularySize: tokens are below it; larger ones take more memory once they come.
  ///   - countsChains: whether `childCount` and `depth` are asked for.
  package init(
    blockCount: Int, blockSize: Int, vocabularySize: Int = 1 << 18, countsChains: Bool = false, hashBits: Int = 128
  ) {
    self.blockSize = blockSize
    localMask = hashBits >= 64 ? .max : (1 << UInt64(hashBits)) - 1
    hashMask = BlockHash(
      low: hashBits >= 64 ? .max : (1 << UInt64(hashBits)) - 1,
      high: hashBits >= 128 ? .max : hashBits <= 64 ? 0 : (1 << UInt64(hashBits - 64)) - 1)
    blocks = BlockIndex(blockCount: blockCount)
    starts = StartIndex(blockCount: blockCount)
    parents = [Int32](repeating: Self.none, count: blockCount)
    isPartial = [UInt64](repeating: 0, count: (blockCount + 63) / 64)
    tokens = TokenStore(blockCount: blockCount, blockSize: blockSize, vocabularySize: vocabularySize)
    children = countsChains ? [Int32](repeating: 0, count: blockCount) : []
    depths = countsChains ? [Int32](repeating: 0, count: blockCount) : []
  }

  /// A chain's beginning among parents.
  private static func chain(_ number: Int32) -> Int32 { -1 - number }

  var blockCount: Int { parents.count }

  /// Bytes of all that is kept about blocks.
  package var byteCount: Int {
    blocks.byteCount + starts.byteCount + chains.byteCount + tokens.byteCount + 8 * isPartial.count
      + 4 * (parents.count + children.count + depths.count)
  }

  package func contains(_ block: BlockID) -> Bool { parents[Int(block.rawValue)] != Self.none }

  /// The block before a cached one; nil for a first block, and for one that is not cached.
  package func parent(of block: BlockID) -> BlockID? {
    let parent = parents[Int(block.rawValue)]
    return parent < 0 || parent == Self.none ? nil : BlockID(rawValue: parent)
  }

  /// The tokens of a cached full block.
  package func tokens(of block: BlockID) -> [TokenID] { content(Int(block.rawValue), blockSize) }

  func content(_ index: Int, _ count: Int) -> [TokenID] { (0..<count).map { tokens.token(index, $0) } }

  /// The chain's hash before a cached block. O(the chain's tokens)
  package func parentHash(of block: BlockID) -> BlockHash {
    var path: [Int] = []
    var parent = parents[Int(block.rawValue)]
    precondition(parent != Self.none, "block \(block.rawValue) is not cached")
    while parent >= 0 {
      path.append(Int(parent))
      parent = parents[Int(parent)]
    }
    var hash = chains.hash(-1 - parent)
    while let index = path.popLast() { hash = self.hash(after: hash, content(index, blockSize).span) }
    return hash
  }

  /// Cached blocks that follow a block in some chain: it must not be evicted before them.
  ///
  /// - Precondition: chains are counted.
  package func childCount(of block: BlockID) -> Int { Int(children[Int(block.rawValue)]) }

  /// Blocks before a cached one in its chain.
  ///
  /// - Precondition: chains are counted.
  package func depth(of block: BlockID) -> Int { Int(depths[Int(block.rawValue)]) }

  /// Tokens of a cached block that count.
  func length(_ index: Int) -> Int {
    isPartial[index >> 6] >> UInt64(index & 63) & 1 == 0
      ? blockSize : Int(tokens.token(index, blockSize - 1).rawValue)
  }

  // MARK: Hashes

  /// The hash of the block that follows `hash` and holds `tokens`.
  package func hash(after hash: BlockHash, _ tokens: Span<TokenID>) -> BlockHash {
    let full = hash.chained(tokens)
    return BlockHash(low: full.low & hashMask.low, high: full.high & hashMask.high)
  }

  /// What a full block is found by.
  private struct LocalHash {
    private var value: UInt64

    init(parent: Int32) { value = UInt64(UInt32(bitPattern: parent)) &* 0x9E37_79B9_7F4A_7C15 ^ 0x3C6E_F372_FE94_F82B }

    mutating func absorb(_ token: TokenID) {
      let product = (value ^ UInt64(UInt32(bitPattern: token.rawValue))).multipliedFullWidth(
        by: 0xA076_1D64_78BD_642F)
      value = product.high ^ product.low &+ 0x9E37_79B9_7F4A_7C15
    }

    var spread: UInt64 { (value ^ value >> 29) &* 0xBF58_476D_1CE4_E5B9 }
  }

  private func localHash(_ parent: Int32, _ content: Span<TokenID>) -> UInt64 {
    var hash = LocalHash(parent: parent)
    for offset in content.indices { hash.absorb(content[offset]) }
    return hash.spread & localMask
  }

  /// The same of a cached full block.
  private static func localHash(of index: Int, _ parents: [Int32], _ tokens: TokenStore, _ mask: UInt64) -> UInt64 {
    var hash = LocalHash(parent: parents[index])
    for offset in 0..<tokens.blockSize { hash.absorb(tokens.token(index, offset)) }
    return hash.spread & mask
  }

  /// Takes a full block out of the index, which asks for hashes of others.
  private static func vacate(
    _ index: Int, _ blocks: inout BlockIndex, _ parents: [Int32], _ tokens: TokenStore, _ mask: UInt64
  ) {
    blocks.remove(index, localHash(of: index, parents, tokens, mask)) { localHash(of: $0, parents, tokens, mask) }
  }

  // MARK: Looking up

  /// What blocks after `parent`, or at the beginning of a chain, have as their parent; nil where there are none.
  private func place(after parent: BlockID?, _ parentHash: BlockHash) -> Int32? {
    if let parent { return parent.rawValue }
    return chains.number(of: parentHash).map(Self.chain)
  }

  /// The cached block that holds `wanted` (one block of tokens) after `parent`, or at the beginning of the chain of
  /// `parentHash`.
  package func find(parent: BlockID?, parentHash: BlockHash, tokens wanted: Span<TokenID>) -> BlockID? {
    guard wanted.count == blockSize, let place = place(after: parent, parentHash) else { return nil }
    var probe = blocks.probe(localHash(place, wanted))
    while let block = blocks.next(&probe) {
      if parents[block] == place && tokens.shared(block, wanted, limit: blockSize) == blockSize {
        return BlockID(block)
      }
    }
    return nil
  }

  /// The cached block after `parent` (or the chain's beginning) that shares the longest beginning with `wanted`, and how
  /// many tokens that is: at least one. nil when there is none among the newest with the same first token.
  package func findStart(
    parent: BlockID?, parentHash: BlockHash, wanted: Span<TokenID>
  ) -> (block: BlockID, tokens: Int)? {
    guard !wanted.isEmpty, let place = place(after: parent, parentHash) else { return nil }
    var best: (block: BlockID, tokens: Int)?
    var examined = 0
    var block = starts.first(place, wanted[0])
    while block != StartIndex.none && examined < Self.siblingsExamined {
      if parents[Int(block)] == place {
        let shared = tokens.shared(Int(block), wanted, limit: min(length(Int(block)), wanted.count))
        if shared > best?.tokens ?? 0 { best = (BlockID(rawValue: block), shared) }
        if shared == wanted.count { break }
        examined += 1
      }
      block = starts.after(block)
    }
    return best
  }

  // MARK: Coming and going

  /// Makes a computed block findable. It must not be in the index, nor a block of the same content.
  package mutating func insert(
    _ block: BlockID, parent: BlockID?, parentHash: BlockHash, tokens content: Span<TokenID>
  ) {
    precondition(content.count == blockSize, "block \(block.rawValue) is not full")
    let place = enter(block, parent: parent, parentHash: parentHash, content)
    blocks.insert(Int(block.rawValue), localHash(place, content))
  }

  /// Makes the computed beginning of a block findable by `findStart`: 1 ..< blockSize tokens. Nobody may write to it
  /// any more.
  package mutating func insertPartial(
    _ block: BlockID, parent: BlockID?, parentHash: BlockHash, tokens content: Span<TokenID>
  ) {
    precondition((1..<blockSize).contains(content.count), "block \(block.rawValue) is not partial")
    let index = Int(block.rawValue)
    _ = enter(block, parent: parent, parentHash: parentHash, content)
    isPartial[index >> 6] |= 1 << UInt64(index & 63)
    tokens.setLast(index, to: TokenID(content.count))
  }

  /// Answers what the block follows.
  private mutating func enter(
    _ block: BlockID, parent: BlockID?, parentHash: BlockHash, _ content: Span<TokenID>
  ) -> Int32 {
    let index = Int(block.rawValue)
    precondition(!contains(block), "block \(index) is already cached")
    let place = parent?.rawValue ?? Self.chain(chains.retain(parentHash))
    parents[index] = place
    isPartial[index >> 6] &= ~(1 << UInt64(index & 63))
    tokens.set(index, content)
    if !depths.isEmpty {
      depths[index] = parent.map { depths[Int($0.rawValue)] + 1 } ?? 0
      if let parent { children[Int(parent.rawValue)] += 1 }
    }
    starts.insert(index, parent: place, token: content[0])
    count += 1
    return place
  }

  /// Forgets a block; nothing happens when it is not cached.
  package mutating func remove(_ block: BlockID) {
    let index = Int(block.rawValue)
    let place = parents[index]
    if place == Self.none { return }
    if length(index) == blockSize { Self.vacate(index, &blocks, parents, tokens, localMask) }
    starts.remove(index, parent: place, token: tokens.token(index, 0))
    parents[index] = Self.none
    count -= 1
    if place < 0 {
      chains.release(-1 - place)
    } else if !children.isEmpty {
      children[Int(place)] -= 1
    }
  }
}
