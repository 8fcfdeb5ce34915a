#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// `process_*`, read when scraped. What this system does not tell stays 0.
struct ProcessMetrics: Sendable {
  private let cpu: CounterMetric
  private let resident: GaugeMetric
  private let descriptors: GaugeMetric
  #if canImport(Glibc)
    private static let whole = __rusage_who_t(RUSAGE_SELF.rawValue)
  #else
    private static let whole = RUSAGE_SELF
  #endif

  init(registry: PrometheusRegistry) {
    cpu = registry.counter("process_cpu_seconds", help: "User and system CPU seconds of this process.")
    resident = registry.gauge("process_resident_memory_bytes", help: "Resident memory in bytes.")
    descriptors = registry.gauge("process_open_fds", help: "Open file descriptors.")
    registry.gauge("process_start_time_seconds", help: "Unix time at which this process started its server.")
      .set(Double(WallClock.unixSeconds()))
  }

  func update() {
    var usage = rusage()
    if getrusage(Self.whole, &usage) == 0 {
      let user = Double(usage.ru_utime.tv_sec) + Double(usage.ru_utime.tv_usec) / 1e6
      let system = Double(usage.ru_stime.tv_sec) + Double(usage.ru_stime.tv_usec) / 1e6
      cpu.set(total: user + system)
    }
    if let pages = Self.residentPages() { resident.set(Double(pages * Int(sysconf(Int32(_SC_PAGESIZE))))) }
    if let count = Self.openDescriptors() { descriptors.set(Double(count)) }
  }

  /// The second number of `/proc/self/statm`.
  private static func residentPages() -> Int? {
    guard let file = fopen("/proc/self/statm", "r") else { return nil }
    defer { fclose(file) }
    var buffer = [CChar](repeating: 0, count: 256)
    guard fgets(&buffer, Int32(buffer.count), file) != nil else { return nil }
    let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    let numbers = String(decoding: bytes, as: UTF8.self).split(separator: " ")
    return numbers.count > 1 ? Int(numbers[1]) : nil
  }

  private static func openDescriptors() -> Int? {
    guard let folder = opendir("/proc/self/fd") else { return nil }
    defer { closedir(folder) }
    var count = 0
    while readdir(folder) != nil { count += 1 }
    // Not `.`, `..` and the descriptor that reads this folder.
    return max(0, count - 3)
  }
}
