// The `tojson` filter: Python's `json.dumps` without escaping for HTML.
extension JinjaRenderer {
  func toJSON(_ value: JinjaValue, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaValue {
    let values = try arguments.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])
    var writer = JSONDumper()
    writer.isASCII = values[0]?.isTrue ?? false
    switch values[1] {
    case nil, JinjaValue.none?: break
    case .text(let text)?: writer.indent = text.bytes
    case let width?:
      guard let count = width.asInt else { throw .typeError("tojson indent must be an integer or a string") }
      try JinjaLimits.check(textBytes: count)
      writer.indent = [UInt8](repeating: 0x20, count: max(0, count))
    }
    if writer.indent != nil { writer.itemSeparator = [UInt8(ascii: ",")] }
    if let separators = values[2], !separators.isNone {
      let pair = try separators.elements()
      guard pair.count == 2 else { throw .valueError("separators must be an (item, key) pair") }
      writer.itemSeparator = try text(pair[0], "item separator").bytes
      writer.keySeparator = try text(pair[1], "key separator").bytes
    }
    writer.sortsKeys = values[3]?.isTrue ?? false
    try writer.write(value, level: 0)
    return .text(JinjaText(bytes: writer.out))
  }
}

/// Writes values as `json.dumps` does.
struct JSONDumper {
  var out: [UInt8] = []
  var isASCII = false
  var indent: [UInt8]?
  var itemSeparator: [UInt8] = Array(", ".utf8)
  var keySeparator: [UInt8] = Array(": ".utf8)
  var sortsKeys = false

  mutating func write(_ value: JinjaValue, level: Int) throws(TemplateError) {
    try JinjaLimits.check(textBytes: out.count)
    switch value {
    case .none: out.append(text: "null")
    case .bool(let flag): out.append(text: flag ? "true" : "false")
    case .int(let number): out.append(text: String(number))
    case .double(let number): out.append(text: Self.spelled(number))
    case .text(let text): write(text)
    case .list(let list), .tuple(let list):
      if list.items.isEmpty { return out.append(text: "[]") }
      out.append(UInt8(ascii: "["))
      for (place, item) in list.items.enumerated() {
        separate(place, level + 1)
        try write(item, level: level + 1)
      }
      breakLine(level)
      out.append(UInt8(ascii: "]"))
    case .dict(let dict): try write(dict, level: level)
    case .undefined, .object:
      throw .typeError("Object of type \(value.typeName) is not JSON serializable")
    }
  }

  private mutating func write(_ dict: JinjaDict, level: Int) throws(TemplateError) {
    if dict.count == 0 { return out.append(text: "{}") }
    var members = dict.members
    if sortsKeys {
      let order = (0..<members.count).map { JinjaValue.int($0) }
      let sorted = try order.sorted(by: dict.keys, isReversed: false)
      members = sorted.compactMap { $0.asInt.map { members[$0] } }
    }
    out.append(UInt8(ascii: "{"))
    for (place, member) in members.enumerated() {
      separate(place, level + 1)
      switch member.0 {
      case .text(let text): write(text)
      case .bool(let flag): write(flag ? "true" : "false")
      case .none: write("null")
      case .int(let number): write(JinjaText(String(number)))
      case .double(let number): write(JinjaText(Self.spelled(number)))
      default:
        throw .typeError("keys must be str, int, float, bool or None, not \(member.0.typeName)")
      }
      out += keySeparator
      try write(member.1, level: level + 1)
    }
    breakLine(level)
    out.append(UInt8(ascii: "}"))
  }

  private mutating func separate(_ place: Int, _ level: Int) {
    if place > 0 { out += itemSeparator }
    breakLine(level)
  }

  private mutating func breakLine(_ level: Int) {
    guard let indent else { return }
    out.append(0x0A)
    for _ in 0..<level { out += indent }
  }

  /// A string literal in ASCII: no reader takes any of its characters for a line break.
  static func asciiLiteral(_ text: String) -> [UInt8] {
    var dumper = JSONDumper()
    dumper.isASCII = true
    dumper.write(JinjaText(text))
    return dumper.out
  }

  private static func spelled(_ number: Double) -> String {
    if number.isNaN { return "NaN" }
    if number.isInfinite { return number < 0 ? "-Infinity" : "Infinity" }
    return PythonFloat.representation(number)
  }

  private mutating func write(_ text: JinjaText) {
    out.append(UInt8(ascii: "\""))
    if isASCII {
      for scalar in text.scalars {
        if (0x20..<0x7F).contains(scalar.value) || scalar.value < 0x20 {
          write(byte: UInt8(scalar.value))
        } else {
          for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter {
            out.append(text: "\\u" + JinjaPrinter.hex(UInt32(unit), digits: 4))
          }
        }
      }
    } else {
      for byte in text.bytes { write(byte: byte) }
    }
    out.append(UInt8(ascii: "\""))
  }

  private mutating func write(byte: UInt8) {
    switch byte {
    case UInt8(ascii: "\""): out.append(text: "\\\"")
    case UInt8(ascii: "\\"): out.append(text: "\\\\")
    case 0x0A: out.append(text: "\\n")
    case 0x0D: out.append(text: "\\r")
    case 0x09: out.append(text: "\\t")
    case 0x0C: out.append(text: "\\f")
    case 0x08: out.append(text: "\\b")
    case 0..<0x20: out.append(text: "\\u" + JinjaPrinter.hex(UInt32(byte), digits: 4))
    default: out.append(byte)
    }
  }
}
