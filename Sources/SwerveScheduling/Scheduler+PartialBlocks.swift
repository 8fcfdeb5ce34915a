import SwerveCore

/// A cached block that begins as a prompt's next block does.
struct BlockStart {
  var block: BlockID
  /// Tokens they have in common, ≥ 1.
  var tokens: Int
}

// Reuse of less than a block: what a prompt has in common with a cached block is copied into a block of its own, and
// computing starts behind it.
extension Scheduler {
  /// The cached block that shares most of the tokens behind the entry's `hits`, where keeping it until the step is planned
  /// leaves `free` blocks that the admission does not need.
  mutating func findStart(of entry: RequestQueue.Entry, known: Int, spareBlocks free: Int) -> BlockStart? {
    let group = groups[entry.group]
    guard readsCache(entry, of: group) else { return nil }
    let first = hits.count * configuration.blockSize
    // One token at least is computed.
    let limit = min(configuration.blockSize, known - 1 - first)
    guard limit > 0 else { return nil }
    copyBlock(hits.count, count: limit, prompt: group.prompt, output: entry.preempted?.generated ?? [])
    guard
      let found = cache.findStart(
        parent: hits.last, parentHash: hitHash, wanted: blockTokens.span.extracting(0..<limit)),
      pool.referenceCount(of: found.block) > 0 || free > 0
    else { return nil }
    return BlockStart(block: found.block, tokens: found.tokens)
  }

  /// Copies a block's beginning in the coming step, before its rows are computed. The source is held until the step is
  /// planned, so that nothing else of this step is put there.
  mutating func copyStart(_ start: BlockStart, to block: BlockID, in plan: inout StepPlan) {
    plan.copies.append(BlockCopy(from: start.block, to: block))
    counters.copiedTokens += start.tokens
  }

  mutating func holdSource(_ block: BlockID) {
    reviveBlock(block)
    heldSources.append(block)
  }

  /// Lets go of the sources of a step's copies.
  mutating func releaseSources() {
    while let block = heldSources.popLast() { giveBack(block) }
  }

  /// Before a sequence gives its blocks back: makes the computed beginning of its last block findable, unless another one
  /// has it already.
  mutating func keepPartialBlock(of slot: SlotID) {
    let index = Int(slot.rawValue)
    let sequence = running[index]
    let position = Int(sequence.sealedBlocks)
    let count = Int(sequence.computedTokens) - position * configuration.blockSize
    // What was to be copied into it may never have been.
    guard configuration.enablePrefixCaching, !sequence.awaitsCopy, !sequence.isBeam,
      !sequence.isPrivate,
      (1..<configuration.blockSize).contains(count), position < Int(groups[sequence.group].stretch),
      tables.count(slot) > position
    else { return }
    let block = tables[slot, position]
    if pool.referenceCount(of: block) != 1 || cache.contains(block) { return }
    copyBlock(position, count: count, prompt: groups[sequence.group].prompt, output: generated[index])
    let content = blockTokens
    let parent = position == 0 ? nil : tables[slot, position - 1]
    let known = cache.findStart(
      parent: parent, parentHash: sequence.chainHash, wanted: content.span.extracting(0..<count))
    if known?.tokens == count { return }
    cache.insertPartial(
      block, parent: parent, parentHash: sequence.chainHash, tokens: content.span.extracting(0..<count))
  }
}
