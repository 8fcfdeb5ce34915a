import SwerveCore

/// Only the listed tokens keep their logits.
enum AllowedTokens {
  /// `scratch` holds as many values as there are allowed tokens, at most the vocabulary.
  static func apply(_ allowed: [TokenID], to logits: LogitsRow, scratch: UnsafeMutableBufferPointer<Float>) {
    for (place, token) in allowed.enumerated() { scratch[place] = logits[Int(token.rawValue)] }
    logits.update(repeating: -.infinity)
    for (place, token) in allowed.enumerated() { logits[Int(token.rawValue)] = scratch[place] }
  }
}
