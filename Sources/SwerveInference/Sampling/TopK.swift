import SwerveHardware

/// Keeps the k largest logits; among equals those with lower tokens, so that exactly k remain.
enum TopK {
  static func isActive(_ k: Int, vocabularySize: Int) -> Bool { k > 0 && k < vocabularySize }

  /// Leaves the k largest logits of at least `floor` in `candidates`, sorted.
  static func select(
    _ k: Int, from row: RowScan, statistics: RowStatistics, floor: Float, into candidates: inout Candidates
  ) {
    candidates.selectLargest(row, statistics: statistics, wanted: k, floor: floor)
  }
}
