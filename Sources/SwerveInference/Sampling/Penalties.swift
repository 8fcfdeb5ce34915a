import SwerveCore

/// Repetition (Keskar et al. 2019, arXiv 1909.05858: over prompt and generated tokens, divides positive logits and
/// multiplies negative ones), then frequency (times the count) and presence (once) over generated tokens.
enum Penalties {
  static func apply(
    _ counts: TokenCounts, repetition: Float, frequency: Float, presence: Float, to logits: LogitsRow
  ) {
    for entry in counts.entries {
      let place = Int(entry.token.rawValue)
      var value = logits[place]
      if repetition != 1 { value = value > 0 ? value / repetition : value * repetition }
      if entry.generated > 0 { value -= frequency * Float(entry.generated) + presence }
      logits[place] = value
    }
  }
}
