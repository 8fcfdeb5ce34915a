/// The part of a replacement field after the colon: `[[fill]align][sign][#][0][width][,_][.precision][type]`.
struct FormatSpecification {
  private var fill: Unicode.Scalar = " "
  private var alignment: Character?
  private var sign: Character = "-"
  private var isAlternate = false
  private var width = 0
  private var grouping: Character?
  private var precision: Int?
  private var type: Character?
  private let source: String

  init(_ text: JinjaText) throws(TemplateError) {
    source = text.string
    let scalars = text.scalars
    var place = 0
    func character(_ index: Int) -> Character? { index < scalars.count ? Character(scalars[index]) : nil }
    func isAlignment(_ character: Character?) -> Bool { character.map { "<>=^".contains($0) } ?? false }
    if isAlignment(character(1)) {
      fill = scalars[0]
      alignment = character(1)
      place = 2
    } else if isAlignment(character(0)) {
      alignment = character(0)
      place = 1
    }
    if let mark = character(place), "+- ".contains(mark) {
      sign = mark
      place += 1
    }
    if character(place) == "#" {
      isAlternate = true
      place += 1
    }
    if character(place) == "0" {
      if alignment == nil {
        fill = "0"
        alignment = "="
      }
      place += 1
    }
    width = try Self.number(scalars, &place) ?? 0
    if let mark = character(place), mark == "," || mark == "_" {
      grouping = mark
      place += 1
    }
    if character(place) == "." {
      place += 1
      guard let digits = try Self.number(scalars, &place) else {
        throw .valueError("Format specifier missing precision")
      }
      precision = digits
    }
    if place < scalars.count {
      type = character(place)
      place += 1
    }
    if place < scalars.count { throw .valueError("Invalid format specifier '\(source)'") }
  }

  private static func number(_ scalars: [Unicode.Scalar], _ place: inout Int) throws(TemplateError) -> Int? {
    var value: Int?
    while place < scalars.count, (0x30...0x39).contains(scalars[place].value) {
      value = (value ?? 0) * 10 + Int(scalars[place].value - 0x30)
      try JinjaLimits.check(textBytes: value ?? 0)
      place += 1
    }
    return value
  }

  func apply(to value: JinjaValue) throws(TemplateError) -> JinjaText {
    switch value {
    case .text(let text): return try string(text)
    case .int(let number):
      return try type.map { "eEfFgG%".contains($0) } == true ? float(Double(number)) : integer(number)
    case .bool(let flag):
      if source.isEmpty { return try JinjaPrinter.text(value) }
      return try type.map { "eEfFgG%".contains($0) } == true ? float(flag ? 1 : 0) : integer(flag ? 1 : 0)
    case .double(let number): return try float(number)
    default:
      if !source.isEmpty {
        throw .typeError("unsupported format string passed to \(value.typeName).__format__")
      }
      return try JinjaPrinter.text(value)
    }
  }

  private func string(_ text: JinjaText) throws(TemplateError) -> JinjaText {
    if let type, type != "s" { throw .valueError("Unknown format code '\(type)' for object of type 'str'") }
    if alignment == "=", fill != "0" { throw .valueError("'=' alignment not allowed in string format specifier") }
    let cut = precision.map { JinjaText(text.bytes[..<text.offset(of: $0)]) } ?? text
    return pad(sign: "", cut.bytes, natural: "<")
  }

  private func integer(_ number: Int) throws(TemplateError) -> JinjaText {
    if precision != nil { throw .valueError("Precision not allowed in integer format specifier") }
    let digits: String
    var prefix = ""
    switch type {
    case nil, "d", "n": digits = String(number.magnitude)
    case "b": (digits, prefix) = (String(number.magnitude, radix: 2), "0b")
    case "o": (digits, prefix) = (String(number.magnitude, radix: 8), "0o")
    case "x": (digits, prefix) = (String(number.magnitude, radix: 16), "0x")
    case "X": (digits, prefix) = (String(number.magnitude, radix: 16, uppercase: true), "0X")
    case "c":
      guard let small = UInt32(exactly: number), let scalar = Unicode.Scalar(small) else {
        throw .overflow("%c arg not in range(0x110000)")
      }
      return pad(sign: "", Array(String(Character(scalar)).utf8), natural: "<")
    default: throw .valueError("Unknown format code '\(type ?? " ")' for object of type 'int'")
    }
    let size = type == nil || type == "d" || type == "n" ? 3 : 4
    return pad(
      sign: signText(isNegative: number < 0) + (isAlternate ? prefix : ""), Array(grouped(digits, size).utf8),
      natural: ">")
  }

  private func float(_ number: Double) throws(TemplateError) -> JinjaText {
    let magnitude = number.magnitude
    var digits: String
    switch type {
    case nil:
      if let precision {
        digits = PythonFloat.printed(magnitude, conversion: "g", precision: max(1, precision))
        if !digits.contains("."), !digits.contains("e"), magnitude.isFinite { digits += ".0" }
      } else {
        digits = PythonFloat.representation(magnitude)
      }
    case "e", "E", "f", "F", "g", "G":
      digits = PythonFloat.printed(
        magnitude, conversion: type ?? "g", precision: precision ?? 6, isAlternate: isAlternate)
    case "n": digits = PythonFloat.printed(magnitude, conversion: "g", precision: precision ?? 6)
    case "%": digits = PythonFloat.printed(magnitude * 100, conversion: "f", precision: precision ?? 6) + "%"
    default: throw .valueError("Unknown format code '\(type ?? " ")' for object of type 'float'")
    }
    let whole = digits.prefix { $0.isNumber }
    let text = grouped(String(whole), 3) + digits.dropFirst(whole.count)
    return pad(sign: signText(isNegative: number.sign == .minus && !number.isNaN), Array(text.utf8), natural: ">")
  }

  private func signText(isNegative: Bool) -> String { isNegative ? "-" : sign == "-" ? "" : String(sign) }

  private func grouped(_ digits: String, _ size: Int) -> String {
    guard let grouping, digits.count > size else { return digits }
    var out = ""
    for (place, digit) in digits.enumerated() {
      if place > 0, (digits.count - place) % size == 0 { out.append(grouping) }
      out.append(digit)
    }
    return out
  }

  private func pad(sign: String, _ body: [UInt8], natural: Character) -> JinjaText {
    let missing = max(0, width - sign.utf8.count - JinjaText(bytes: body).count)
    let filler = Array(String(Character(fill)).utf8)
    func run(_ count: Int) -> [UInt8] { Array(repeatElement(filler, count: count).joined()) }
    let head = Array(sign.utf8)
    switch alignment ?? natural {
    case "<": return JinjaText(bytes: head + body + run(missing))
    case "=": return JinjaText(bytes: head + run(missing) + body)
    case "^": return JinjaText(bytes: run(missing / 2) + head + body + run(missing - missing / 2))
    default: return JinjaText(bytes: run(missing) + head + body)
    }
  }
}
