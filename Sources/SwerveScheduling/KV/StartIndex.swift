import SwerveCore

/// Cached blocks by what they follow and by their first token: the siblings that a prompt may share the beginning of a
/// block with.
///
/// Chains of blocks in buckets, newest first, linked through two arrays: entering and leaving is O(1) and allocates
/// nothing.
struct StartIndex {
  /// A block or `none`.
  private var heads: [Int32]
  /// [blocks] links of the chain a block is in.
  private var next: [Int32]
  private var previous: [Int32]

  static let none: Int32 = -1

  init(blockCount: Int) {
    var capacity = 2
    while capacity < blockCount { capacity *= 2 }
    heads = [Int32](repeating: Self.none, count: capacity)
    next = [Int32](repeating: Self.none, count: blockCount)
    previous = [Int32](repeating: Self.none, count: blockCount)
  }

  private func bucket(_ parentHash: BlockHash, _ token: TokenID) -> Int {
    let word = (parentHash.low ^ UInt64(UInt32(bitPattern: token.rawValue))) &* 0x9E37_79B9_7F4A_7C15
    return Int(truncatingIfNeeded: (word ^ parentHash.high) >> 20) & (heads.count - 1)
  }

  mutating func insert(_ block: Int, parentHash: BlockHash, token: TokenID) {
    let place = bucket(parentHash, token)
    let following = heads[place]
    next[block] = following
    previous[block] = Self.none
    if following != Self.none { previous[Int(following)] = Int32(block) }
    heads[place] = Int32(block)
  }

  mutating func remove(_ block: Int, parentHash: BlockHash, token: TokenID) {
    if previous[block] == Self.none {
      heads[bucket(parentHash, token)] = next[block]
    } else {
      next[Int(previous[block])] = next[block]
    }
    if next[block] != Self.none { previous[Int(next[block])] = previous[block] }
    next[block] = Self.none
    previous[block] = Self.none
  }

  /// The newest block that may follow `parentHash` and begin with `token`, or `none`. Others share its bucket.
  func first(_ parentHash: BlockHash, _ token: TokenID) -> Int32 { heads[bucket(parentHash, token)] }

  /// The next older one of the same bucket, or `none`.
  func after(_ block: Int32) -> Int32 { next[Int(block)] }
}
