/// One token of a template's source.
struct JinjaToken {
  enum Kind: Equatable {
    case data, name, string, integer, float
    case blockBegin, blockEnd, variableBegin, variableEnd
    case symbol(String)
    case end
    /// The source is wrong here; `failure` says how. Reported only when the parser comes this far.
    case failure
  }
  var kind: Kind
  var text = JinjaText(bytes: [])
  var line: Int
  var number = JinjaLiteral.none
  var failure: TemplateError?

  /// How messages name this token.
  var described: String { kind == .name ? text.string : Self.describe(kind) }

  static func describe(_ kind: Kind) -> String {
    switch kind {
    case .data: "template data / text"
    case .name: "name"
    case .string: "string"
    case .integer: "integer"
    case .float: "float"
    case .blockBegin: "begin of statement block"
    case .blockEnd: "end of statement block"
    case .variableBegin: "begin of print statement"
    case .variableEnd: "end of print statement"
    case .symbol(let symbol): symbol
    case .end, .failure: "end of template"
    }
  }
}

/// Splits a template into text and tags with `trim_blocks` and `lstrip_blocks` on, as the reference's lexer does.
struct JinjaLexer {
  private let source: JinjaText
  private let bytes: [UInt8]
  private var place = 0
  private var line = 1
  private var tokens: [JinjaToken] = []
  /// Whether the last thing read ended with a newline: decides if white space before a tag is the line's first.
  private var isLineStart = true

  /// All tokens, the last of kind `end` or `failure`.
  static func tokens(of template: String) -> [JinjaToken] {
    var lexer = JinjaLexer(template)
    do throws(TemplateError) {
      try lexer.run()
      lexer.tokens.append(JinjaToken(kind: .end, line: lexer.line))
    } catch {
      lexer.tokens.append(JinjaToken(kind: .failure, line: lexer.line, failure: error))
    }
    return lexer.tokens
  }

  private init(_ template: String) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(template.utf8.count)
    var wasReturn = false
    for byte in template.utf8 {
      if byte == 0x0D {
        bytes.append(0x0A)
      } else if byte != 0x0A || !wasReturn {
        bytes.append(byte)
      }
      wasReturn = byte == 0x0D
    }
    if bytes.last == 0x0A { bytes.removeLast() }
    self.bytes = bytes
    self.source = JinjaText(bytes: bytes)
  }

  private mutating func run() throws(TemplateError) {
    while place < bytes.count {
      guard let tag = nextTag() else {
        emitData(bytes[place...])
        count(place..<bytes.count)
        place = bytes.count
        return
      }
      let kind = bytes[tag + 1]
      let sign = tag + 2 < bytes.count && (bytes[tag + 2] == 0x2B || bytes[tag + 2] == 0x2D) ? bytes[tag + 2] : nil
      emitText(before: tag, sign: sign, isVariable: kind == UInt8(ascii: "{"))
      place = tag + (sign == nil ? 2 : 3)
      switch kind {
      case UInt8(ascii: "#"): try skipComment()
      case UInt8(ascii: "{"):
        tokens.append(JinjaToken(kind: .variableBegin, line: line))
        try readTag(isBlock: false)
      default:
        if let end = rawBegin(from: place) {
          count(place..<end)
          place = end
          try readRaw()
        } else {
          tokens.append(JinjaToken(kind: .blockBegin, line: line))
          try readTag(isBlock: true)
        }
      }
    }
  }

  private func nextTag() -> Int? {
    var at = place
    while at + 1 < bytes.count {
      if bytes[at] == UInt8(ascii: "{") {
        switch bytes[at + 1] {
        case UInt8(ascii: "%"), UInt8(ascii: "{"), UInt8(ascii: "#"): return at
        default: break
        }
      }
      at += 1
    }
    return nil
  }

  private mutating func count(_ range: Range<Int>) {
    for byte in bytes[range] where byte == 0x0A { line += 1 }
  }

  private mutating func emitData(_ slice: ArraySlice<UInt8>) {
    if !slice.isEmpty { tokens.append(JinjaToken(kind: .data, text: JinjaText(slice), line: line)) }
  }

  private mutating func emitText(before tag: Int, sign: UInt8?, isVariable: Bool) {
    var end = tag
    if sign == UInt8(ascii: "-") {
      let text = JinjaText(bytes[place..<tag])
      end = place + text.trimmedRange(left: false, right: true) { $0.isPythonSpace }.upperBound
    } else if sign == nil, !isVariable {
      let lineStart = bytes[place..<tag].lastIndex(of: 0x0A).map { $0 + 1 } ?? place
      if lineStart > place || isLineStart {
        let text = JinjaText(bytes[lineStart..<tag])
        if text.scalars.allSatisfy({ $0.isPythonSpace }) { end = lineStart }
      }
    }
    emitData(bytes[place..<end])
    count(place..<tag)
  }

  /// Skips white space from `at`, and answers where it ends.
  private func afterSpace(_ at: Int) -> Int {
    var at = at
    while at < bytes.count {
      let scalar = source.scalar(at: at)
      if !scalar.isPythonSpace { break }
      at += JinjaText.width(of: bytes[at])
    }
    return min(at, bytes.count)
  }

  private func has(_ text: StaticString, at: Int) -> Bool {
    let size = text.utf8CodeUnitCount
    guard at + size <= bytes.count else { return false }
    for offset in 0..<size where bytes[at + offset] != text.utf8Start[offset] { return false }
    return true
  }

  /// End of a tag that closes at `at`: past the white space a `-` removes, or past one newline.
  private func closing(_ close: StaticString, at: Int, trimsNewline: Bool) -> Int? {
    let first = at < bytes.count ? bytes[at] : 0
    if first == UInt8(ascii: "-"), has(close, at: at + 1) { return afterSpace(at + 3) }
    if first == UInt8(ascii: "+"), trimsNewline, has(close, at: at + 1) { return at + 3 }
    guard has(close, at: at) else { return nil }
    return trimsNewline && at + 2 < bytes.count && bytes[at + 2] == 0x0A ? at + 3 : at + 2
  }

  private mutating func moved(to end: Int) {
    count(place..<end)
    isLineStart = end > place && bytes[end - 1] == 0x0A
    place = end
  }

  private mutating func skipComment() throws(TemplateError) {
    if place == bytes.count { return }
    guard let close = source.find("#}", in: place..<bytes.count) else {
      throw .syntax("Missing end of comment tag", line: line)
    }
    let sign = close > place ? bytes[close - 1] : 0
    let start = sign == 0x2B || sign == 0x2D ? close - 1 : close
    moved(to: closing("#}", at: start, trimsNewline: true) ?? close + 2)
  }

  private func rawBegin(from at: Int) -> Int? {
    let name = afterSpace(at)
    guard has("raw", at: name) else { return nil }
    let close = afterSpace(name + 3)
    if has("-%}", at: close) { return afterSpace(close + 3) }
    return has("%}", at: close) ? close + 2 : nil
  }

  private mutating func readRaw() throws(TemplateError) {
    if place == bytes.count { return }
    isLineStart = bytes[place - 1] == 0x0A
    var from = place
    while let tag = source.find("{%", in: from..<bytes.count) {
      let sign = tag + 2 < bytes.count && (bytes[tag + 2] == 0x2B || bytes[tag + 2] == 0x2D) ? bytes[tag + 2] : nil
      let name = afterSpace(tag + (sign == nil ? 2 : 3))
      if has("endraw", at: name), let end = closing("%}", at: afterSpace(name + 6), trimsNewline: true) {
        emitText(before: tag, sign: sign, isVariable: false)
        place = tag
        moved(to: end)
        return
      }
      from = tag + 2
    }
    throw .syntax("Missing end of raw directive", line: line)
  }

  // MARK: Inside tags

  private mutating func readTag(isBlock: Bool) throws(TemplateError) {
    var open: [Character] = []
    while place < bytes.count {
      if open.isEmpty {
        let end = isBlock ? closing("%}", at: place, trimsNewline: true) : closing("}}", at: place, trimsNewline: false)
        if let end {
          tokens.append(JinjaToken(kind: isBlock ? .blockEnd : .variableEnd, line: line))
          moved(to: end)
          return
        }
      }
      let space = afterSpace(place)
      if space > place {
        moved(to: space)
        continue
      }
      if try readNumber() { continue }
      if try readName() { continue }
      if try readString() { continue }
      try readSymbol(&open)
    }
  }

  private mutating func emit(_ kind: JinjaToken.Kind, to end: Int, number: JinjaLiteral = .none) {
    tokens.append(JinjaToken(kind: kind, text: JinjaText(bytes[place..<end]), line: line, number: number))
    moved(to: end)
  }

  private func isDigit(_ at: Int) -> Bool { at < bytes.count && (0x30...0x39).contains(bytes[at]) }

  /// Past `(\d+_)*\d+` from `at`, or nil where no digit is.
  private func afterDigits(_ at: Int) -> Int? {
    guard isDigit(at) else { return nil }
    var at = at
    while isDigit(at) || (at < bytes.count && bytes[at] == UInt8(ascii: "_") && isDigit(at + 1)) { at += 1 }
    return at
  }

  private mutating func readNumber() throws(TemplateError) -> Bool {
    guard let whole = afterDigits(place) else { return false }
    if place == 0 || bytes[place - 1] != UInt8(ascii: ".") {
      var end = whole
      var isFloat = false
      if end < bytes.count, bytes[end] == UInt8(ascii: "."), let fraction = afterDigits(end + 1) {
        end = fraction
        isFloat = true
      }
      if end < bytes.count, bytes[end] | 0x20 == UInt8(ascii: "e") {
        let sign = end + 1 < bytes.count && (bytes[end + 1] == 0x2B || bytes[end + 1] == 0x2D) ? 1 : 0
        if let exponent = afterDigits(end + 1 + sign) {
          end = exponent
          isFloat = true
        }
      }
      if isFloat {
        guard let value = Double(plainDigits(place..<end)) else {
          throw .syntax("a number out of range", line: line)
        }
        emit(.float, to: end, number: .double(value))
        return true
      }
    }
    var end = whole
    var radix = 10
    var digits = place
    if bytes[place] == 0x30 {
      end = place + 1
      while isZero(end) { end += 1 }
      if place + 1 < bytes.count, let base = [0x78: 16, 0x6F: 8, 0x62: 2][Int(bytes[place + 1] | 0x20)] {
        var at = place + 2
        while at < bytes.count, bytes[at] == UInt8(ascii: "_") && isRadixDigit(at + 1, base) || isRadixDigit(at, base) {
          at += 1
        }
        if at > place + 2 {
          end = at
          radix = base
          digits = place + 2
        }
      }
    }
    guard let value = Int(plainDigits(digits..<end), radix: radix) else {
      throw .syntax("an integer of more than 64 bits", line: line)
    }
    emit(.integer, to: end, number: .int(value))
    return true
  }

  private func isZero(_ at: Int) -> Bool {
    at < bytes.count
      && (bytes[at] == 0x30 || bytes[at] == UInt8(ascii: "_") && at + 1 < bytes.count && bytes[at + 1] == 0x30)
  }

  private func isRadixDigit(_ at: Int, _ radix: Int) -> Bool {
    at < bytes.count && Character(Unicode.Scalar(bytes[at])).hexDigitValue.map { $0 < radix } ?? false
  }

  private func plainDigits(_ range: Range<Int>) -> String {
    String(decoding: bytes[range].filter { $0 != UInt8(ascii: "_") }, as: UTF8.self)
  }

  private mutating func readName() throws(TemplateError) -> Bool {
    var end = place
    while end < bytes.count {
      let byte = bytes[end]
      if byte < 0x80 {
        let isPart = byte == UInt8(ascii: "_") || (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20)
        if !isPart { break }
        end += 1
      } else {
        if !source.scalar(at: end).isIdentifierPart { break }
        end += JinjaText.width(of: byte)
      }
    }
    guard end > place else { return false }
    if !source.scalar(at: place).isIdentifierStart { throw .syntax("Invalid character in identifier", line: line) }
    emit(.name, to: end)
    return true
  }

  private mutating func readString() throws(TemplateError) -> Bool {
    let quote = bytes[place]
    guard quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else { return false }
    var end = place + 1
    while end < bytes.count, bytes[end] != quote { end += bytes[end] == UInt8(ascii: "\\") ? 2 : 1 }
    guard end < bytes.count else { return false }
    let text = try JinjaEscapes.decode(bytes[(place + 1)..<end], line: line)
    tokens.append(JinjaToken(kind: .string, text: text, line: line))
    moved(to: end + 1)
    return true
  }

  private static let pairs: [Character: Character] = ["(": ")", "[": "]", "{": "}"]

  private mutating func readSymbol(_ open: inout [Character]) throws(TemplateError) {
    for symbol in ["**", "//", "==", "!=", ">=", "<="] where Array(symbol.utf8) == Array(bytes[place...].prefix(2)) {
      emit(.symbol(symbol), to: place + 2)
      return
    }
    let byte = bytes[place]
    guard "+-/*%~[](){}><=.:|,;".utf8.contains(byte) else {
      let character = JinjaText([source.scalar(at: place)])
      throw .syntax(
        "unexpected char \(JinjaPrinter.quoted(character).string) at \(source.index(ofByte: place))", line: line)
    }
    let character = Character(Unicode.Scalar(byte))
    if let close = Self.pairs[character] {
      open.append(close)
    } else if ")]}".contains(character) {
      guard let expected = open.popLast() else { throw .syntax("unexpected '\(character)'", line: line) }
      if expected != character { throw .syntax("unexpected '\(character)', expected '\(expected)'", line: line) }
    }
    emit(.symbol(String(character)), to: place + 1)
  }
}
