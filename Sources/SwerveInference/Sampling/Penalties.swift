import SwerveCore

/// Repetition (Keskar et al. 2019, arXiv 1909.05858: over prompt and generated tokens, divides positive logits and
/// multiplies negative ones), then frequency (times the count) and presence (once) over generated tokens.
struct Penalties {
  var repetition: Float
  var frequency: Float
  var presence: Float

  /// - Parameter drafted: generated tokens that `counts` does not contain; few.
  func apply(_ counts: TokenCounts, drafted: DraftedTokens, to logits: LogitsRow) {
    for entry in counts.entries where drafted.isEmpty || !drafted.contains(entry.token) {
      apply(entry.token, generated: entry.generated, to: logits)
    }
    for place in drafted.indices where !drafted[..<place].contains(drafted[place]) {
      let token = drafted[place]
      let again = drafted.reduce(into: Int32(0)) { $0 += $1 == token ? 1 : 0 }
      apply(token, generated: counts.generated(token) + again, to: logits)
    }
  }

  private func apply(_ token: TokenID, generated: Int32, to logits: LogitsRow) {
    let place = Int(token.rawValue)
    var value = logits[place]
    if repetition != 1 { value = value > 0 ? value / repetition : value * repetition }
    if generated > 0 { value -= frequency * Float(generated) + presence }
    logits[place] = value
  }
}
