import SwerveCore

/// Cuts a step's rows into pieces of about the same size, so that a stage can work on one while the next stage works on the
/// one before, or data workers attend to one while another is computed. A cut may go through a prompt: its later rows
/// find the earlier ones' keys and values in the cache, as in two steps, so that no number depends on it.
package struct MicroBatches {
  private let stageCount: Int
  /// nil = as the rows suggest.
  private let wanted: Int?
  /// The pieces cut last; storage is kept.
  var parts: [StepPlan] = []

  init(stageCount: Int, wanted: Int?) {
    self.stageCount = stageCount
    self.wanted = wanted
  }

  /// Pieces for a step where stages share the layers: the same on every rank.
  func count(rows: Int) -> Int {
    if stageCount == 1 || rows < 2 { return 1 }
    if let wanted { return min(wanted, rows) }
    return StepPieces.count(rows: rows, stages: stageCount)
  }

  static func rows(_ index: Int, of count: Int, rows: Int) -> Range<Int> {
    rows * index / count..<rows * (index + 1) / count
  }

  /// The plans of all pieces, into `parts`.
  mutating func cut(_ plan: borrowing StepPlan, into count: Int) {
    while parts.count < count { parts.append(StepPlan()) }
    if parts.count > count { parts.removeLast(parts.count - count) }
    for index in 0..<count {
      Self.cut(plan, rows: Self.rows(index, of: count, rows: plan.tokens.count), into: &parts[index])
    }
    for copy in plan.copies { parts[0].copies.append(copy) }
  }

  private static func cut(_ plan: borrowing StepPlan, rows: Range<Int>, into part: inout StepPlan) {
    part.removeAll()
    part.id = plan.id
    for row in rows { part.tokens.append(plan.tokens[row]) }
    for var step in plan.sequences {
      let begin = max(Int(step.firstRow), rows.lowerBound)
      let end = min(Int(step.firstRow + step.rowCount), rows.upperBound)
      if begin >= end { continue }
      step.contextTokens += Int32(begin) - step.firstRow
      step.firstRow = Int32(begin - rows.lowerBound)
      step.rowCount = Int32(end - begin)
      let first = Int(step.firstBlock)
      step.firstBlock = Int32(part.blocks.count)
      for block in first..<first + Int(step.blockCount) { part.blocks.append(plan.blocks[block]) }
      part.sequences.append(step)
    }
  }
}
