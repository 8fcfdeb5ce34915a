import SwerveCore
import SwerveHardware

/// What one pass of the device over a row of logits found, in pieces of `width` tokens. Pieces let a draw from the whole
/// vocabulary find its token without a second pass, and the sums are always taken in the order of the pieces.
struct RowStatistics {
  /// Tokens per piece.
  static let width = 1024

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
///
/// A tile's rows are padded to whole pieces with −∞, so that rows × pieces is one matrix to the device.
final class TileStatistics {
  private let pieces: Int
  private let maxima: UnsafeMutableBufferPointer<Float>
  private let logSums: UnsafeMutableBufferPointer<Float>
  private let places: UnsafeMutableBufferPointer<Int32>

  init(rows: Int, pieces: Int) {
    self.pieces = pieces
    maxima = .allocate(capacity: rows * pieces)
    logSums = .allocate(capacity: rows * pieces)
    places = .allocate(capacity: rows * pieces)
    maxima.initialize(repeating: 0)
    logSums.initialize(repeating: 0)
    places.initialize(repeating: 0)
  }

  deinit {
    maxima.deallocate()
    logSums.deallocate()
    places.deallocate()
  }

  /// Bytes of a tile's statistics.
  static func byteCount(rows: Int, pieces: Int) -> Int { rows * pieces * 12 }

  /// Reads a tile f32 [rows, pieces × width] without gaps between rows.
  func update(_ tile: Tensor, device: CPUDevice) {
    let cut = Tensor(
      pointer: tile.pointer, type: .float32, rows: tile.rows * pieces, columns: RowStatistics.width)
    var indices = places.mutableSpan
    var largest = maxima.mutableSpan
    var sums = logSums.mutableSpan
    device.maximaAndLogSumExp(cut, indices: &indices, maxima: &largest, logSumExps: &sums)
  }

  func row(_ row: Int) -> RowStatistics {
    let range = row * pieces..<(row + 1) * pieces
    return RowStatistics(
      maxima: UnsafeBufferPointer(rebasing: maxima[range]), logSums: UnsafeBufferPointer(rebasing: logSums[range]),
      places: UnsafeBufferPointer(rebasing: places[range]))
  }
}
