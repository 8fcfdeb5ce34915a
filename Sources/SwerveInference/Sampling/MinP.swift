/// Keeps tokens at least `minP` times as likely as the most likely one.
enum MinP {
  /// The least logit kept, where `maximum` is the largest; −∞ when off.
  static func floor(_ minP: Float, maximum: Float) -> Float {
    minP > 0 ? Float(Double(maximum) + logarithm(Double(minP))) : -.infinity
  }
}
