#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The time of day, for templates that print a date.
package enum WallClock {
  /// Seconds since 1970, UTC shifted by the local time zone: what a clock on the wall shows.
  @Sendable package static func seconds() -> Int {
    var now = time(nil)
    var local = tm()
    localtime_r(&now, &local)
    return now + local.tm_gmtoff
  }
}
