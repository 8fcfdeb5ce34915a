import SwerveCore
import SwerveTransfer

/// Who has which rows of a part of a step: of a micro-batch, or of a turn of sequences that lie with several workers.
struct FanoutPart {
  /// Neighbouring rows of one worker.
  struct Run {
    var worker: Int32
    var firstRow: Int32
    var rowCount: Int32
    /// The first one's place among the worker's rows.
    var localRow: Int32
    /// Whether others attended to what comes before, and others go on.
    var continues: Bool
    var goesOn: Bool
  }

  private(set) var runs: [Run] = []
  /// Workers with rows.
  var active: [Int] = []
  /// [workers] rows counted while runs are listed.
  private var counts: [Int32]
  private(set) var rowCount = 0
  /// The first of its rows among the step's.
  private(set) var firstRow = 0
  /// Whether one worker has all rows, in order, and no other has anything of their sequences.
  private(set) var isWhole = false

  init(workers: Int, sequences: Int) {
    counts = [Int32](repeating: 0, count: workers)
    runs.reserveCapacity(sequences)
    active.reserveCapacity(workers)
  }

  /// Lists the rows of a plan in a turn. `active` has been listed. Answers whether a sequence has another turn.
  mutating func list(
    _ plan: borrowing StepPlan, turn: Int, firstRow: Int, in banks: StepPlan.Banks
  ) -> Bool {
    runs.removeAll(keepingCapacity: true)
    for index in counts.indices { counts[index] = 0 }
    self.firstRow = firstRow
    rowCount = plan.tokens.count
    var anyGoesOn = false
    for index in plan.sequences.indices {
      let step = plan.sequences[index]
      guard step.rowCount > 0,
        let stretch = plan.stretch(turn, of: step, in: banks)
      else { continue }
      let goesOn = stretch.positions.upperBound < Int(step.blockCount)
      anyGoesOn = anyGoesOn || goesOn
      append(
        Run(
          worker: Int32(stretch.bank), firstRow: step.firstRow, rowCount: step.rowCount,
          localRow: counts[stretch.bank], continues: stretch.positions.lowerBound > 0, goesOn: goesOn))
    }
    isWhole =
      turn == 0 && active.count == 1 && runs.count == 1 && Int(runs[0].rowCount) == rowCount && !runs[0].goesOn
    return anyGoesOn
  }

  private mutating func append(_ run: Run) {
    counts[Int(run.worker)] += run.rowCount
    if let last = runs.indices.last, runs[last].worker == run.worker, runs[last].continues == run.continues,
      runs[last].goesOn == run.goesOn, runs[last].firstRow + runs[last].rowCount == run.firstRow
    {
      runs[last].rowCount += run.rowCount
    } else {
      runs.append(run)
    }
  }

  /// Rows of a worker whose running values come in, or go out.
  func stateRows(of worker: Int, _ takesPart: (Run) -> Bool) -> Int {
    var rows = 0
    for run in runs where run.worker == Int32(worker) && takesPart(run) { rows += Int(run.rowCount) }
    return rows
  }
}
