/// Why a text is not JSON: one sentence and the byte it stumbled over.
public struct JSONError: Error, Equatable, CustomStringConvertible {
  public var reason: String
  /// Offset into the UTF-8 text.
  public var offset: Int

  public var description: String { "not JSON: \(reason) at byte \(offset)" }
}

extension JSON {
  /// Parses one JSON text (RFC 8259), allowing white space around it and nothing else.
  ///
  /// `NaN`, `Infinity` and `-Infinity` are accepted as numbers because Python's writer produces them in configuration
  /// files. Invalid UTF-8 is repaired with U+FFFD, and so is a lone surrogate escape. Nesting is limited to
  /// `maximumDepth`. Cost: one pass; a string without escapes is copied once.
  public init(parsing bytes: UnsafeRawBufferPointer, maximumDepth: Int = 256) throws(JSONError) {
    var parser = JSONParser(bytes: bytes, maximumDepth: maximumDepth)
    self = try parser.parseDocument()
  }

  public init(parsing bytes: [UInt8], maximumDepth: Int = 256) throws(JSONError) {
    let result = bytes.withUnsafeBytes { raw in
      Result { () throws(JSONError) -> JSON in try JSON(parsing: raw, maximumDepth: maximumDepth) }
    }
    self = try result.get()
  }

  public init(parsing text: String, maximumDepth: Int = 256) throws(JSONError) {
    try self.init(parsing: Array(text.utf8), maximumDepth: maximumDepth)
  }
}

/// A recursive-descent parser over bytes. `package` so that loaders of very large objects (vocabularies) can walk
/// members without building a tree: `beginObject`, `nextKey`, `parseValue`.
package struct JSONParser {
  let bytes: UnsafeRawBufferPointer
  package private(set) var position = 0
  private var depth = 0
  private let maximumDepth: Int

  package init(bytes: UnsafeRawBufferPointer, maximumDepth: Int = 256) {
    self.bytes = bytes
    self.maximumDepth = maximumDepth
    if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF { position = 3 }
  }

  package mutating func parseDocument() throws(JSONError) -> JSON {
    let value = try parseValue()
    try expectEnd()
    return value
  }

  package mutating func expectEnd() throws(JSONError) {
    skipSpace()
    if position != bytes.count { throw error("unexpected text after the value") }
  }

  package mutating func parseValue() throws(JSONError) -> JSON {
    skipSpace()
    guard position < bytes.count else { throw error("the text ends where a value was expected") }
    switch bytes[position] {
    case UInt8(ascii: "{"): return try parseObject()
    case UInt8(ascii: "["): return try parseArray()
    case UInt8(ascii: "\""): return .string(try parseString())
    case UInt8(ascii: "t"): return try parseWord("true", .bool(true))
    case UInt8(ascii: "f"): return try parseWord("false", .bool(false))
    case UInt8(ascii: "n"): return try parseWord("null", .null)
    case UInt8(ascii: "N"): return try parseWord("NaN", .double(.nan))
    case UInt8(ascii: "I"): return try parseWord("Infinity", .double(.infinity))
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try parseNumber()
    default: throw error("unexpected character")
    }
  }

  // MARK: Containers

  /// Consumes `{`. Follow with `nextKey` until it answers nil.
  package mutating func beginObject() throws(JSONError) {
    skipSpace()
    guard take(UInt8(ascii: "{")) else { throw error("expected an object") }
    try descend()
  }

  /// The next member's key with its colon consumed, or nil when the object has ended.
  package mutating func nextKey(isFirst: inout Bool) throws(JSONError) -> String? {
    skipSpace()
    if take(UInt8(ascii: "}")) {
      depth -= 1
      return nil
    }
    if !isFirst {
      guard take(UInt8(ascii: ",")) else { throw error("expected ',' or '}'") }
      skipSpace()
    }
    isFirst = false
    guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else { throw error("expected a key in quotes") }
    let key = try parseString()
    skipSpace()
    guard take(UInt8(ascii: ":")) else { throw error("expected ':'") }
    return key
  }

  /// Consumes `[`. Follow with `nextElement` until it answers false.
  package mutating func beginArray() throws(JSONError) {
    skipSpace()
    guard take(UInt8(ascii: "[")) else { throw error("expected a list") }
    try descend()
  }

  /// Whether another element follows; consumes the comma before it, or the closing bracket.
  package mutating func nextElement(isFirst: inout Bool) throws(JSONError) -> Bool {
    skipSpace()
    if take(UInt8(ascii: "]")) {
      depth -= 1
      return false
    }
    if !isFirst {
      guard take(UInt8(ascii: ",")) else { throw error("expected ',' or ']'") }
    }
    isFirst = false
    return true
  }

  private mutating func parseObject() throws(JSONError) -> JSON {
    try beginObject()
    var object = JSONObject()
    var isFirst = true
    while let key = try nextKey(isFirst: &isFirst) { object[key] = try parseValue() }
    return .object(object)
  }

  private mutating func parseArray() throws(JSONError) -> JSON {
    try beginArray()
    var items: [JSON] = []
    var isFirst = true
    while try nextElement(isFirst: &isFirst) { items.append(try parseValue()) }
    return .array(items)
  }

  // MARK: Scalars

  package mutating func parseString() throws(JSONError) -> String {
    skipSpace()
    guard take(UInt8(ascii: "\"")) else { throw error("expected a string") }
    let start = position
    while position < bytes.count {
      let byte = bytes[position]
      if byte == UInt8(ascii: "\"") {
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        position += 1
        return text
      }
      if byte == UInt8(ascii: "\\") { return try parseEscapedString(from: start) }
      if byte < 0x20 { throw error("a control character inside a string must be escaped") }
      position += 1
    }
    throw error("the text ends inside a string")
  }

  private mutating func parseEscapedString(from start: Int) throws(JSONError) -> String {
    var out = [UInt8](bytes[start..<position])
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: out, as: UTF8.self)
      case UInt8(ascii: "\\"): try parseEscape(into: &out)
      case 0..<0x20: throw error("a control character inside a string must be escaped")
      default: out.append(byte)
      }
    }
    throw error("the text ends inside a string")
  }

  private mutating func parseEscape(into out: inout [UInt8]) throws(JSONError) {
    guard position < bytes.count else { throw error("the text ends inside a string") }
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(byte)
    case UInt8(ascii: "b"): out.append(0x08)
    case UInt8(ascii: "f"): out.append(0x0C)
    case UInt8(ascii: "n"): out.append(0x0A)
    case UInt8(ascii: "r"): out.append(0x0D)
    case UInt8(ascii: "t"): out.append(0x09)
    case UInt8(ascii: "u"):
      var unit = try parseHex()
      if (0xD800..<0xDC00).contains(unit), position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
        bytes[position + 1] == UInt8(ascii: "u")
      {
        let mark = position
        position += 2
        let low = try parseHex()
        if (0xDC00..<0xE000).contains(low) {
          unit = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
        } else {
          position = mark
        }
      }
      let scalar = Unicode.Scalar(unit) ?? "\u{FFFD}"
      out.append(contentsOf: UTF8.encode(scalar)!)
    default: throw error("unknown escape")
    }
  }

  private mutating func parseHex() throws(JSONError) -> UInt32 {
    guard position + 4 <= bytes.count else { throw error("the text ends inside an escape") }
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = Self.hexDigit(bytes[position]) else { throw error("\\u wants four hexadecimal digits") }
      value = value << 4 | digit
      position += 1
    }
    return value
  }

  private static func hexDigit(_ byte: UInt8) -> UInt32? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
  }

  private mutating func parseNumber() throws(JSONError) -> JSON {
    let start = position
    let isNegative = take(UInt8(ascii: "-"))
    if isNegative, position < bytes.count, bytes[position] == UInt8(ascii: "I") {
      return try parseWord("Infinity", .double(-.infinity))
    }
    let whole = position
    takeDigits()
    guard position > whole else { throw error("expected a digit") }
    if bytes[whole] == UInt8(ascii: "0"), position > whole + 1 { throw error("a number must not begin with 0") }
    var isInteger = true
    if take(UInt8(ascii: ".")) {
      isInteger = false
      let fraction = position
      takeDigits()
      guard position > fraction else { throw error("expected a digit after '.'") }
    }
    if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
      isInteger = false
      position += 1
      if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
      let exponent = position
      takeDigits()
      guard position > exponent else { throw error("expected a digit in the exponent") }
    }
    if isInteger, position - whole <= 18 {
      var value = 0
      for place in whole..<position { value = value * 10 + Int(bytes[place] - UInt8(ascii: "0")) }
      return .int(isNegative ? -value : value)
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isInteger, let value = Int(text) { return .int(value) }
    guard let value = Double(text) else { throw error("a number out of range") }
    return .double(value)
  }

  private mutating func takeDigits() {
    while position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) { position += 1 }
  }

  private mutating func parseWord(_ word: StaticString, _ value: JSON) throws(JSONError) -> JSON {
    let length = word.utf8CodeUnitCount
    guard position + length <= bytes.count else { throw error("the text ends inside a word") }
    for place in 0..<length where bytes[position + place] != word.utf8Start[place] { throw error("unknown word") }
    position += length
    return value
  }

  // MARK: Characters

  private mutating func skipSpace() {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x0A, 0x0D, 0x09: position += 1
      default: return
      }
    }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard position < bytes.count, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  private mutating func descend() throws(JSONError) {
    depth += 1
    if depth > maximumDepth { throw error("nested deeper than \(maximumDepth) levels") }
  }

  private func error(_ reason: String) -> JSONError { JSONError(reason: reason, offset: position) }
}
