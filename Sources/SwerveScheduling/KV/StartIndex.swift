import SwerveCore

/// Cached blocks by what they follow and by their first token: the siblings that a prompt may share the beginning of a
/// block with.
///
/// Chains of blocks in buckets, newest first, linked through two arrays: entering and leaving is O(1) and allocates
/// nothing. 9 bytes a block.
struct StartIndex {
  /// A block or `none`; one for four blocks, since few blocks are looked for by their beginning.
  private var heads: [Int32]
  /// [blocks] links of the chain a block is in.
  private var next: [Int32]
  private var previous: [Int32]

  static let none: Int32 = -1

  init(blockCount: Int) {
    heads = [Int32](repeating: Self.none, count: blockCount / 4 + 1)
    next = [Int32](repeating: Self.none, count: blockCount)
    previous = [Int32](repeating: Self.none, count: blockCount)
  }

  var byteCount: Int { 4 * (heads.count + next.count + previous.count) }

  private func bucket(_ parent: Int32, _ token: TokenID) -> Int {
    let word = UInt64(UInt32(bitPattern: parent)) << 32 | UInt64(UInt32(bitPattern: token.rawValue))
    let spread = (word ^ word >> 29) &* 0x9E37_79B9_7F4A_7C15
    return Int(((spread ^ spread >> 32) & 0xFFFF_FFFF &* UInt64(heads.count)) >> 32)
  }

  /// - Parameter parent: what it follows: a block, or the beginning of a chain.
  mutating func insert(_ block: Int, parent: Int32, token: TokenID) {
    let place = bucket(parent, token)
    let following = heads[place]
    next[block] = following
    previous[block] = Self.none
    if following != Self.none { previous[Int(following)] = Int32(block) }
    heads[place] = Int32(block)
  }

  mutating func remove(_ block: Int, parent: Int32, token: TokenID) {
    if previous[block] == Self.none {
      heads[bucket(parent, token)] = next[block]
    } else {
      next[Int(previous[block])] = next[block]
    }
    if next[block] != Self.none { previous[Int(next[block])] = previous[block] }
    next[block] = Self.none
    previous[block] = Self.none
  }

  /// The newest block that may follow `parent` and begin with `token`, or `none`. Others share its bucket.
  func first(_ parent: Int32, _ token: TokenID) -> Int32 { heads[bucket(parent, token)] }

  /// The next older one of the same bucket, or `none`.
  func after(_ block: Int32) -> Int32 { next[Int(block)] }
}
