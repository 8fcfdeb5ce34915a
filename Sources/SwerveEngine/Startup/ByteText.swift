import SwerveCore

/// Amounts of memory and large counts as people read them.
package enum ByteText {
  /// `31.20 GiB`, `12.00 MiB`, `960 B`
  package static func binary(_ bytes: Int) -> String {
    if abs(bytes) < 1 << 10 { return "\(bytes) B" }
    for (unit, shift) in [("GiB", 30), ("MiB", 20)] where abs(bytes) >= 1 << shift {
      return "\(Decimals.fixed(Double(bytes) / Double(1 << shift), 2)) \(unit)"
    }
    return "\(Decimals.fixed(Double(bytes) / 1024, 2)) KiB"
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
