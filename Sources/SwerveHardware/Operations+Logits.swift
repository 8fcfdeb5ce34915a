internal import CSwerveKernels
internal import SwerveCore

/// What is wanted of one row of logits.
package struct RowRequest: Sendable, Hashable {
  // The layout of swerve_row_request, whose arrays these are handed to.

  /// Multiplies the row first, in place: 1 / temperature. 1 = the row stays as it is.
  package var factor: Float
  private var code: Int32

  package enum Wanted: Int32, Sendable {
    /// The row is left alone, its factor too.
    case nothing = 0
    /// Largest logits and their places.
    case maxima = 1
    /// These and the sums.
    case sums = 2
  }

  package init(factor: Float = 1, _ wanted: Wanted) {
    self.factor = factor
    code = wanted.rawValue
  }

  package var wanted: Wanted { Wanted(rawValue: code) ?? .nothing }
}

/// Where statistics of rows go, each [rows, pieces]: memory that somebody else owns.
package struct StatisticsTable: @unchecked Sendable {
  // Sendable: addresses and a size; who may touch the memory is decided by the owner's rules.

  /// Tokens of a piece; a row's last piece may be shorter.
  package static let pieceWidth = 1024

  package let pieces: Int
  /// Place of the maximum inside the piece, the lowest among equals; not-a-number counts as −∞.
  package let places: UnsafeMutablePointer<Int32>
  package let maxima: UnsafeMutablePointer<Float>
  /// ln Σ exp of the piece; −∞ where its maximum is.
  package let logSums: UnsafeMutablePointer<Float>

  package init(
    pieces: Int, places: UnsafeMutablePointer<Int32>, maxima: UnsafeMutablePointer<Float>,
    logSums: UnsafeMutablePointer<Float>
  ) {
    self.pieces = pieces
    self.places = places
    self.maxima = maxima
    self.logSums = logSums
  }

  package static func pieces(_ columns: Int) -> Int { (columns + pieceWidth - 1) / pieceWidth }

  /// The part from `row` on.
  package func from(_ row: Int) -> StatisticsTable {
    StatisticsTable(
      pieces: pieces, places: places + row * pieces, maxima: maxima + row * pieces, logSums: logSums + row * pieces)
  }

  fileprivate var kernelTable: swerve_statistics {
    swerve_statistics(pieces: pieces, places: places, maxima: maxima, log_sums: logSums)
  }
}

extension CPUDevice {
  /// Multiplies rows of logits by their factors and finds their statistics. `logits` f32 [rows, V], one request a row,
  /// `table` of V columns' pieces.
  package func statistics(_ logits: Tensor, requests: UnsafePointer<RowRequest>, into table: StatisticsTable) {
    require(table.pieces == StatisticsTable.pieces(logits.columns), "statistics: pieces")
    guard logits.rows > 0 else { return }
    pool.run(
      swerve_statistics_task, statisticsJob(logits, requests, table), units: logits.rows * table.pieces, grain: 16)
  }

  /// The same on the calling thread: for a task that holds one row.
  package func statisticsHere(_ logits: Tensor, requests: UnsafePointer<RowRequest>, into table: StatisticsTable) {
    require(table.pieces == StatisticsTable.pieces(logits.columns), "statistics: pieces")
    withUnsafePointer(to: statisticsJob(logits, requests, table)) {
      swerve_statistics_task($0, 0, logits.rows * table.pieces, nil)
    }
  }

  private func statisticsJob(
    _ logits: Tensor, _ requests: UnsafePointer<RowRequest>, _ table: StatisticsTable
  ) -> swerve_statistics_job {
    swerve_statistics_job(
      kernels: kernels, logits: logits.float32, stride: logits.rowStride, columns: logits.columns,
      requests: UnsafeRawPointer(requests).assumingMemoryBound(to: swerve_row_request.self),
      statistics: table.kernelTable)
  }

  /// The output head: `logits` f32 [rows, V] = x Wᵀ as `linear` gives it, and what each row's request wants, found while
  /// a piece of the product is in the cache. The bits are those of `linear` and `statistics`.
  ///
  /// - Parameter keepsLogits: false where nobody will read `logits`: they are then not written, or anything may be.
  package func head(
    _ x: Tensor, _ w: PackedWeight, into logits: Tensor, keepsLogits: Bool, requests: UnsafePointer<RowRequest>,
    statistics table: StatisticsTable
  ) {
    require(table.pieces == StatisticsTable.pieces(w.outputs), "head: pieces")
    // A piece is the unit: too few of them for a fair share of the threads cost more than a second pass over little.
    guard threadCount == 1 || table.pieces >= 8 * threadCount else {
      linear(x, w, into: logits)
      return statistics(logits, requests: requests, into: table)
    }
    require(logits.type == .float32 && w.layout == .stacked && !w.format.roundsRows, "head: f32 logits")
    guard let linear = linearJob(x, w, epilogue: .store, rounded: nil, into: logits) else { return }
    let job = swerve_head_job(
      linear: linear, requests: UnsafeRawPointer(requests).assumingMemoryBound(to: swerve_row_request.self),
      statistics: table.kernelTable, keeps: keepsLogits)
    pool.run(swerve_head_task, job, units: table.pieces)
  }

  /// One row of logits for a task that searches it.
  ///
  /// - Parameter maxima: [pieces] of these logits.
  package func scan(_ logits: UnsafeMutableBufferPointer<Float>, maxima: UnsafePointer<Float>) -> RowScan {
    RowScan(logits: logits, maxima: maxima, kernels: kernels)
  }
}
