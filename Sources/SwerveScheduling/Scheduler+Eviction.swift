import SwerveCore

// Which cached block goes when a fresh one is needed. Everything that takes, revives or gives back a block of a sequence
// goes through here, so that the two policies see it; results never depend on what is evicted.
extension Scheduler {
  /// A fresh block with one holder, and forgets what was cached in it: one that nobody wants back first, then the one that
  /// the policy gives up. nil when none is free. O(1), or O(log blocks) where costs decide.
  mutating func takeBlock(in bank: Int) -> BlockID? {
    guard let first = pool.freeBlock(after: nil, in: bank) else { return nil }
    let block = cache.contains(first) ? cheapestBlock(in: bank) ?? first : first
    pool.take(block)
    forget(block)
    return block
  }

  /// The bank's free cached block whose loss costs least, of those that no cached block follows; nil where age alone
  /// decides.
  private mutating func cheapestBlock(in bank: Int) -> BlockID? {
    while let block = evictions?.popLeast(in: bank) {
      // What others gave back or took on their own is not known here: the list's order then decides.
      if pool.referenceCount(of: block) == 0 && cache.contains(block) && cache.childCount(of: block) == 0 {
        return block
      }
    }
    return nil
  }

  /// One more holder for a block that a prompt was found in.
  mutating func reviveBlock(_ block: BlockID) {
    pool.retain(block)
    evictions?.hit(block)
  }

  /// One holder less; the last one leaves it to be evicted, or found again. A place below the device is free then.
  mutating func giveBack(_ block: BlockID) {
    guard configuration.ranges.isOnDevice(block) else { return lower.release(block) }
    let isCached = cache.contains(block)
    pool.release(block, keeping: isCached)
    guard evictions != nil, isCached, pool.referenceCount(of: block) == 0 else { return }
    let cost = recomputationCost(of: block)
    evictions?.rank(block, cost: cost)
    if cache.childCount(of: block) == 0 { evictions?.enter(block) }
  }

  /// What was in the block is gone. The block before it may be evicted next.
  private mutating func forget(_ block: BlockID) {
    let parent = cache.contains(block) ? cache.parent(of: block) : nil
    cache.remove(block)
    guard evictions != nil else { return }
    evictions?.forget(block)
    if let parent, pool.referenceCount(of: parent) == 0, cache.childCount(of: parent) == 0 {
      evictions?.enter(parent)
    }
  }

  /// What computing a block again takes, in blocks at the beginning of a prompt: attention to what stands before it makes
  /// later ones dearer.
  private func recomputationCost(of block: BlockID) -> Double {
    let context = Double(cache.depth(of: block) * configuration.blockSize)
    return 1 + context / Double(configuration.attentionCostTokens)
  }

  /// Forgets all cached prefixes that no running sequence holds. Answers whether none is left. O(free blocks)
  @discardableResult
  package mutating func resetPrefixCache() -> Bool {
    for bank in 0..<pool.bankCount { forgetCached(in: bank) }
    return cache.count == 0
  }
}
