/// WordPiece (Bert): the longest piece from the left, again and again; a word that cannot be covered is unknown.
struct WordPieceModel: Sendable {
  var vocabulary: Vocabulary
  var unknown: Int32?
  var continuingPrefix: [UInt8]
  /// Words with more characters are unknown without a look.
  var maximumCharacters: Int
  /// Bytes of the longest piece: no longer one is tried.
  var longestPiece: Int

  func encode(_ word: Bytes, into out: inout [Int32]) {
    let first = out.count
    var characters = 0
    for byte in word where byte & 0xC0 != 0x80 { characters += 1 }
    guard characters <= maximumCharacters else { return giveUp(first, &out) }
    var candidate: [UInt8] = []
    var start = 0
    while start < word.count {
      var end = min(word.count, start + longestPiece)
      var found: Int32 = -1
      if start > 0 {
        candidate.removeAll(keepingCapacity: true)
        candidate.append(contentsOf: continuingPrefix)
        candidate.append(contentsOf: word[start..<end])
      }
      while end > start {
        if end == word.count || word[end] & 0xC0 != 0x80 {
          found =
            start == 0
            ? vocabulary.id(of: word.slice(0, end))
            : candidate.withUnsafeBufferPointer { vocabulary.id(of: $0.slice(0, continuingPrefix.count + end - start)) }
          if found >= 0 { break }
        }
        end -= 1
      }
      guard found >= 0 else { return giveUp(first, &out) }
      out.append(found)
      start = end
    }
  }

  private func giveUp(_ first: Int, _ out: inout [Int32]) {
    out.removeSubrange(first...)
    if let unknown { out.append(unknown) }
  }
}

/// WordLevel: a word is one token or unknown.
struct WordLevelModel: Sendable {
  var vocabulary: Vocabulary
  var unknown: Int32?

  func encode(_ word: Bytes, into out: inout [Int32]) {
    let id = vocabulary.id(of: word)
    if id >= 0 { out.append(id) } else if let unknown { out.append(unknown) }
  }
}
