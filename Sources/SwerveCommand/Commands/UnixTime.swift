#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The time of day.
enum UnixTime {
  /// Seconds since 1970.
  static func seconds() -> Int { time(nil) }
}
