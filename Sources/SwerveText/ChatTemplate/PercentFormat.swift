/// `"..." % values` and the `format` filter: Python's printf-style formatting.
enum PercentFormat {
  static func apply(_ format: JinjaText, _ arguments: JinjaValue) throws(TemplateError) -> JinjaText {
    var state = State(format: format, arguments: arguments)
    return try state.run()
  }

  private struct Conversion {
    var isLeft = false, isSigned = false, isSpaced = false, isZeroed = false, isAlternate = false
    var width = 0
    var precision: Int?
  }

  private struct State {
    let format: JinjaText
    let arguments: JinjaValue
    var out: [UInt8] = []
    var place = 0
    var used = 0

    init(format: JinjaText, arguments: JinjaValue) {
      self.format = format
      self.arguments = arguments
    }

    private var current: UInt8? { place < format.bytes.count ? format.bytes[place] : nil }

    private mutating func nextArgument() throws(TemplateError) -> JinjaValue {
      if case .tuple(let list) = arguments {
        guard used < list.items.count else { throw .typeError("not enough arguments for format string") }
        used += 1
        return list.items[used - 1]
      }
      guard used == 0 else { throw .typeError("not enough arguments for format string") }
      used = 1
      return arguments
    }

    mutating func run() throws(TemplateError) -> JinjaText {
      var usesNames = false
      while let byte = current {
        place += 1
        guard byte == UInt8(ascii: "%") else {
          out.append(byte)
          continue
        }
        var named: JinjaValue?
        if current == UInt8(ascii: "(") {
          guard let end = format.find(")", in: place..<format.bytes.count) else {
            throw .valueError("incomplete format key")
          }
          let key = JinjaText(format.bytes[(place + 1)..<end])
          guard case .dict(let dict) = arguments else { throw .typeError("format requires a mapping") }
          guard let value = dict[key] else {
            throw TemplateError(kind: .python, type: "KeyError", message: JinjaPrinter.quoted(key).string)
          }
          named = value
          usesNames = true
          place = end + 1
        }
        var conversion = Conversion()
        flags: while let flag = current {
          switch flag {
          case UInt8(ascii: "-"): conversion.isLeft = true
          case UInt8(ascii: "+"): conversion.isSigned = true
          case UInt8(ascii: " "): conversion.isSpaced = true
          case UInt8(ascii: "0"): conversion.isZeroed = true
          case UInt8(ascii: "#"): conversion.isAlternate = true
          default: break flags
          }
          place += 1
        }
        conversion.width = try number()
        if conversion.width < 0 {
          conversion.isLeft = true
          conversion.width = -conversion.width
        }
        if current == UInt8(ascii: ".") {
          place += 1
          conversion.precision = max(0, try number())
        }
        while let modifier = current, "hlL".utf8.contains(modifier) { place += 1 }
        guard let letter = current else { throw .valueError("incomplete format") }
        place += 1
        if letter == UInt8(ascii: "%") {
          out.append(letter)
          continue
        }
        let value: JinjaValue
        if let named { value = named } else { value = try nextArgument() }
        try write(value, letter, conversion)
        try JinjaLimits.check(textBytes: out.count)
      }
      if case .tuple(let list) = arguments, used < list.items.count, !usesNames {
        throw .typeError("not all arguments converted during string formatting")
      }
      if used == 0, !usesNames {
        switch arguments {
        case .tuple, .dict, .list, .undefined: break
        default: throw .typeError("not all arguments converted during string formatting")
        }
      }
      return JinjaText(bytes: out, isMarkup: format.isMarkup)
    }

    private mutating func number() throws(TemplateError) -> Int {
      if current == UInt8(ascii: "*") {
        place += 1
        guard let width = try nextArgument().asInt else { throw .typeError("* wants int") }
        try JinjaLimits.check(textBytes: width == Int.min ? Int.max : Swift.abs(width))
        return width
      }
      var value = 0
      while let digit = current, (0x30...0x39).contains(digit) {
        value = value * 10 + Int(digit - 0x30)
        try JinjaLimits.check(textBytes: value)
        place += 1
      }
      return value
    }

    private mutating func write(
      _ value: JinjaValue, _ letter: UInt8, _ conversion: Conversion
    ) throws(TemplateError) {
      let kind = Character(Unicode.Scalar(letter))
      switch kind {
      case "s", "r", "a":
        var text = try kind == "s" ? JinjaPrinter.text(value) : JinjaPrinter.representation(value)
        if format.isMarkup { text = text.escaped }
        if let precision = conversion.precision { text = JinjaText(text.bytes[..<text.offset(of: precision)]) }
        pad(text.bytes, sign: "", conversion, allowsZero: false)
      case "c":
        if case .text(let text) = value, text.count == 1 {
          pad(text.bytes, sign: "", conversion, allowsZero: false)
        } else if let code = value.asInt, let small = UInt32(exactly: code), let scalar = Unicode.Scalar(small) {
          pad(Array(String(Character(scalar)).utf8), sign: "", conversion, allowsZero: false)
        } else {
          throw .typeError("%c requires int or char")
        }
      case "d", "i", "u", "x", "X", "o": try writeInteger(value, kind, conversion)
      case "e", "E", "f", "F", "g", "G":
        guard let number = value.asDouble else {
          if case .undefined(let undefined) = value { throw undefined.error }
          throw .typeError("must be real number, not \(value.typeName)")
        }
        let digits = PythonFloat.printed(
          number.magnitude, conversion: kind, precision: conversion.precision ?? 6, isAlternate: conversion.isAlternate)
        pad(Array(digits.utf8), sign: sign(isNegative: number.sign == .minus && !number.isNaN, conversion), conversion)
      default:
        throw .valueError(
          "unsupported format character '\(kind)' (0x\(String(letter, radix: 16))) at index \(place - 1)")
      }
    }

    private mutating func writeInteger(
      _ value: JinjaValue, _ kind: Character, _ conversion: Conversion
    ) throws(TemplateError) {
      var whole = value.asInt
      if whole == nil, case .double(let number) = value, "diu".contains(kind) {
        guard number.isFinite else { throw .valueError("cannot convert float to integer") }
        whole = Int(exactly: number.rounded(.towardZero))
        if whole == nil { throw .overflow("an integer of more than 64 bits") }
      }
      guard let number = whole else {
        if case .undefined(let undefined) = value { throw undefined.error }
        throw .typeError("%\(kind) format: a real number is required, not \(value.typeName)")
      }
      let radix = kind == "o" ? 8 : kind == "x" || kind == "X" ? 16 : 10
      var digits = String(number.magnitude, radix: radix, uppercase: kind == "X")
      if let precision = conversion.precision, digits.count < precision {
        digits = String(repeating: "0", count: precision - digits.count) + digits
      }
      var sign = sign(isNegative: number < 0, conversion)
      if conversion.isAlternate, radix != 10 { sign += radix == 8 ? "0o" : "0\(kind)" }
      pad(Array(digits.utf8), sign: sign, conversion)
    }

    private func sign(isNegative: Bool, _ conversion: Conversion) -> String {
      isNegative ? "-" : conversion.isSigned ? "+" : conversion.isSpaced ? " " : ""
    }

    private mutating func pad(_ body: [UInt8], sign: String, _ conversion: Conversion, allowsZero: Bool = true) {
      let size = JinjaText(bytes: body).count + sign.utf8.count
      let missing = max(0, conversion.width - size)
      if conversion.isLeft {
        out += Array(sign.utf8) + body + [UInt8](repeating: 0x20, count: missing)
      } else if conversion.isZeroed, allowsZero {
        out += Array(sign.utf8) + [UInt8](repeating: 0x30, count: missing) + body
      } else {
        out += [UInt8](repeating: 0x20, count: missing) + Array(sign.utf8) + body
      }
    }
  }
}
