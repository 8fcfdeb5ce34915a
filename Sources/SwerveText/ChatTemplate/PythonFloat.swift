#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Floating-point numbers in Python's spelling.
enum PythonFloat {
  /// `repr(float)`: the shortest digits that read back the same; an exponent below 1e-4 and from 1e16.
  static func representation(_ number: Double) -> String {
    if number.isNaN { return "nan" }
    if number.isInfinite { return number < 0 ? "-inf" : "inf" }
    if number == 0 { return number.sign == .minus ? "-0.0" : "0.0" }
    let (digits, exponent) = shortestDigits(number.magnitude)
    let sign = number < 0 ? "-" : ""
    if exponent < -4 || exponent >= 16 {
      let rest = digits.dropFirst()
      let power = exponent.magnitude < 10 ? "0\(exponent.magnitude)" : "\(exponent.magnitude)"
      return sign + String(digits.prefix(1)) + (rest.isEmpty ? "" : "." + rest) + "e" + (exponent < 0 ? "-" : "+")
        + power
    }
    if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + digits }
    let whole = exponent + 1
    if digits.count <= whole { return sign + digits + String(repeating: "0", count: whole - digits.count) + ".0" }
    return sign + digits.prefix(whole) + "." + digits.dropFirst(whole)
  }

  /// Digits without leading or trailing zeros, and the power of ten of the first one. `number` is positive and finite.
  private static func shortestDigits(_ number: Double) -> (digits: String, exponent: Int) {
    // Swift prints the same shortest digits, laid out differently.
    var mantissa = Substring(number.description)
    var exponent = 0
    if let mark = mantissa.firstIndex(where: { $0 == "e" || $0 == "E" }) {
      exponent = Int(mantissa[mantissa.index(after: mark)...].drop { $0 == "+" }) ?? 0
      mantissa = mantissa[..<mark]
    }
    let parts = mantissa.split(separator: ".", omittingEmptySubsequences: false)
    let whole = parts[0]
    let fraction = parts.count > 1 ? parts[1] : ""
    let all = String(whole) + fraction
    let leading = all.prefix { $0 == "0" }.count
    var digits = String(all.dropFirst(leading))
    while digits.hasSuffix("0"), digits.count > 1 { digits.removeLast() }
    return (digits, exponent + whole.count - 1 - leading)
  }

  /// C's `printf` of one number: conversion is one of `e E f F g G`, flags may hold `#`. At most 1000 digits.
  static func printed(_ number: Double, conversion: Character, precision: Int, isAlternate: Bool = false) -> String {
    if number.isNaN { return conversion.isUppercase ? "NAN" : "nan" }
    if number.isInfinite { return (number < 0 ? "-" : "") + (conversion.isUppercase ? "INF" : "inf") }
    let format = "%\(isAlternate ? "#" : "").\(min(max(precision, 0), 1000))\(conversion)"
    var buffer = [CChar](repeating: 0, count: 1500)
    let count = withVaList([number]) { vsnprintf(&buffer, buffer.count, format, $0) }
    return String(
      decoding: buffer.prefix(max(0, min(Int(count), buffer.count - 1))).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// `round(number, places)`: exact decimal rounding, halves to even.
  static func rounded(_ number: Double, places: Int) -> Double {
    guard number.isFinite else { return number }
    if places > 330 { return number }
    if places < -308 { return 0 }
    if places >= 0 { return Double(printed(number, conversion: "f", precision: places)) ?? number }
    let unit = pow(10, Double(-places))
    return (number / unit).rounded(.toNearestOrEven) * unit
  }

  /// `float(text)`: optional white space and underscores between digits; nil where Python raises.
  static func parse(_ text: JinjaText) -> Double? {
    guard let cleaned = withoutUnderscores(text.trimmed()) else { return nil }
    switch cleaned.lowercased() {
    case "inf", "+inf", "infinity", "+infinity": return .infinity
    case "-inf", "-infinity": return -.infinity
    case "nan", "+nan", "-nan": return .nan
    default: break
    }
    // Swift's own parser also reads hexadecimal numbers, which Python's does not.
    guard !cleaned.isEmpty, cleaned.utf8.allSatisfy({ "0123456789+-.eE".utf8.contains($0) }) else { return nil }
    return Double(cleaned)
  }

  /// `int(text, base)`; nil where Python raises or the number does not fit 64 bits.
  static func parseInt(_ text: JinjaText, base: Int) -> Int? {
    guard base == 0 || (2...36).contains(base), var cleaned = withoutUnderscores(text.trimmed()) else { return nil }
    var sign = ""
    if let first = cleaned.first, first == "+" || first == "-" {
      sign = first == "-" ? "-" : ""
      cleaned.removeFirst()
    }
    var radix = base
    let prefixes: [(String, Int)] = [("0x", 16), ("0o", 8), ("0b", 2)]
    for (prefix, value) in prefixes where cleaned.lowercased().hasPrefix(prefix) && (base == value || base == 0) {
      radix = value
      cleaned.removeFirst(2)
      break
    }
    guard let first = cleaned.utf8.first, first != UInt8(ascii: "+"), first != UInt8(ascii: "-") else { return nil }
    return Int(sign + cleaned, radix: radix == 0 ? 10 : radix)
  }

  private static func withoutUnderscores(_ text: JinjaText) -> String? {
    guard text.bytes.contains(UInt8(ascii: "_")) else { return text.string }
    let bytes = text.bytes
    let isDigit = { (byte: UInt8) in byte != UInt8(ascii: "_") && byte != UInt8(ascii: ".") }
    for (place, byte) in bytes.enumerated() where byte == UInt8(ascii: "_") {
      guard place > 0, place + 1 < bytes.count, isDigit(bytes[place - 1]), isDigit(bytes[place + 1]) else { return nil }
    }
    return String(decoding: bytes.filter { $0 != UInt8(ascii: "_") }, as: UTF8.self)
  }
}
