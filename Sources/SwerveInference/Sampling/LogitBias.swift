import SwerveCore

/// A value added to a token's logit; −100 bans the token, as the wire format promises.
enum LogitBias {
  static func apply(_ bias: [SamplerSlot.BiasedToken], to logits: LogitsRow) {
    for entry in bias {
      let place = Int(entry.token.rawValue)
      if entry.value <= -100 { logits[place] = -.infinity } else { logits[place] += entry.value }
    }
  }
}
