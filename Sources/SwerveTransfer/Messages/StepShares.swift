package import SwerveCore

// Which part of a sequence lies with whom, as its block table says: banks of blocks are workers, and a table is cut
// where the bank changes, at whole partitions.
extension StepPlan {
  /// How a pool of blocks is cut into banks.
  package struct Banks: Sendable, Hashable {
    /// Blocks of a bank.
    package var blocks: Int
    package var blockTokens: Int
    /// Whether blocks may lie below the banks. Then a sequence has one bank: that of its last block, which is written to.
    package var hasPlaces: Bool

    package init(blocks: Int, blockTokens: Int, hasPlaces: Bool = false) {
      self.blocks = blocks
      self.blockTokens = blockTokens
      self.hasPlaces = hasPlaces
    }
  }

  /// The n-th stretch of a sequence's table, of those whose blocks lie in one bank each; nil where there are fewer.
  /// O(partitions), O(1) for a table in one bank.
  package func stretch(_ number: Int, of step: SequenceStep, in banks: Banks) -> (bank: Int, positions: Range<Int>)? {
    let count = Int(step.blockCount)
    if count == 0 { return nil }
    func bank(_ position: Int) -> Int { Int(blocks[Int(step.firstBlock) + position].rawValue) / banks.blocks }
    // No bank has two stretches of a sequence.
    let last = bank(count - 1)
    if banks.hasPlaces || bank(0) == last { return number == 0 ? (last, 0..<count) : nil }
    let partition = AttentionPartition.tokens / banks.blockTokens
    var (begin, found) = (0, 0)
    while begin < count {
      let own = bank(begin)
      var end = begin + partition
      while end < count && bank(end) == own { end += partition }
      if found == number { return (own, begin..<min(end, count)) }
      found += 1
      begin = end
    }
    return nil
  }
}
