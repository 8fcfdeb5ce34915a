import SwerveCore

/// Bans the tokens that would end the sequence until it is long enough.
enum MinTokens {
  static func apply(_ terminators: [TokenID], to logits: LogitsRow) {
    for token in terminators where logits.indices.contains(Int(token.rawValue)) {
      logits[Int(token.rawValue)] = -.infinity
    }
  }
}
