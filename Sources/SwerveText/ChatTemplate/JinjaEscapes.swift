/// Escapes inside string literals, as Python's `unicode-escape` codec reads them.
enum JinjaEscapes {
  static func decode(_ source: ArraySlice<UInt8>, line: Int) throws(TemplateError) -> JinjaText {
    guard source.contains(UInt8(ascii: "\\")) else { return JinjaText(source) }
    var out: [UInt8] = []
    var place = source.startIndex
    while place < source.endIndex {
      let byte = source[place]
      place += 1
      guard byte == UInt8(ascii: "\\") else {
        out.append(byte)
        continue
      }
      guard place < source.endIndex else { throw .syntax("\\ at end of string", line: line) }
      let letter = source[place]
      place += 1
      switch letter {
      case 0x0A: break
      case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): out.append(letter)
      case UInt8(ascii: "n"): out.append(0x0A)
      case UInt8(ascii: "r"): out.append(0x0D)
      case UInt8(ascii: "t"): out.append(0x09)
      case UInt8(ascii: "a"): out.append(0x07)
      case UInt8(ascii: "b"): out.append(0x08)
      case UInt8(ascii: "f"): out.append(0x0C)
      case UInt8(ascii: "v"): out.append(0x0B)
      case UInt8(ascii: "0")...UInt8(ascii: "7"):
        var value = UInt32(letter - 0x30)
        var count = 1
        while count < 3, place < source.endIndex, (0x30...0x37).contains(source[place]) {
          value = value * 8 + UInt32(source[place] - 0x30)
          place += 1
          count += 1
        }
        out.append(scalar: Unicode.Scalar(value) ?? "\u{FFFD}")
      case UInt8(ascii: "x"): try append(2, "truncated \\xXX escape")
      case UInt8(ascii: "u"): try append(4, "truncated \\uXXXX escape")
      case UInt8(ascii: "U"): try append(8, "truncated \\UXXXXXXXX escape")
      case UInt8(ascii: "N"): throw .syntax("unknown Unicode character name", line: line)
      default:
        out.append(UInt8(ascii: "\\"))
        out.append(letter)
      }
    }
    return JinjaText(bytes: out)

    func append(_ digits: Int, _ message: String) throws(TemplateError) {
      guard let value = hex(digits) else { throw .syntax(message, line: line) }
      if value > 0x10FFFF { throw .syntax("illegal Unicode character", line: line) }
      // A surrogate pair written as two escapes stays two lone surrogates in Python; there is no text for one.
      out.append(scalar: Unicode.Scalar(value) ?? "\u{FFFD}")
    }

    func hex(_ digits: Int) -> UInt32? {
      guard place + digits <= source.endIndex else { return nil }
      var value: UInt32 = 0
      for _ in 0..<digits {
        guard let digit = Character(Unicode.Scalar(source[place])).hexDigitValue else { return nil }
        value = value << 4 | UInt32(digit)
        place += 1
      }
      return value
    }
  }
}
