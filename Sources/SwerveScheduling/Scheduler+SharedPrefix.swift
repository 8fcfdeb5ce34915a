import SwerveCore

extension Scheduler {
  /// Whether a running sequence is about to compute so much of what this one would have to compute that waiting for it
  /// is the faster way: at least half of its tokens, in whole blocks. Requests that arrive together with a prefix in
  /// common then compute it once.
  ///
  /// The wait ends when those blocks are computed, or when the sequence that computes them leaves. O(running prompts),
  /// and a comparison of tokens for those at the same place in the same chain.
  mutating func awaitsPrefix(_ entry: RequestQueue.Entry) -> Bool {
    guard computesPrompt, forkSource(of: entry) == nil else { return false }
    let group = groups[entry.group]
    guard readsCache(entry, of: group) else { return false }
    let known = findPrefix(of: entry)
    let output = entry.preempted?.generated ?? []
    let limit = min(reusableBlocks(known), Int(group.stretch))
    let left = known - hits.count * configuration.blockSize
    for slot in order {
      let sequence = running[Int(slot.rawValue)]
      guard sequence.remainingTokens > 1, !sequence.isPrivate, Int(sequence.sealedBlocks) == hits.count,
        sequence.chainHash == hitHash, sequence.lowerBegin == sequence.lowerEnd
      else { continue }
      let other = groups[sequence.group].prompt
      let findable = min(other.count / configuration.blockSize, Int(groups[sequence.group].stretch))
      var shared = hits.count
      while shared < min(limit, findable),
        holdsSameTokens(block: shared, other, group.prompt, output)
      {
        shared += 1
      }
      if shared > hits.count, 2 * (shared - hits.count) * configuration.blockSize >= left { return true }
    }
    return false
  }

  /// Whether any running sequence has more than its last token to compute.
  private var computesPrompt: Bool { order.contains { running[Int($0.rawValue)].remainingTokens > 1 } }

  /// Whether a block of a running sequence's prompt has the tokens of the same block of prompt and output.
  private mutating func holdsSameTokens(block: Int, _ other: [TokenID], _ prompt: [TokenID], _ output: [TokenID])
    -> Bool
  {
    copyBlock(block, prompt: prompt, output: output)
    let first = block * configuration.blockSize
    return other[first..<first + configuration.blockSize].elementsEqual(blockTokens)
  }
}
