import SwerveCore

/// Bans the last token of a word whose other tokens were just generated. A word of one token is always banned. Only
/// generated tokens count: a word that the prompt began is not the model's.
enum BadWords {
  /// - Parameter drafted: tokens that follow `generated`.
  static func apply(_ words: [[TokenID]], generated: [TokenID], drafted: DraftedTokens, to logits: LogitsRow) {
    for word in words {
      guard let last = word.last, logits.indices.contains(Int(last.rawValue)) else { continue }
      if endsWith(generated, drafted, word) { logits[Int(last.rawValue)] = -.infinity }
    }
  }

  /// Whether the tokens end with all of `word` but its last token.
  private static func endsWith(_ generated: [TokenID], _ drafted: DraftedTokens, _ word: [TokenID]) -> Bool {
    let length = word.count - 1
    let known = generated.count
    guard known + drafted.count >= length else { return false }
    let start = known + drafted.count - length
    for place in 0..<length {
      let token = start + place < known ? generated[start + place] : drafted[start + place - known]
      if token != word[place] { return false }
    }
    return true
  }
}
