#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

// What a person sees: numbers, lines, progress. This folder knows no command. Start with ProgressDisplay.

/// Numbers as people read them.
package enum Format {
  /// Exactly `digits` places after the point, no grouping.
  package static func fixed(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite else { return value.isNaN ? "nan" : value < 0 ? "-inf" : "inf" }
    var buffer = [CChar](repeating: 0, count: 400)
    let count = withVaList([Int32(clamping: digits), value]) { vsnprintf(&buffer, buffer.count, "%.*f", $0) }
    return String(decoding: buffer.prefix(max(0, Int(count))).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// `1.5 GiB`, `312 KiB`, `17 B`.
  package static func bytes(_ count: Int) -> String {
    var value = Double(count)
    for unit in ["B", "KiB", "MiB", "GiB"] {
      if value < 1024 { return unit == "B" ? "\(count) B" : "\(fixed(value, value < 10 ? 2 : 1)) \(unit)" }
      value /= 1024
    }
    return "\(fixed(value, value < 10 ? 2 : 1)) TiB"
  }

  /// `0:07`, `12:30`, `1:02:03`.
  package static func duration(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds < 1e7 else { return "?" }
    let total = Int(max(0, seconds).rounded())
    let tail =
      "\(total / 60 % 60 < 10 && total >= 3600 ? "0" : "")\(total / 60 % 60):\(total % 60 < 10 ? "0" : "")\(total % 60)"
    return total >= 3600 ? "\(total / 3600):\(tail)" : tail
  }

  /// `left` filled with spaces up to `width`.
  package static func padded(_ left: String, to width: Int) -> String {
    left + String(repeating: " ", count: max(0, width - left.count))
  }

  /// `title` in the middle of a line of `fill`.
  package static func centred(_ title: String, width: Int, fill: Character) -> String {
    let room = max(0, width - title.count)
    return String(repeating: fill, count: room / 2) + title + String(repeating: fill, count: room - room / 2)
  }
}
