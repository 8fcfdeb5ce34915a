/// How often the token that followed the last time follows again, by how many tokens agree before it. Learned from every
/// token of a sequence that repeats something, whether it was drafted or not: watching costs nothing, so a sequence
/// whose guesses fail is not drafted for and still noticed when it begins to repeat itself.
struct Acceptance: Sendable {
  /// Lengths 1, 2–3, 4–7, 8–15, 16–31, 32 and more. The first guess of a new engine; the last two places are not used.
  private var shares = SIMD8<Float>(0.2, 0.3, 0.5, 0.7, 0.85, 0.95, 0, 0)

  private static func place(_ length: Int) -> Int { min(5, Int.bitWidth - 1 - max(1, length).leadingZeroBitCount) }

  /// Probability that the next token is the one after a match of `length` tokens, ≥ 1.
  func probability(length: Int) -> Float { shares[Self.place(length)] }

  /// - Parameter weight: of this observation against all before it.
  mutating func record(_ isRight: Bool, length: Int, weight: Float) {
    let place = Self.place(length)
    shares[place] += ((isRight ? 1 : 0) - shares[place]) * weight
  }
}
