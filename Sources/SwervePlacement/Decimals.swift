/// Numbers as text, without Foundation.
package enum Decimals {
  /// So many digits after the point; `-` for what is no number.
  package static func fixed(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return "-" }
    var unit = 1.0
    for _ in 0..<digits { unit *= 10 }
    let scaled = Int64((abs(value) * unit).rounded())
    let sign = value < 0 && scaled != 0 ? "-" : ""
    if digits == 0 { return "\(sign)\(scaled)" }
    let rest = String(scaled % Int64(unit))
    return "\(sign)\(scaled / Int64(unit))." + String(repeating: "0", count: digits - rest.count) + rest
  }

  /// Bytes with the unit that leaves one to three digits before the point.
  package static func bytes(_ count: Double) -> String {
    var value = count
    for unit in ["B", "KiB", "MiB", "GiB"] {
      if abs(value) < 1024 { return fixed(value, unit == "B" ? 0 : 1) + " " + unit }
      value /= 1024
    }
    return fixed(value, 1) + " TiB"
  }
}
