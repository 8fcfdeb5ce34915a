import SwerveHardware

/// Keeps the fewest most likely tokens whose probabilities sum to at least p (nucleus sampling, Holtzman et al. 2019,
/// arXiv 1904.09751). The token that reaches p is kept, so at least one is.
enum TopP {
  /// Moves the nucleus of `candidates` to their front and answers its size. The candidates have `total` mass relative to
  /// `maximum` together.
  static func select(_ p: Float, of candidates: Candidates, maximum: Float, total: Double) -> Int {
    candidates.selectMass(Double(p) * total, maximum: maximum) ?? candidates.count
  }

  /// The same for a whole row, where the nucleus lies among its few dozen largest logits, as it does in most rows; nil
  /// where it may not. `total` is the row's mass.
  static func select(
    _ p: Float, from row: RowScan, statistics: RowStatistics, maximum: Float, total: Double,
    into candidates: inout Candidates
  ) -> Int? {
    let needed = Double(p) * total
    // A row that is sure of its token needs a few pieces of itself; another one up to half of them.
    for wanted in [8, 64] where needed <= Double(wanted) {
      // None weighs more than the largest.
      candidates.selectLargest(row, statistics: statistics, wanted: min(wanted, statistics.maxima.count))
      if let count = candidates.selectMass(needed, maximum: maximum) { return count }
    }
    return nil
  }
}
