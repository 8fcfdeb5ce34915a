// Files: readers of the formats that tokenizers come in, and of the components they describe.
// This room must not tokenise. Start with Tokenizer+Files.

import SwerveCore

/// Walks a large JSON text without building values: a vocabulary of 150,000 pieces is read in place.
struct JSONScanner {
  private let bytes: UnsafeRawBufferPointer
  private(set) var position: Int
  /// A string with escapes is written out here.
  private var unescaped: [UInt8] = []
  private var lastRange = 0..<0
  private var lastHadEscapes = false

  init(_ bytes: UnsafeRawBufferPointer, at position: Int = 0) {
    self.bytes = bytes
    self.position = position
    if position == 0, bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF { self.position = 3 }
  }

  func error(_ reason: String) -> ComponentError {
    ComponentError(path: "", reason: "not JSON: \(reason) at byte \(position)")
  }

  private mutating func skipSpace() {
    while position < bytes.count, bytes[position] <= 0x20,
      bytes[position] == 0x20 || bytes[position] == 10 || bytes[position] == 13 || bytes[position] == 9
    { position += 1 }
  }

  /// Consumes `byte` if it comes next.
  mutating func take(_ byte: UInt8) -> Bool {
    skipSpace()
    guard position < bytes.count, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ byte: UInt8) throws(ComponentError) {
    guard take(byte) else { throw error("expected '\(Character(Unicode.Scalar(byte)))'") }
  }

  /// The next byte that is not white space, unconsumed; 0 at the end.
  mutating func peek() -> UInt8 {
    skipSpace()
    return position < bytes.count ? bytes[position] : 0
  }

  mutating func expectEnd() throws(ComponentError) {
    skipSpace()
    if position != bytes.count { throw error("unexpected text after the value") }
  }

  mutating func beginObject() throws(ComponentError) { try expect(UInt8(ascii: "{")) }
  mutating func beginArray() throws(ComponentError) { try expect(UInt8(ascii: "[")) }
  mutating func endArray() throws(ComponentError) { try expect(UInt8(ascii: "]")) }
  mutating func comma() throws(ComponentError) { try expect(UInt8(ascii: ",")) }

  /// Whether another member or element follows; consumes the comma before it or the closing `end`.
  mutating func next(isFirst: inout Bool, end: UInt8) throws(ComponentError) -> Bool {
    if take(end) { return false }
    if !isFirst { try expect(UInt8(ascii: ",")) }
    isFirst = false
    return true
  }

  /// Reads a string and hands its bytes to `body`; they are valid only there.
  mutating func string<Result>(_ body: (Bytes) -> Result) throws(ComponentError) -> Result {
    try expect(UInt8(ascii: "\""))
    let start = position
    while position < bytes.count {
      let byte = bytes[position]
      if byte == UInt8(ascii: "\"") {
        lastRange = start..<position
        lastHadEscapes = false
        position += 1
        return body(UnsafeRawBufferPointer(rebasing: bytes[lastRange]).bindMemory(to: UInt8.self))
      }
      if byte == UInt8(ascii: "\\") {
        position = start - 1
        unescaped = try escapedString()
        lastHadEscapes = true
        return unescaped.withUnsafeBufferPointer(body)
      }
      if byte < 0x20 { throw error("a control character inside a string must be escaped") }
      position += 1
    }
    throw error("the text ends inside a string")
  }

  /// The string that was read last.
  func lastString() -> [UInt8] { lastHadEscapes ? unescaped : Array(bytes[lastRange]) }

  mutating func key() throws(ComponentError) -> String {
    let key = try string { String(decoding: $0, as: UTF8.self) }
    try expect(UInt8(ascii: ":"))
    return key
  }

  mutating func colon() throws(ComponentError) { try expect(UInt8(ascii: ":")) }

  private mutating func escapedString() throws(ComponentError) -> [UInt8] {
    guard case .string(let text) = try value() else { throw error("expected a string") }
    return Array(text.utf8)
  }

  /// A whole number that is not negative.
  mutating func integer() throws(ComponentError) -> Int {
    skipSpace()
    var value = 0
    let start = position
    while position < bytes.count, bytes[position] >= 0x30, bytes[position] <= 0x39, position - start < 18 {
      value = value * 10 + Int(bytes[position] - 0x30)
      position += 1
    }
    guard position > start else { throw error("expected a whole number that is not negative") }
    return value
  }

  /// Parses the next value into a tree.
  mutating func value() throws(ComponentError) -> JSON {
    var parser = JSONParser(bytes: UnsafeRawBufferPointer(rebasing: bytes[position...]))
    let result: JSON
    do {
      result = try parser.parseValue()
    } catch {
      throw ComponentError(path: "", reason: "not JSON: \(error.reason) at byte \(error.offset + position)")
    }
    position += parser.position
    return result
  }

  /// Steps over the next value, looking only at brackets and quotes.
  mutating func skipValue() throws(ComponentError) {
    skipSpace()
    var depth = 0
    repeat {
      guard position < bytes.count else { throw error("the text ends inside a value") }
      switch bytes[position] {
      case UInt8(ascii: "\""):
        try skipString()
        continue
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        if depth < 0 { throw error("a closing bracket without its opening one") }
      default:
        if depth == 0 {
          _ = try value()
          return
        }
      }
      position += 1
    } while depth > 0
  }

  private mutating func skipString() throws(ComponentError) {
    position += 1
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      if byte == UInt8(ascii: "\"") { return }
      if byte == UInt8(ascii: "\\") { position += 1 }
    }
    throw error("the text ends inside a string")
  }
}
