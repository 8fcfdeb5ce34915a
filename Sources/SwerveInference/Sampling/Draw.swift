import SwerveHardware

/// Turns a uniform number into a token by walking a cumulative sum in a fixed order. Double precision, so that the walk
/// resolves every token of a large vocabulary.
enum Draw {
  /// From the first `count` candidates in their order.
  static func token(_ uniform: Double, of candidates: Candidates, count: Int, maximum: Float) -> Int? {
    guard count > 0 else { return nil }
    let target = uniform * candidates.mass(0..<count, maximum: maximum)
    var sum = 0.0
    for place in 0..<count {
      sum += candidates.mass(place..<place + 1, maximum: maximum)
      if sum > target { return candidates[place].token }
    }
    return candidates[count - 1].token
  }

  /// From the tokens before a bound in token order: first the piece, then the token inside it. `masses` holds each
  /// piece's mass, `total` in sum.
  static func token(
    _ uniform: Double, of row: RowScan, before bound: RowScan.Bound, masses: UnsafeMutableBufferPointer<Double>,
    total: Double, maximum: Float
  ) -> Int? {
    guard total.isFinite, total > 0 else { return nil }
    var left = uniform * total
    var lastPiece: Int?
    for piece in masses.indices where masses[piece] > 0 {
      lastPiece = piece
      if left < masses[piece] { break }
      left -= masses[piece]
    }
    guard let lastPiece else { return nil }
    return row.find(before: bound, shift: maximum, piece: lastPiece, left: left)
  }
}
