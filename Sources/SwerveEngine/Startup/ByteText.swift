/// Amounts of memory as people read them, and fixed-point numbers without a formatter.
package enum ByteText {
  /// `31.20 GiB`, `12.00 MiB`, `960 B`
  package static func binary(_ bytes: Int) -> String {
    if abs(bytes) < 1 << 10 { return "\(bytes) B" }
    for (unit, shift) in [("GiB", 30), ("MiB", 20)] where abs(bytes) >= 1 << shift {
      return "\(fixed(Double(bytes) / Double(1 << shift), 2)) \(unit)"
    }
    return "\(fixed(Double(bytes) / 1024, 2)) KiB"
  }

  /// A number with exactly `places` decimals.
  package static func fixed(_ value: Double, _ places: Int) -> String {
    guard value.isFinite else { return "\(value)" }
    var scale = 1.0
    for _ in 0..<places { scale *= 10 }
    let scaled = (abs(value) * scale).rounded()
    guard scaled < 9e18 else { return "\(value)" }
    let digits = Int(scaled)
    let unit = Int(scale)
    let sign = value < 0 && digits > 0 ? "-" : ""
    if places == 0 { return "\(sign)\(digits)" }
    let fraction = String(digits % unit)
    return "\(sign)\(digits / unit)." + String(repeating: "0", count: places - fraction.count) + fraction
  }

  /// `613,024`
  package static func grouped(_ value: Int) -> String {
    var text = ""
    for (place, digit) in String(abs(value)).reversed().enumerated() {
      if place > 0 && place % 3 == 0 { text.append(",") }
      text.append(digit)
    }
    return (value < 0 ? "-" : "") + String(text.reversed())
  }
}
