// The KV cache as numbers: which blocks are free, who holds which, which are found again by their tokens.
// No bytes, no device, no policy: eviction order is the order of the free list and nothing else.
// Start with BlockPool (references and the free list), then BlockTables and PrefixCache.

package import SwerveCore

/// All blocks of the KV store: how many holders each has, and those without any in eviction order.
///
/// The free list is doubly linked through two arrays, so taking, freeing and reviving a block is O(1) and allocates
/// nothing; a block with holders is in no list, and its link counts them. 8⅛ bytes a block. A freed block goes to the end when its content is worth keeping (it is evicted last) and to the front when
/// not (it is taken next).
///
/// The pool may be cut into banks, equal ranges of blocks with a free list each.
package struct BlockPool: ~Copyable {
  package let blockCount: Int
  package let bankCount: Int
  /// Blocks of a bank.
  package let bankBlocks: Int
  /// Blocks in the free lists.
  package private(set) var freeCount: Int
  /// Blocks in the free list whose content is worth keeping.
  package private(set) var keptCount = 0
  /// [banks] blocks in each free list; empty where there is one.
  private var bankFree: [Int]
  /// [blocks + banks] links of the free lists; the last entries are their heads and tails. A block with holders has
  /// `detached` and, in place of the other link, how many there are.
  private var next: [Int32]
  private var previous: [Int32]
  /// [blocks] one bit each: whether a free block's content is worth keeping.
  private var keptBits: [UInt64]

  private static let detached: Int32 = -1

  /// All blocks free, taken in ascending order.
  ///
  /// - Precondition: `banks` divides `blockCount`.
  package init(blockCount: Int, banks: Int = 1) {
    precondition(banks > 0 && blockCount % banks == 0, "\(blockCount) blocks cannot be cut into \(banks) banks")
    self.blockCount = blockCount
    bankCount = banks
    bankBlocks = blockCount / banks
    freeCount = blockCount
    bankFree = banks == 1 ? [] : [Int](repeating: blockCount / banks, count: banks)
    next = (0..<blockCount + banks).map { Int32($0 + 1) }
    previous = (0..<blockCount + banks).map { Int32($0 - 1) }
    for bank in 0..<banks {
      let (head, first, last) = (blockCount + bank, bank * bankBlocks, (bank + 1) * bankBlocks - 1)
      (next[head], previous[head]) = bankBlocks == 0 ? (Int32(head), Int32(head)) : (Int32(first), Int32(last))
      if bankBlocks > 0 { (previous[first], next[last]) = (Int32(head), Int32(head)) }
    }
    keptBits = [UInt64](repeating: 0, count: (blockCount + 63) / 64)
  }

  /// Bytes of all that is kept about blocks.
  package var byteCount: Int { 4 * (next.count + previous.count) + 8 * (keptBits.count + bankFree.count) }

  /// The bank of a block.
  package func bank(of block: BlockID) -> Int { bankCount == 1 ? 0 : Int(block.rawValue) / bankBlocks }

  /// Blocks in the free list of a bank.
  package func freeCount(in bank: Int) -> Int { bankCount == 1 ? freeCount : bankFree[bank] }

  package var usedCount: Int { blockCount - freeCount }

  package func referenceCount(of block: BlockID) -> Int { holders(Int(block.rawValue)) }

  private func holders(_ index: Int) -> Int { next[index] == Self.detached ? Int(previous[index]) : 0 }

  private func isKept(_ index: Int) -> Bool { keptBits[index >> 6] >> UInt64(index & 63) & 1 == 1 }

  private mutating func setKept(_ index: Int, _ isKept: Bool) {
    if isKept == self.isKept(index) { return }
    keptBits[index >> 6] ^= 1 << UInt64(index & 63)
    keptCount += isKept ? 1 : -1
  }

  /// Takes the block that is evicted next, with one reference; nil when none is free. The caller forgets its content.
  package mutating func allocate(in bank: Int = 0) -> BlockID? {
    guard let block = freeBlock(after: nil, in: bank) else { return nil }
    take(block)
    return block
  }

  /// Takes this free block, whatever its place in the list, with one reference.
  package mutating func take(_ block: BlockID) {
    precondition(holders(Int(block.rawValue)) == 0, "block \(block.rawValue) is taken and has holders")
    detach(block.rawValue)
  }

  /// A free block's content is no longer worth keeping; its place in the list stays.
  package mutating func discard(_ block: BlockID) { setKept(Int(block.rawValue), false) }

  /// One more holder; revives a free block.
  package mutating func retain(_ block: BlockID) {
    if next[Int(block.rawValue)] == Self.detached {
      previous[Int(block.rawValue)] += 1
    } else {
      detach(block.rawValue)
    }
  }

  /// One holder less. The last one frees the block: `keeping` its content as long as possible, or not at all.
  package mutating func release(_ block: BlockID, keeping: Bool) {
    let index = Int(block.rawValue)
    precondition(holders(index) > 0, "block \(index) was released more often than retained")
    previous[index] -= 1
    if previous[index] > 0 { return }
    let head = blockCount + bank(of: block)
    let end = Int32(head)
    let before = keeping ? previous[head] : end
    let after = keeping ? end : next[head]
    next[Int(before)] = block.rawValue
    previous[Int(after)] = block.rawValue
    next[index] = after
    previous[index] = before
    freeCount += 1
    if bankCount > 1 { bankFree[head - blockCount] += 1 }
    setKept(index, keeping)
  }

  /// Takes a block out of its list, with one holder.
  private mutating func detach(_ block: Int32) {
    let index = Int(block)
    next[Int(previous[index])] = next[index]
    previous[Int(next[index])] = previous[index]
    next[index] = Self.detached
    previous[index] = 1
    freeCount -= 1
    if bankCount > 1 { bankFree[index / bankBlocks] -= 1 }
    discard(BlockID(rawValue: block))
  }

  /// The free block that is evicted after `block`, or first of the bank when `block` is nil; nil at the end of the list.
  package func freeBlock(after block: BlockID?, in bank: Int = 0) -> BlockID? {
    let following = next[block.map { Int($0.rawValue) } ?? blockCount + bank]
    return following >= Int32(blockCount) || following == Self.detached ? nil : BlockID(rawValue: following)
  }

  /// The first thing that does not add up, or nil: links agree in both directions, exactly the blocks without holders
  /// are in the list, once. O(blocks)
  package func violation() -> String? {
    var listed = 0
    for bank in 0..<bankCount {
      let (before, head) = (listed, blockCount + bank)
      var at = head
      repeat {
        let following = Int(next[at])
        guard (0..<blockCount).contains(following) || following == head, Int(previous[following]) == at else {
          return "free list: the links between blocks \(at) and \(following) disagree"
        }
        at = following
        if at != head {
          listed += 1
          if holders(at) != 0 { return "block \(at) is in the free list and has \(holders(at)) holders" }
          if listed > blockCount { return "free list: it runs in a circle" }
          if at / max(bankBlocks, 1) != bank { return "block \(at) is free in bank \(bank)" }
        }
      } while at != head
      if listed - before != freeCount(in: bank) {
        return "free list \(bank): \(listed - before) blocks listed, \(freeCount(in: bank)) counted"
      }
    }
    if listed != freeCount { return "free list: \(listed) blocks listed, \(freeCount) counted" }
    let kept = (0..<blockCount).count { isKept($0) }
    if kept != keptCount { return "free list: \(kept) blocks are kept, \(keptCount) counted" }
    var held = 0
    for block in 0..<blockCount where next[block] == Self.detached {
      held += 1
      if isKept(block) { return "block \(block) is kept as free and has holders" }
      if previous[block] <= 0 { return "block \(block) is neither held nor free" }
    }
    if held + listed != blockCount { return "\(held) blocks are held and \(listed) free, of \(blockCount)" }
    return nil
  }
}
