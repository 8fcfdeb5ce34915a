import SwerveCore
import SwerveHardware

/// What one pass of the device over a row of logits found, in pieces of `width` tokens. Pieces let a draw from the whole
/// vocabulary find its token without a second pass, and the sums are always taken in the order of the pieces.
struct RowStatistics {
  /// Tokens per piece.
  static let width = StatisticsTable.pieceWidth

  /// [pieces] largest logit of each piece.
  let maxima: UnsafeBufferPointer<Float>
  /// [pieces] ln Σ exp of each piece; meaningless where the maximum is −∞, and where it was not asked for.
  let logSums: UnsafeBufferPointer<Float>
  /// [pieces] place of the maximum inside the piece, the lowest among equals.
  let places: UnsafeBufferPointer<Int32>

  /// The largest logit, −∞ where there is none.
  var maximum: Float {
    var largest = -Float.infinity
    for value in maxima where value > largest { largest = value }
    return largest
  }

  /// The token with the largest logit, the lowest among equals; nil where every logit is −∞ or not a number.
  var argmax: Int? {
    var best: Int?
    var largest = -Float.infinity
    for piece in maxima.indices where maxima[piece] > largest {
      largest = maxima[piece]
      best = piece * Self.width + Int(places[piece])
    }
    return best
  }

  /// exp-sum of one piece relative to `maximum`.
  func mass(_ piece: Int, below maximum: Float) -> Double {
    maxima[piece] > -.infinity ? exponential(Double(logSums[piece]) - Double(maximum)) : 0
  }

  /// Σ exp(logit − maximum) over the row.
  func totalMass(below maximum: Float) -> Double {
    var total = 0.0
    for piece in maxima.indices { total += mass(piece, below: maximum) }
    return total
  }

  /// ln Σ exp(logit) over the row: what a raw logit is reduced by to give its log-probability.
  var logSumExp: Double {
    let maximum = self.maximum
    return Double(maximum) + logarithm(totalMass(below: maximum))
  }
}

/// Statistics of a tile of rows, filled by the device. Allocated once.
final class TileStatistics {
  let table: StatisticsTable
  private let capacity: Int

  init(rows: Int, pieces: Int) {
    capacity = rows * pieces
    table = StatisticsTable(
      pieces: pieces, places: .allocate(capacity: capacity), maxima: .allocate(capacity: capacity),
      logSums: .allocate(capacity: capacity))
    table.places.initialize(repeating: 0, count: capacity)
    table.maxima.initialize(repeating: 0, count: capacity)
    table.logSums.initialize(repeating: 0, count: capacity)
  }

  deinit {
    table.places.deallocate()
    table.maxima.deallocate()
    table.logSums.deallocate()
  }

  /// Bytes of a tile's statistics.
  static func byteCount(rows: Int, pieces: Int) -> Int { rows * pieces * 12 }

  func row(_ row: Int) -> RowStatistics {
    precondition(row >= 0 && (row + 1) * table.pieces <= capacity, "a row outside the tile")
    let part = table.from(row)
    return RowStatistics(
      maxima: UnsafeBufferPointer(start: part.maxima, count: part.pieces),
      logSums: UnsafeBufferPointer(start: part.logSums, count: part.pieces),
      places: UnsafeBufferPointer(start: part.places, count: part.pieces))
  }
}
