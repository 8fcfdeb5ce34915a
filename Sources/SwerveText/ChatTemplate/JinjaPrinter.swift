/// Writes values as Python's `str` and `repr` do.
struct JinjaPrinter {
  private(set) var bytes: [UInt8] = []
  private var depth = 0
  /// Dictionaries whose keys are all strings are printed in the order of their keys.
  private var sortsMembers = false

  /// What `pprint` gives for a value that fits one line; longer ones are not broken into lines.
  static func pretty(_ value: JinjaValue) throws(TemplateError) -> JinjaText {
    var printer = JinjaPrinter()
    printer.sortsMembers = true
    try printer.write(value)
    return JinjaText(bytes: printer.bytes)
  }

  static func text(_ value: JinjaValue) throws(TemplateError) -> JinjaText {
    switch value {
    case .text(let text): return text
    case .undefined: return JinjaText(bytes: [])
    default:
      var printer = JinjaPrinter()
      try printer.write(value)
      return JinjaText(bytes: printer.bytes)
    }
  }

  static func representation(_ value: JinjaValue) throws(TemplateError) -> JinjaText {
    var printer = JinjaPrinter()
    try printer.write(value)
    return JinjaText(bytes: printer.bytes)
  }

  /// A string literal as Python prints it.
  static func quoted(_ text: JinjaText) -> JinjaText {
    var printer = JinjaPrinter()
    printer.quote(text)
    return JinjaText(bytes: printer.bytes)
  }

  mutating func append(_ string: String) { bytes.append(contentsOf: string.utf8) }

  /// The value's `repr`.
  mutating func write(_ value: JinjaValue) throws(TemplateError) {
    switch value {
    case .undefined: append("Undefined")
    case .none: append("None")
    case .bool(let flag): append(flag ? "True" : "False")
    case .int(let number): append(String(number))
    case .double(let number): append(PythonFloat.representation(number))
    case .text(let text):
      if text.isMarkup { append("Markup(") }
      quote(text)
      if text.isMarkup { append(")") }
    case .list(let list): try elements(list.items, open: "[", close: "]")
    case .tuple(let list): try elements(list.items, open: "(", close: list.items.count == 1 ? ",)" : ")")
    case .dict(let dict): try members(dict.members)
    case .object(let object):
      try descend()
      try object.write(to: &self)
      depth -= 1
    }
    try JinjaLimits.check(textBytes: bytes.count)
  }

  mutating func elements(_ items: [JinjaValue], open: String, close: String) throws(TemplateError) {
    try descend()
    append(open)
    for (place, item) in items.enumerated() {
      if place > 0 { append(", ") }
      try write(item)
    }
    append(close)
    depth -= 1
  }

  mutating func members(_ unsorted: [(JinjaValue, JinjaValue)]) throws(TemplateError) {
    try descend()
    var members = unsorted
    if sortsMembers {
      let named = unsorted.compactMap { member in
        if case .text(let key) = member.0 { (key, member) } else { nil }
      }
      if named.count == members.count {
        members = named.sorted { $0.0.bytes.lexicographicallyPrecedes($1.0.bytes) }.map(\.1)
      }
    }
    append("{")
    for (place, member) in members.enumerated() {
      if place > 0 { append(", ") }
      try write(member.0)
      append(": ")
      try write(member.1)
    }
    append("}")
    depth -= 1
  }

  // Namespaces can hold one another, so the depth of what they print is not bounded by construction.
  private mutating func descend() throws(TemplateError) {
    depth += 1
    if depth > JinjaLimits.containerDepth * 2 { throw .limit("a template value is nested too deeply to be printed") }
  }

  private mutating func quote(_ text: JinjaText) {
    let source = text.bytes
    let single = UInt8(ascii: "'")
    let double = UInt8(ascii: "\"")
    let quote = source.contains(single) && !source.contains(double) ? double : single
    bytes.append(quote)
    var place = 0
    while place < source.count {
      let byte = source[place]
      if byte < 0x80 {
        switch byte {
        case quote, UInt8(ascii: "\\"):
          bytes.append(UInt8(ascii: "\\"))
          bytes.append(byte)
        case 0x0A: append("\\n")
        case 0x0D: append("\\r")
        case 0x09: append("\\t")
        case 0..<0x20, 0x7F: append("\\x" + Self.hex(UInt32(byte), digits: 2))
        default: bytes.append(byte)
        }
        place += 1
        continue
      }
      let scalar = text.scalar(at: place)
      let width = JinjaText.width(of: byte)
      if scalar.isPythonPrintable {
        bytes += source[place..<min(place + width, source.count)]
      } else if scalar.value < 0x100 {
        append("\\x" + Self.hex(scalar.value, digits: 2))
      } else if scalar.value < 0x10000 {
        append("\\u" + Self.hex(scalar.value, digits: 4))
      } else {
        append("\\U" + Self.hex(scalar.value, digits: 8))
      }
      place += width
    }
    bytes.append(quote)
  }

  static func hex(_ value: UInt32, digits: Int) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
  }
}

extension Unicode.Scalar {
  /// Python's `str.isprintable` for one scalar.
  var isPythonPrintable: Bool {
    switch properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
    case .spaceSeparator: value == 0x20
    default: true
    }
  }
}
