import SwerveCore

/// Bans the last token of a word whose other tokens were just generated. A word of one token is always banned. Only
/// generated tokens count: a word that the prompt began is not the model's.
enum BadWords {
  static func apply(_ words: [[TokenID]], generated: [TokenID], to logits: LogitsRow) {
    for word in words {
      guard let last = word.last, logits.indices.contains(Int(last.rawValue)) else { continue }
      if endsWith(generated, word) { logits[Int(last.rawValue)] = -.infinity }
    }
  }

  /// Whether `generated` ends with all of `word` but its last token.
  private static func endsWith(_ generated: [TokenID], _ word: [TokenID]) -> Bool {
    let length = word.count - 1
    guard generated.count >= length else { return false }
    let start = generated.count - length
    for place in 0..<length where generated[start + place] != word[place] { return false }
    return true
  }
}
