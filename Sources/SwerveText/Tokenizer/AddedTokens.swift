/// A token outside the model's algorithm: found in the text itself, before the model sees it.
package struct AddedToken: Sendable, Equatable {
  package var id: Int32
  package var content: String
  /// Only between characters that are not part of a word.
  package var isSingleWord = false
  /// Takes the white space before it with it, or behind it.
  package var stripsLeft = false
  package var stripsRight = false
  /// Looked for in the normalised text, in its normalised form.
  package var isNormalized = false
  /// Has a meaning for the model instead of a text; left out when special tokens are skipped.
  package var isSpecial = false
}

/// The added tokens of a tokenizer and the search for them. Longest match at the leftmost place.
struct AddedVocabulary: Sendable {
  private(set) var tokens: [AddedToken] = []
  private var byID: [Int32: Int] = [:]
  /// Keyed by bytes: strings count as equal when they only look the same, tokens do not.
  private var byContent: [[UInt8]: Int] = [:]
  /// Tokens found in the text as it is, and those found after normalising.
  private var raw = TokenFinder()
  private var normalized = TokenFinder()

  var hasNormalized: Bool { !normalized.isEmpty }

  init() {}

  /// Later tokens of the same content replace earlier ones.
  init(_ all: [AddedToken], normalizer: Normalizer?) {
    for token in all where !token.content.isEmpty {
      let content = Array(token.content.utf8)
      if let place = byContent[content] {
        byID[tokens[place].id] = nil
        tokens[place] = token
        byID[token.id] = place
      } else {
        byContent[content] = tokens.count
        byID[token.id] = tokens.count
        tokens.append(token)
      }
    }
    for (place, token) in tokens.enumerated() {
      var bytes = Array(token.content.utf8)
      if token.isNormalized {
        normalizer?.normalize(&bytes)
        normalized.add(bytes, place: place)
      } else {
        raw.add(bytes, place: place)
      }
    }
  }

  func token(id: Int32) -> AddedToken? { byID[id].map { tokens[$0] } }
  func token(content: String) -> AddedToken? { byContent[Array(content.utf8)].map { tokens[$0] } }

  /// A stretch of text, or the id of the token that took it.
  struct Segment {
    var range: Range<Int>
    var id: Int32?
  }

  /// Cuts `text` at the tokens that are found in it. `skipsSpecial`: special tokens are ordinary text.
  func segments(of text: Bytes, isNormalized: Bool, skipsSpecial: Bool) -> [Segment] {
    let finder = isNormalized ? normalized : raw
    if finder.isEmpty { return text.isEmpty ? [] : [Segment(range: 0..<text.count, id: nil)] }
    var segments: [Segment] = []
    var last = 0
    var place = 0
    while let match = finder.next(in: text, from: place) {
      place = match.range.upperBound
      let token = tokens[match.place]
      if token.isSpecial && skipsSpecial { continue }
      if token.isSingleWord, !standsAlone(match.range, in: text) { continue }
      var start = match.range.lowerBound
      var end = match.range.upperBound
      if token.stripsLeft { start = max(spacesStart(before: start, in: text), last) }
      if token.stripsRight { end = spacesEnd(from: end, in: text) }
      if last < start { segments.append(Segment(range: last..<start, id: nil)) }
      segments.append(Segment(range: min(start, end)..<end, id: token.id))
      last = end
    }
    if last < text.count { segments.append(Segment(range: last..<text.count, id: nil)) }
    return segments
  }

  private func standsAlone(_ range: Range<Int>, in text: Bytes) -> Bool {
    if range.lowerBound > 0, CharacterProperties(text.scalar(before: range.lowerBound)).has(.tokenWord) { return false }
    if range.upperBound < text.count, CharacterProperties(text.scalar(at: range.upperBound).value).has(.tokenWord) {
      return false
    }
    return true
  }

  private func spacesStart(before end: Int, in text: Bytes) -> Int {
    var place = end
    while place > 0, CharacterProperties(text.scalar(before: place)).has(.whitespace) {
      place = text.scalarStart(before: place)
    }
    return place
  }

  private func spacesEnd(from start: Int, in text: Bytes) -> Int {
    var place = start
    while place < text.count {
      let scalar = text.scalar(at: place)
      guard CharacterProperties(scalar.value).has(.whitespace) else { break }
      place += scalar.length
    }
    return place
  }
}

/// Finds added tokens: a look at the first byte decides most places.
private struct TokenFinder: Sendable {
  private var trie = PieceTrie()
  private var firstBytes = [Bool](repeating: false, count: 256)
  private(set) var isEmpty = true

  mutating func add(_ content: [UInt8], place: Int) {
    guard let first = content.first else { return }
    isEmpty = false
    firstBytes[Int(first)] = true
    content.withUnsafeBufferPointer { trie.add($0, value: Int32(place)) }
  }

  func next(in text: Bytes, from start: Int) -> (range: Range<Int>, place: Int)? {
    firstBytes.withUnsafeBufferPointer { firstBytes in
      var place = start
      while place < text.count {
        if firstBytes[Int(text[place])], let found = trie.longest(in: text, from: place) {
          return (place..<place + found.length, Int(found.value))
        }
        place &+= 1
      }
      return nil
    }
  }
}
