/// Keeps the fewest most likely tokens whose probabilities sum to at least p (nucleus sampling, Holtzman et al. 2019,
/// arXiv 1904.09751). The token that reaches p is kept, so at least one is.
enum TopP {
  /// Moves the nucleus of `candidates` to their front and answers its size. The candidates have `total` mass relative to
  /// `maximum` together.
  static func select(_ p: Float, of candidates: Candidates, maximum: Float, total: Double) -> Int {
    candidates.selectMass(Double(p) * total, maximum: maximum) ?? candidates.count
  }

  /// The same for a whole row. Most rows have their nucleus among a few dozen tokens; for the others, tokens that
  /// together cannot weigh half of what is to be cut off are left out, and the rest is searched.
  static func select(
    _ p: Float, from logits: LogitsRow, statistics: RowStatistics, maximum: Float, into candidates: inout Candidates
  ) -> Int {
    let total = statistics.totalMass(below: maximum)
    guard total.isFinite, total > 0 else { return 0 }
    let needed = Double(p) * total
    candidates.selectLargest(logits, statistics: statistics, wanted: min(64, statistics.maxima.count))
    if let count = candidates.selectMass(needed, maximum: maximum) { return count }
    let spared = (total - needed) / 2 / Double(logits.count)
    candidates.gather(logits, floor: Float(Double(maximum) + logarithm(spared)))
    return candidates.selectMass(needed, maximum: maximum) ?? candidates.count
  }
}
