#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The time of day.
enum LocalTime {
  /// Seconds since 1970, shifted by the local time zone: what a clock on the wall shows.
  static func seconds() -> Int {
    var now = time(nil)
    var local = tm()
    localtime_r(&now, &local)
    return now + local.tm_gmtoff
  }

  /// Seconds since 1970.
  static func unixSeconds() -> Int { time(nil) }
}
