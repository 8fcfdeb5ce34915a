/// `"{...}".format(...)`: Python's replacement fields with the sandbox's attribute rules.
struct BraceFormat {
  let arguments: [JinjaValue]
  let named: JinjaDict
  /// Attribute and element look-up with the sandbox's rules.
  let attribute: (JinjaValue, JinjaText) throws(TemplateError) -> JinjaValue
  let element: (JinjaValue, JinjaValue) throws(TemplateError) -> JinjaValue

  private var automatic = 0
  private var numbering = Numbering.unknown
  private enum Numbering { case unknown, automatic, manual }

  init(
    arguments: [JinjaValue], named: JinjaDict,
    attribute: @escaping (JinjaValue, JinjaText) throws(TemplateError) -> JinjaValue,
    element: @escaping (JinjaValue, JinjaValue) throws(TemplateError) -> JinjaValue
  ) {
    self.arguments = arguments
    self.named = named
    self.attribute = attribute
    self.element = element
  }

  mutating func format(_ source: JinjaText, depth: Int = 2) throws(TemplateError) -> JinjaText {
    if depth < 0 { throw .valueError("Max string recursion exceeded") }
    let bytes = source.bytes
    var out: [UInt8] = []
    var place = 0
    while place < bytes.count {
      let byte = bytes[place]
      place += 1
      if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "}") {
        if place < bytes.count, bytes[place] == byte {
          out.append(byte)
          place += 1
          continue
        }
        if byte == UInt8(ascii: "}") { throw .valueError("Single '}' encountered in format string") }
        guard place < bytes.count else { throw .valueError("Single '{' encountered in format string") }
        let start = place
        var nesting = 1
        while place < bytes.count {
          if bytes[place] == UInt8(ascii: "{") { nesting += 1 }
          if bytes[place] == UInt8(ascii: "}") { nesting -= 1 }
          if nesting == 0 { break }
          place += 1
        }
        guard nesting == 0 else { throw .valueError("expected '}' before end of string") }
        let field = JinjaText(bytes[start..<place])
        place += 1
        out += try replace(field, isMarkup: source.isMarkup, depth: depth).bytes
        try JinjaLimits.check(textBytes: out.count)
      } else {
        out.append(byte)
      }
    }
    return JinjaText(bytes: out, isMarkup: source.isMarkup)
  }

  private mutating func replace(
    _ field: JinjaText, isMarkup: Bool, depth: Int
  ) throws(TemplateError) -> JinjaText {
    let bytes = field.bytes
    var end = 0
    var isInBrackets = false
    while end < bytes.count {
      let byte = bytes[end]
      if byte == UInt8(ascii: "[") { isInBrackets = true }
      if byte == UInt8(ascii: "]") { isInBrackets = false }
      if !isInBrackets, byte == UInt8(ascii: ":") || byte == UInt8(ascii: "!") { break }
      end += 1
    }
    var value = try look(up: bytes[..<end])
    var place = end
    if place < bytes.count, bytes[place] == UInt8(ascii: "!") {
      guard place + 1 < bytes.count else { throw .valueError("end of string while looking for conversion specifier") }
      switch bytes[place + 1] {
      case UInt8(ascii: "s"): value = .text(try JinjaPrinter.text(value))
      case UInt8(ascii: "r"), UInt8(ascii: "a"): value = .text(try JinjaPrinter.representation(value))
      default: throw .valueError("Unknown conversion specifier \(JinjaText(bytes[(place + 1)...]).string)")
      }
      place += 2
      if place < bytes.count, bytes[place] != UInt8(ascii: ":") {
        throw .valueError("expected ':' after conversion specifier")
      }
    }
    var specification = JinjaText(bytes: [])
    if place < bytes.count { specification = try format(JinjaText(bytes[(place + 1)...]), depth: depth - 1) }
    let text = try FormatSpecification(specification).apply(to: value)
    return isMarkup ? text.escaped : text
  }

  private mutating func look(up path: ArraySlice<UInt8>) throws(TemplateError) -> JinjaValue {
    let stops: [UInt8] = [UInt8(ascii: "."), UInt8(ascii: "[")]
    let first = JinjaText(path.prefix { !stops.contains($0) })
    var value: JinjaValue
    if first.isEmpty || first.bytes.allSatisfy({ (0x30...0x39).contains($0) }) {
      let wanted: Numbering = first.isEmpty ? .automatic : .manual
      if numbering != .unknown, numbering != wanted {
        throw .valueError(
          numbering == .automatic
            ? "cannot switch from automatic field numbering to manual field specification"
            : "cannot switch from manual field specification to automatic field numbering")
      }
      numbering = wanted
      let index = first.isEmpty ? automatic : Int(first.string) ?? Int.max
      if first.isEmpty { automatic += 1 }
      guard index < arguments.count else {
        throw TemplateError(
          kind: .python, type: "IndexError",
          message: "Replacement index \(index) out of range for positional args tuple")
      }
      value = arguments[index]
    } else {
      guard let found = named[first] else {
        throw TemplateError(kind: .python, type: "KeyError", message: JinjaPrinter.quoted(first).string)
      }
      value = found
    }
    var rest = path.dropFirst(first.bytes.count)
    while let mark = rest.first {
      rest = rest.dropFirst()
      if mark == UInt8(ascii: ".") {
        let name = rest.prefix { !stops.contains($0) }
        if name.isEmpty { throw .valueError("Empty attribute in format string") }
        value = try attribute(value, JinjaText(name))
        rest = rest.dropFirst(name.count)
      } else if mark == UInt8(ascii: "[") {
        let name = rest.prefix { $0 != UInt8(ascii: "]") }
        guard name.count < rest.count else { throw .valueError("Missing ']' in format string") }
        if name.isEmpty { throw .valueError("Empty attribute in format string") }
        let text = JinjaText(name)
        value = try element(value, Int(text.string).map { $0 >= 0 ? .int($0) : .text(text) } ?? .text(text))
        rest = rest.dropFirst(name.count + 1)
      } else {
        throw .valueError("Only '.' or '[' may follow ']' in format field specifier")
      }
    }
    return value
  }
}
