#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The machine's memory as this process may use it: the smaller of what is installed and what its control group allows.
package struct SystemMemory: Sendable, Equatable {
  package var totalBytes: Int
  /// Free or reclaimable now.
  package var availableBytes: Int

  package init(totalBytes: Int, availableBytes: Int) {
    self.totalBytes = totalBytes
    self.availableBytes = availableBytes
  }

  /// Held by others (or by page cache that cannot be dropped).
  package var usedByOthers: Int { max(0, totalBytes - availableBytes) }

  /// What is left when so many bytes are kept for something else.
  package func without(_ bytes: Int) -> SystemMemory {
    SystemMemory(totalBytes: max(0, totalBytes - bytes), availableBytes: max(0, availableBytes - bytes))
  }

  package static func current() -> SystemMemory {
    var memory = installed()
    for (limitFile, usageFile) in [
      ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
      ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ] {
      guard let limit = number(in: limitFile), limit < memory.totalBytes else { continue }
      memory.totalBytes = limit
      memory.availableBytes = min(memory.availableBytes, max(0, limit - (number(in: usageFile) ?? 0)))
    }
    return memory
  }

  private static func installed() -> SystemMemory {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let total = Int(sysconf(Int32(_SC_PHYS_PAGES))) * page
    var available = total
    for line in text(of: "/proc/meminfo")?.split(separator: "\n") ?? [] where line.hasPrefix("MemAvailable:") {
      if let kibibytes = line.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) {
        available = kibibytes << 10
      }
    }
    return SystemMemory(totalBytes: total, availableBytes: available)
  }

  private static func number(in path: String) -> Int? {
    text(of: path).flatMap { Int($0.prefix { $0.isNumber }) }
  }

  /// A small virtual file, whose size is not known beforehand.
  private static func text(of path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: 8192)
    let length = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
    return length > 0 ? String(decoding: buffer[..<length], as: UTF8.self) : nil
  }
}
