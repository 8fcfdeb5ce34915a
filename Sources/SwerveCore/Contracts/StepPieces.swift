/// How a step's rows are cut where pipeline stages, or a worker and its data workers, work on different pieces at once.
/// The executor cuts by it and the planner predicts by it.
package enum StepPieces {
  /// Rows that a piece must have where the number is ours to choose: below, a stage reads its weights more often and
  /// gains nothing, for few rows take as long as one.
  package static let leastRows = 128
  package static let most = 3

  /// Pieces of a step of so many rows, for so many stages.
  package static func count(rows: Int, stages: Int) -> Int { max(1, min(most, stages, rows / leastRows)) }
}
