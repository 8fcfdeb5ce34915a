/// In how many micro-batches a step goes to data workers. Splitting pays where they work while this side computes: on
/// cores of their own, when each piece has rows enough that weights are read for their arithmetic and not for
/// their bytes, and when there is something to hide.
package struct OverlapRule: Sendable {
  /// Micro-batches asked for; nil: as the steps suggest.
  package let wanted: Int?
  /// Rows of a product at which arithmetic takes as long as reading the weights.
  package let leastRows: Int
  /// Micro-batches that workers were made for.
  package let most: Int
  /// Of the time of steps in one piece, what was waited for data workers; nil: not measured yet. A moving mean.
  package private(set) var waitedShare: Double?
  private var stepsSinceMeasured = 0

  /// Share of a layer's time below which there is nothing worth hiding.
  package static let leastShare = 0.15
  /// So often one step that could be cut is computed in one piece, to see what waiting costs now.
  package static let measuredEvery = 64

  package init(wanted: Int?, leastRows: Int, most: Int) {
    self.wanted = wanted
    self.leastRows = max(leastRows, 1)
    self.most = most
  }

  /// - Parameter sharesCores: whether a worker computes on this side's cores: then what one does the other does not.
  package mutating func count(rows: Int, sharesCores: Bool) -> Int {
    if let wanted { return max(1, min(wanted, rows, most)) }
    let possible = min(most, rows / leastRows)
    if sharesCores || possible < 2 { return 1 }
    stepsSinceMeasured += 1
    guard let waitedShare, stepsSinceMeasured < Self.measuredEvery, waitedShare > Self.leastShare else { return 1 }
    // Two hide what takes no longer than computing; more waiting needs a third.
    return waitedShare > 0.5 ? possible : 2
  }

  /// A step in one piece took so long, and waited so long of it.
  package mutating func measured(rows: Int, nanoseconds: UInt64, waited: UInt64) {
    guard rows >= 2 * leastRows, nanoseconds > 0 else { return }
    stepsSinceMeasured = 0
    let share = Double(min(waited, nanoseconds)) / Double(nanoseconds)
    waitedShare = waitedShare.map { 0.75 * $0 + 0.25 * share } ?? share
  }
}
