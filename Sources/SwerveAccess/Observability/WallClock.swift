#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The time of day, for people: log lines and `created` fields. Durations come from `ContinuousClock`.
package enum WallClock {
  package static func unixSeconds() -> Int { now().seconds }

  static func now() -> (seconds: Int, nanoseconds: Int) {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return (Int(time.tv_sec), Int(time.tv_nsec))
  }

  /// `MM-DD HH:MM:SS` in local time.
  static func shortLocal() -> String {
    var seconds = time_t(now().seconds)
    var parts = tm()
    localtime_r(&seconds, &parts)
    return "\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
      + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
  }

  /// RFC 3339 in UTC with milliseconds.
  static func rfc3339() -> String {
    let (seconds, nanoseconds) = now()
    var time = time_t(seconds)
    var parts = tm()
    gmtime_r(&time, &parts)
    let thousandths = String(1000 + nanoseconds / 1_000_000).dropFirst()
    return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
      + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)).\(thousandths)Z"
  }

  private static func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : String(value) }
}
