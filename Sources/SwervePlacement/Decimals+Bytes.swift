package import SwerveCore

extension Decimals {
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
