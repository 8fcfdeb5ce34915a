/// How much one more row adds to a decode step on this machine, measured while it decodes: what a draft costs depends on
/// the model, the threads and the kernels, so it is not assumed.
///
/// A line is fitted through (rows, seconds) of the last steps, each step counting for a little more than the one before
/// it. The slope is drawn towards the first guess as if `priorWeight` steps had said so, because while all steps have the
/// same number of rows they say nothing about it. A few additions a step, no allocation. Only the pace depends on the
/// answer, never a result.
package struct RowCost: Sendable {
  /// Of a row, in units of a step without rows.
  package private(set) var value: Float

  private let prior: Double
  private var weight = 0.0
  private var rows = 0.0
  private var seconds = 0.0
  /// Sums of squared and of mixed deviations from the means.
  private var rowSpread = 0.0
  private var slopeSpread = 0.0

  /// Steps that count: about the last 256.
  private static let decay = 1 - 1.0 / 256
  /// In squared rows.
  private static let priorWeight = 64.0
  private static let range: ClosedRange<Double> = 0.005...1
  /// A step this much slower than the average was interrupted and tells nothing.
  private static let outlier = 4.0

  package init(prior: Float) {
    value = prior
    self.prior = Double(prior)
  }

  /// A step that only decoded.
  package mutating func record(rows count: Int, seconds time: Double) {
    guard count > 0, time > 0 else { return }
    if weight >= 16 && time > Self.outlier * seconds { return }
    weight = weight * Self.decay + 1
    let rowDeviation = Double(count) - rows
    let timeDeviation = time - seconds
    rows += rowDeviation / weight
    seconds += timeDeviation / weight
    rowSpread = rowSpread * Self.decay + rowDeviation * (Double(count) - rows)
    slopeSpread = slopeSpread * Self.decay + rowDeviation * (time - seconds)
    guard weight >= 16 else { return }
    // As a share of a step of the average size, then of one without rows.
    let assumed = prior / (1 + prior * rows) * seconds
    let slope = (slopeSpread + Self.priorWeight * assumed) / (rowSpread + Self.priorWeight)
    let base = seconds - slope * rows
    let cost = base > slope ? slope / base : Self.range.upperBound
    value = Float(min(max(cost, Self.range.lowerBound), Self.range.upperBound))
  }
}
