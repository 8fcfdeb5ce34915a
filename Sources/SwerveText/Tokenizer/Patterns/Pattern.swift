/// What a normaliser replaces or a pre-tokenizer splits at: literal text, a well-known expression with a hand-written
/// scanner, or any other expression.
enum Pattern: Sendable {
  case literal([UInt8])
  case scanner(SplitScanner)
  case program(PatternProgram)

  init(literal: String) { self = .literal(Array(literal.utf8)) }

  /// Chooses the scanner that was written for exactly this expression, or compiles it.
  init(expression: String) throws(PatternError) {
    if let scanner = SplitScanner(expression: expression) {
      self = .scanner(scanner)
    } else {
      self = .program(try PatternProgram(PatternParser.parse(expression)))
    }
  }

  /// Calls `body` for each match from left to right. Matches do not overlap; an empty match directly behind another
  /// match is skipped. An empty literal matches nothing.
  func forEachMatch(in text: Bytes, _ body: (Range<Int>) -> Void) {
    switch self {
    case .literal(let literal):
      guard let first = literal.first else { return }
      var place = 0
      while place < text.count {
        if text[place] == first, text.starts(with: literal, at: place) {
          body(place..<place + literal.count)
          place += literal.count
        } else {
          place += 1
        }
      }
    case .scanner(let scanner):
      var place = 0
      while place < text.count {
        let end = scanner.end(of: text, from: place)
        body(place..<end)
        place = end
      }
    case .program(let program):
      var matcher = PatternMatcher(program: program, text: text)
      var place = 0
      var lastEnd = -1
      while place <= text.count, let match = matcher.firstMatch(from: place) {
        if match.isEmpty, match.lowerBound == lastEnd {
          guard place < text.count else { return }
          place += text.scalar(at: place).length
          continue
        }
        body(match)
        place = match.upperBound
        lastEnd = match.upperBound
      }
    }
  }

  func matches(in text: Bytes) -> [Range<Int>] {
    var matches: [Range<Int>] = []
    forEachMatch(in: text) { matches.append($0) }
    return matches
  }
}
