/// Hand-written scanners for the split expressions of the common byte-level tokenizers. Each answers exactly what its
/// expression matches (a property test holds them to the general matcher) in one or two look-ups a character.
struct SplitScanner: Sendable {
  enum Family: Sendable {
    /// A space belongs to the word, number or symbols after it; contractions are lower case.
    case gpt2
    /// Any character but a line break may lead a word; line breaks end a run of symbols; contractions ignore case.
    case cl100k
    /// Words are upper then lower case; the contraction belongs to its word.
    case cased
  }

  let family: Family
  /// Digits that stay together, for cl100k and cased.
  var digits = 1
  /// Words may hold marks, and symbols may not (Qwen 3.5).
  var wordsHoldMarks = false
  /// cased: whether a contraction may end a word.
  var hasContractions = true
  /// cased: whether `/` ends a run of symbols as line breaks do.
  var slashEndsSymbols = false

  init?(expression: String) {
    guard let known = Self.expressions.first(where: { $0.0 == expression }) else { return nil }
    self = known.1
  }

  private init(
    _ family: Family, digits: Int = 1, marks: Bool = false, contractions: Bool = true, slash: Bool = false
  ) {
    self.family = family
    self.digits = digits
    self.wordsHoldMarks = marks
    self.hasContractions = contractions
    self.slashEndsSymbols = slash
  }

  static let gpt2 = SplitScanner(.gpt2)

  static let gpt2Expression =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
  private static let suffix = #"(?i:'s|'t|'re|'ve|'m|'ll|'d)"#
  private static let spaces = #"|\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let casedHead = #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"#
  private static let casedTail = #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"#
  static let llama3Expression =
    suffix + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"# + spaces

  /// Every expression that has a scanner.
  static let expressions: [(String, SplitScanner)] = [
    (gpt2Expression, .gpt2),
    (#"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#, .gpt2),
    (llama3Expression, SplitScanner(.cl100k, digits: 3)),
    (
      suffix + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"# + spaces,
      SplitScanner(.cl100k, digits: 1)
    ),
    (
      suffix + #"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"# + spaces,
      SplitScanner(.cl100k, digits: 1, marks: true)
    ),
    (
      casedHead + "|" + casedTail + #"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*"# + spaces,
      SplitScanner(.cased, digits: 1, contractions: false, slash: true)
    ),
    (
      casedHead + suffix + "?|" + casedTail + suffix + "?" + #"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*"# + spaces,
      SplitScanner(.cased, digits: 3, slash: true)
    ),
  ]

  /// Where the match that begins at `start` ends (`start < text.count`). Matches cover the text: this is never `start`.
  @inline(__always)
  func end(of text: Bytes, from start: Int) -> Int {
    switch family {
    case .gpt2: gpt2End(text, start)
    case .cl100k: cl100kEnd(text, start)
    case .cased: casedEnd(text, start)
    }
  }

  // MARK: GPT-2

  @inline(__always)
  private func gpt2End(_ text: Bytes, _ start: Int) -> Int {
    let first = text[start]
    if first == 0x27, let end = contraction(text, start, ignoresCase: false) { return end }
    var place = start
    var kind = ScalarClass.at(text, place)
    if first == 0x20, start + 1 < text.count {
      let next = ScalarClass.at(text, start + 1)
      if !next.isSpace {
        place += 1
        kind = next
      }
    }
    if kind.isSpace { return spacesEnd(text, start, stopsAfterLineBreak: false) }
    let group = kind.bits & (ScalarClass.letter | ScalarClass.number)
    place += kind.length
    while place < text.count {
      let next = ScalarClass.at(text, place)
      if next.isSpace || next.bits & (ScalarClass.letter | ScalarClass.number) != group { break }
      place += next.length
    }
    return place
  }

  // MARK: cl100k, Llama 3, Qwen

  @inline(__always)
  private func cl100kEnd(_ text: Bytes, _ start: Int) -> Int {
    if text[start] == 0x27, let end = contraction(text, start, ignoresCase: true) { return end }
    let kind = ScalarClass.at(text, start)
    let wordBits = wordsHoldMarks ? ScalarClass.letter | ScalarClass.mark : ScalarClass.letter
    if kind.bits & ScalarClass.letter != 0 { return run(text, start + kind.length, of: wordBits) }
    if kind.bits & ScalarClass.number != 0 { return digitsEnd(text, start + kind.length) }
    let second = start + kind.length
    if kind.bits & ScalarClass.lineBreak == 0, second < text.count {
      let next = ScalarClass.at(text, second)
      if next.bits & wordBits != 0 { return run(text, second + next.length, of: wordBits) }
    }
    if kind.bits & wordBits != 0 { return second }
    let stops = ScalarClass.space | ScalarClass.number | wordBits
    if let end = symbolsEnd(text, start, kind, stops: stops, alsoSlash: false) { return end }
    return spacesEnd(text, start, stopsAfterLineBreak: true)
  }

  // MARK: Cased words: tekken, o200k

  @inline(__always)
  private func casedEnd(_ text: Bytes, _ start: Int) -> Int {
    let kind = ScalarClass.at(text, start)
    if kind.bits & ScalarClass.number != 0 { return digitsEnd(text, start + kind.length) }
    let isLetter = kind.bits & ScalarClass.letter != 0
    let mayLead = !isLetter && kind.bits & ScalarClass.lineBreak == 0
    let second = start + kind.length
    if isLetter || mayLead || kind.bits & ScalarClass.mark != 0 {
      if mayLead, let end = lowerWord(text, second) { return suffixEnd(text, end) }
      if let end = lowerWord(text, start) { return suffixEnd(text, end) }
      if mayLead, let end = upperWord(text, second) { return suffixEnd(text, end) }
      if let end = upperWord(text, start) { return suffixEnd(text, end) }
    }
    let stops = ScalarClass.space | ScalarClass.number | ScalarClass.letter
    if let end = symbolsEnd(text, start, kind, stops: stops, alsoSlash: slashEndsSymbols) { return end }
    return spacesEnd(text, start, stopsAfterLineBreak: true)
  }

  /// `[upper]*[lower]+` where both classes share caseless letters and marks: take upper greedily, then lower; where no
  /// lower follows, give back to the last character that can be lower.
  @inline(__always)
  private func lowerWord(_ text: Bytes, _ start: Int) -> Int? {
    var place = start
    var lastLowerEnd: Int?
    while place < text.count {
      let next = ScalarClass.at(text, place)
      if next.bits & ScalarClass.upper == 0 {
        if next.bits & ScalarClass.lower != 0 { return run(text, place + next.length, of: ScalarClass.lower) }
        break
      }
      place += next.length
      if next.bits & ScalarClass.lower != 0 { lastLowerEnd = place }
    }
    return lastLowerEnd
  }

  /// `[upper]+[lower]*`, asked only where `lowerWord` failed, so that no lower follows the run.
  @inline(__always)
  private func upperWord(_ text: Bytes, _ start: Int) -> Int? {
    let end = run(text, start, of: ScalarClass.upper)
    return end > start ? run(text, end, of: ScalarClass.lower) : nil
  }

  @inline(__always)
  private func suffixEnd(_ text: Bytes, _ end: Int) -> Int {
    guard hasContractions, end < text.count, text[end] == 0x27 else { return end }
    return contraction(text, end, ignoresCase: true) ?? end
  }

  // MARK: Shared pieces

  @inline(__always)
  private func run(_ text: Bytes, _ start: Int, of bits: UInt8) -> Int {
    var place = start
    while place < text.count {
      let next = ScalarClass.at(text, place)
      if next.bits & bits == 0 { break }
      place += next.length
    }
    return place
  }

  @inline(__always)
  private func digitsEnd(_ text: Bytes, _ second: Int) -> Int {
    var place = second
    var left = digits - 1
    while left > 0, place < text.count {
      let next = ScalarClass.at(text, place)
      if next.bits & ScalarClass.number == 0 { break }
      place += next.length
      left -= 1
    }
    return place
  }

  /// ` ?[^\s…]+[\r\n]*`; nil where no symbol is there.
  @inline(__always)
  private func symbolsEnd(
    _ text: Bytes, _ start: Int, _ kind: ScalarClass, stops: UInt8, alsoSlash: Bool
  ) -> Int? {
    var place = start
    if text[start] == 0x20 { place += 1 } else if kind.bits & stops != 0 { return nil }
    let first = place
    while place < text.count {
      let next = ScalarClass.at(text, place)
      if next.bits & stops != 0 { break }
      place += next.length
    }
    guard place > first else { return nil }
    while place < text.count, text[place] == 10 || text[place] == 13 || (alsoSlash && text[place] == 0x2F) {
      place += 1
    }
    return place
  }

  /// `\s*[\r\n]+|\s+(?!\S)|\s+`, without the first branch where `stopsAfterLineBreak` is false.
  @inline(__always)
  private func spacesEnd(_ text: Bytes, _ start: Int, stopsAfterLineBreak: Bool) -> Int {
    var place = start
    var last = start
    var afterBreak = -1
    while place < text.count {
      let next = ScalarClass.at(text, place)
      if !next.isSpace { break }
      last = place
      place += next.length
      if next.bits & ScalarClass.lineBreak != 0 { afterBreak = place }
    }
    if stopsAfterLineBreak, afterBreak > 0 { return afterBreak }
    if place == text.count || last == start { return max(place, start + 1) }
    return last
  }

  /// `'s 't 're 've 'm 'll 'd` at an apostrophe. Ignoring case, the long s counts as s.
  private func contraction(_ text: Bytes, _ start: Int, ignoresCase: Bool) -> Int? {
    guard start + 1 < text.count else { return nil }
    let fold: UInt8 = ignoresCase ? 0x20 : 0
    let first = text[start + 1]
    switch first | fold {
    case 0x73, 0x74, 0x6D, 0x64: return start + 2
    case 0xE5 where ignoresCase && first == 0xC5:
      return start + 2 < text.count && text[start + 2] == 0xBF ? start + 3 : nil
    case 0x72, 0x76:
      return start + 2 < text.count && text[start + 2] | fold == 0x65 ? start + 3 : nil
    case 0x6C: return start + 2 < text.count && text[start + 2] | fold == 0x6C ? start + 3 : nil
    default: return nil
    }
  }
}
