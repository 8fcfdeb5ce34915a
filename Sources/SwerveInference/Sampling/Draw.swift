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

  /// From the whole row in token order: first the piece, then the token inside it.
  static func token(_ uniform: Double, of logits: LogitsRow, statistics: RowStatistics, maximum: Float) -> Int? {
    let total = statistics.totalMass(below: maximum)
    guard total.isFinite, total > 0 else { return nil }
    var left = uniform * total
    var lastPiece: Int?
    for piece in statistics.maxima.indices {
      let mass = statistics.mass(piece, below: maximum)
      guard mass > 0 else { continue }
      lastPiece = piece
      if left < mass { break }
      left -= mass
    }
    guard let lastPiece else { return nil }
    let first = lastPiece * RowStatistics.width
    let end = min(first + RowStatistics.width, logits.count)
    var chosen: Int?
    var sum = 0.0
    for token in first..<end where logits[token] > -.infinity {
      sum += exponential(Double(logits[token]) - Double(maximum))
      chosen = token
      if sum > left { break }
    }
    return chosen
  }
}
