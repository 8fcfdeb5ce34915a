/// Numbers as text, without a formatter of Foundation.
package enum Decimals {
  /// So many digits after the point, rounded half away from zero; `-` for what is no number, or 10¹⁵ and beyond.
  package static func fixed(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return "-" }
    var unit = 1.0
    for _ in 0..<digits { unit *= 10 }
    let scaled = (abs(value) * unit).rounded()
    guard scaled < 9e18 else { return "-" }
    let (whole, rest) = Int64(scaled).quotientAndRemainder(dividingBy: Int64(unit))
    let sign = value < 0 && scaled != 0 ? "-" : ""
    if digits == 0 { return "\(sign)\(whole)" }
    let fraction = String(rest)
    return "\(sign)\(whole)." + String(repeating: "0", count: digits - fraction.count) + fraction
  }
}
