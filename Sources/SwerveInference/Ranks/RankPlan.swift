package import SwerveCore

/// A step plan as the ranks need it that do not sample: rows, blocks and copies. What concerns slots stays with rank 0,
/// and blocks do not leave the device where there are several ranks.
package enum RankPlan {
  private static let sequenceWords = 8

  package static func write(_ plan: borrowing StepPlan, into words: RankWords) {
    words.removeAll()
    words.append(UInt32(plan.sequences.count))
    words.append(UInt32(plan.tokens.count))
    words.append(UInt32(plan.blocks.count))
    words.append(UInt32(plan.copies.count))
    for step in plan.sequences {
      words.append(step.firstRow)
      words.append(step.rowCount)
      words.append(step.draftCount)
      words.append(step.contextTokens)
      words.append(step.promptTokens)
      words.append(step.firstBlock)
      words.append(step.blockCount)
      words.append(UInt32(step.samples ? 1 : 0))
    }
    for token in plan.tokens { words.append(token.rawValue) }
    for block in plan.blocks { words.append(block.rawValue) }
    for copy in plan.copies {
      words.append(copy.from.rawValue)
      words.append(copy.to.rawValue)
    }
  }

  /// Reads a plan and checks that a runner of these limits can execute it without meeting anything it does not have.
  ///
  /// - Returns: what is wrong, in a few words; nil when the plan can be executed.
  package static func read(
    _ words: RankWords, into plan: inout StepPlan, limits: RunnerLimits, vocabularySize: Int, blockCount: Int
  ) -> String? {
    plan.removeAll()
    words.beginReading()
    let sequences = Int(words.next())
    let rows = Int(words.next())
    let blocks = Int(words.next())
    let copies = Int(words.next())
    guard !words.isOverrun, sequences <= limits.sequences, rows <= limits.rows,
      blocks <= limits.blockEntries, copies <= RankMessage.mostWords / 4,
      words.remaining == sequences * sequenceWords + rows + blocks + 2 * copies
    else { return "a plan larger than the limits, or cut short" }
    for _ in 0..<sequences {
      var step = SequenceStep(
        sequence: SequenceID(request: RequestID(rawValue: 0), index: 0), slot: SlotID(rawValue: 0),
        firstRow: words.nextInt(), rowCount: words.nextInt(), contextTokens: 0, promptTokens: 0, firstBlock: 0,
        blockCount: 0, samples: false)
      step.draftCount = words.nextInt()
      step.contextTokens = words.nextInt()
      step.promptTokens = words.nextInt()
      step.firstBlock = words.nextInt()
      step.blockCount = words.nextInt()
      step.samples = words.next() != 0
      plan.sequences.append(step)
    }
    for _ in 0..<rows { plan.tokens.append(TokenID(rawValue: words.nextInt())) }
    for _ in 0..<blocks { plan.blocks.append(BlockID(rawValue: words.nextInt())) }
    for _ in 0..<copies {
      plan.copies.append(BlockCopy(from: BlockID(rawValue: words.nextInt()), to: BlockID(rawValue: words.nextInt())))
    }
    return check(plan, limits: limits, vocabularySize: vocabularySize, blockCount: blockCount)
  }

  private static func check(
    _ plan: borrowing StepPlan, limits: RunnerLimits, vocabularySize: Int, blockCount: Int
  ) -> String? {
    var nextRow = 0
    for step in plan.sequences {
      let rows = Int(step.rowCount)
      let context = Int(step.contextTokens)
      let first = Int(step.firstBlock)
      let count = Int(step.blockCount)
      guard rows >= 0, context >= 0, first >= 0, count >= 0, step.promptTokens >= 0,
        rows == 0 || Int(step.firstRow) == nextRow, rows <= plan.tokens.count - nextRow
      else { return "rows that do not follow one another" }
      nextRow += rows
      guard context <= limits.contextTokens, context + rows <= limits.contextTokens + limits.drafts + 1,
        first <= plan.blocks.count - count, count * limits.blockTokens >= (rows == 0 ? 0 : context + rows)
      else { return "a sequence longer than its blocks" }
    }
    guard nextRow == plan.tokens.count else { return "rows of no sequence" }
    guard plan.tokens.allSatisfy({ (0..<vocabularySize).contains(Int($0.rawValue)) }) else {
      return "a token outside the vocabulary"
    }
    func isInPool(_ block: BlockID) -> Bool { (0..<blockCount).contains(Int(block.rawValue)) }
    guard plan.blocks.allSatisfy(isInPool),
      plan.copies.allSatisfy({ isInPool($0.from) && isInPool($0.to) })
    else { return "a block outside the pool" }
    return nil
  }
}
