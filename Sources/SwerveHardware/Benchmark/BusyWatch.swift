#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// What others did with this machine's CPUs while something was measured: rates that were taken beside other work are too
/// low, and look like those of a slower machine.
package struct BusyWatch {
  /// Seconds since some moment.
  package struct Sample: Sendable, Hashable {
    /// Of all CPUs, by everybody.
    package var all: Double
    /// Of all CPUs, by this process.
    package var own: Double
    /// Of the clock, times the number of CPUs.
    package var possible: Double

    package init(all: Double, own: Double, possible: Double) {
      self.all = all
      self.own = own
      self.possible = possible
    }
  }

  private let start: Sample?

  package init() { start = Self.sample() }

  /// The share of all CPUs' time that others used since the start, 0 … 1; nil where the system does not say.
  package var othersShare: Double? {
    guard let start, let now = Self.sample() else { return nil }
    return Self.othersShare(from: start, to: now)
  }

  /// nil for samples of the same moment.
  package static func othersShare(from: Sample, to: Sample) -> Double? {
    let possible = to.possible - from.possible
    guard possible > 0 else { return nil }
    return min(1, max(0, (to.all - from.all) - (to.own - from.own)) / possible)
  }

  private static func sample() -> Sample? {
    guard let all = allSeconds() else { return nil }
    var own = timespec()
    var now = timespec()
    guard clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own) == 0, clock_gettime(CLOCK_MONOTONIC, &now) == 0 else {
      return nil
    }
    func seconds(_ time: timespec) -> Double { Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9 }
    return Sample(all: all.seconds, own: seconds(own), possible: seconds(now) * Double(all.count))
  }

  /// Seconds that CPUs were not idle, and how many there are: the first lines of /proc/stat.
  private static func allSeconds() -> (seconds: Double, count: Int)? {
    guard let file = fopen("/proc/stat", "r") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 512)
    var seconds: Double?
    var count = 0
    while fgets(&line, 512, file) != nil {
      let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      let words = text.split { " \n".contains($0) }
      guard let name = words.first, name.hasPrefix("cpu") else { break }
      if name == "cpu" {
        // user, nice, system, idle, waiting, interrupts, soft interrupts, stolen
        let ticks = words.dropFirst().prefix(8).compactMap { Double($0) }
        guard ticks.count == 8 else { return nil }
        seconds = (ticks.reduce(0, +) - ticks[3] - ticks[4]) / Double(max(1, sysconf(Int32(_SC_CLK_TCK))))
      } else {
        count += 1
      }
    }
    guard let seconds, count > 0 else { return nil }
    return (seconds, count)
  }
}
