import SwerveHardware

/// Draws from a nucleus that is too large to be worth listing: draw from a set that contains it, and see whether the
/// drawn token belongs to it, that is whether the tokens before it in the exact order fall short of p. Where it does not,
/// neither do the tokens after it, so the next draw is from those before it alone. Each attempt is one pass over the row;
/// 1 / p of them are expected at most, and the token drawn in the end has its probability within the nucleus.
///
/// (Idea: sampling without sorting by rejection with a rising pivot, as in FlashInfer's kernels.)
struct Rejection {
  /// [2, pieces]: masses of the set drawn from, and of the next one.
  private let memory: UnsafeMutableBufferPointer<Double>

  /// Bytes one worker needs.
  static func byteCount(pieces: Int) -> Int { 2 * pieces * 8 }

  /// - Parameter memory: `byteCount` bytes, aligned to 8.
  init(memory: UnsafeMutableRawPointer, pieces: Int) {
    self.memory = UnsafeMutableBufferPointer(
      start: memory.bindMemory(to: Double.self, capacity: 2 * pieces), count: 2 * pieces)
  }

  /// Attempts before the most likely token is taken. Each fails with at most 1 − p of what the set has beyond the
  /// nucleus and shrinks it at random, so that no row comes near.
  private static let attempts: UInt32 = 256

  /// A token of those with a logit of at least `floor`, cut to the fewest most likely ones that have `p` of their mass
  /// together; nil where there is none.
  ///
  /// - Parameter uniform: the number of an attempt.
  func token(
    _ p: Float, of row: RowScan, statistics: RowStatistics, floor: Float, maximum: Float,
    uniform: (_ attempt: UInt32) -> Double
  ) -> Int? {
    let pieces = statistics.maxima.count
    var current = UnsafeMutableBufferPointer(rebasing: memory[..<pieces])
    var next = UnsafeMutableBufferPointer(rebasing: memory[pieces...])
    var bound = row.bound(below: floor)
    var total = 0.0
    if floor == -.infinity {
      for piece in 0..<pieces { current[piece] = statistics.mass(piece, below: maximum) }
      for mass in current { total += mass }
    } else if let start = current.baseAddress {
      total = row.masses(before: bound, shift: maximum, into: start)
    }
    let needed = Double(p) * total
    for attempt in 0..<Self.attempts {
      guard
        let token = Draw.token(
          uniform(attempt), of: row, before: bound, masses: current, total: total, maximum: maximum)
      else { return nil }
      if p >= 1 { return token }
      bound = row.bound(of: token)
      guard let start = next.baseAddress else { return nil }
      total = row.masses(before: bound, shift: maximum, into: start)
      // The token that reaches p is part of the nucleus; the first one always is.
      if total < needed || total == 0 { return token }
      swap(&current, &next)
    }
    return statistics.argmax
  }
}
