import ArgumentParser
package import SwerveCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

struct CollectEnvCommand: TableCommand {
  static let configuration = passing("collect-env", "What a bug report should say about this machine.")
  static let table = FlagTable.collectEnv
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    let report = EnvironmentReport.collect(environment: context.environment)
    context.console.print(settings.general.json ? JSON.object(report.json).text : report.text)
  }
}

/// The machine and this build, section by section. Values of variables that look like secrets are masked.
package struct EnvironmentReport: Sendable {
  package var sections: [(title: String, rows: [(String, String)])] = []

  package var text: String {
    sections.map { section in
      ([section.title + ":"] + section.rows.map { "  \(Format.padded($0.0, to: 28)) \($0.1)" }).joined(separator: "\n")
    }.joined(separator: "\n")
  }

  package var json: JSONObject {
    JSONObject(sections.map { ($0.title, .object(JSONObject($0.rows.map { ($0.0, .string($0.1)) }))) })
  }

  package static func collect(environment: [String: String]) -> EnvironmentReport {
    EnvironmentReport(sections: [
      ("swerve", build), ("system", system), ("cpu", processor), ("memory", memory), ("devices", devices),
      ("limits", limits), ("environment", variables(environment)),
    ])
  }

  private static var build: [(String, String)] {
    #if DEBUG
      let mode = "debug"
    #else
      let mode = "release"
    #endif
    #if SWERVE_PORTABLE
      let kernels = "portable"
    #else
      let kernels = "all"
    #endif
    return [("version", Version.text), ("build", mode), ("kernels built", kernels), ("swift", swiftVersion)]
  }

  private static var swiftVersion: String {
    #if compiler(>=6.4)
      "6.4 or later"
    #elseif compiler(>=6.3)
      "6.3"
    #else
      "6.2"
    #endif
  }

  private static var system: [(String, String)] {
    var name = utsname()
    var rows: [(String, String)] = []
    if uname(&name) == 0 {
      rows.append(("kernel", "\(field(name.sysname)) \(field(name.release))"))
      rows.append(("machine", field(name.machine)))
    }
    let release = lines("/etc/os-release").first { $0.hasPrefix("PRETTY_NAME=") }
    rows.append(("os", release.map { $0.dropFirst(12).filter { $0 != "\"" } } ?? "unknown"))
    #if canImport(Glibc)
      var version = [CChar](repeating: 0, count: 64)
      if confstr(Int32(_CS_GNU_LIBC_VERSION), &version, version.count) > 0 {
        rows.append(("libc", String(decoding: version.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)))
      }
    #endif
    return rows
  }

  private static var processor: [(String, String)] {
    let info = lines("/proc/cpuinfo")
    func value(_ key: String) -> String? {
      info.first { $0.hasPrefix(key) }?.split(separator: ":", maxSplits: 1).last.map { String($0.drop { $0 == " " }) }
    }
    let flags = Set((value("flags") ?? "").split(separator: " ").map(String.init))
    let interesting = [
      "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16",
      "amx_tile", "amx_bf16", "amx_int8", "amx_fp16",
    ]
    let nodes = ModelFiles(folder: "/sys/devices/system/node").names.filter {
      $0.hasPrefix("node") && $0.dropFirst(4).allSatisfy(\.isNumber)
    }
    return [
      ("model", value("model name") ?? "unknown"), ("online", String(sysconf(Int32(_SC_NPROCESSORS_ONLN)))),
      ("allowed", status("Cpus_allowed_list") ?? "unknown"), ("numa nodes", String(max(1, nodes.count))),
      ("vector flags", interesting.filter(flags.contains).joined(separator: " ")),
    ]
  }

  private static var memory: [(String, String)] {
    ["MemTotal", "MemAvailable", "SwapTotal", "HugePages_Total", "Hugepagesize"].compactMap { key in
      lines("/proc/meminfo").first { $0.hasPrefix(key + ":") }.map {
        (key, String($0.dropFirst(key.count + 1).drop { $0 == " " }))
      }
    }
  }

  private static var devices: [(String, String)] {
    let driver = lines("/proc/driver/nvidia/version").first
    return [("nvidia driver", driver ?? "none")]
  }

  private static var limits: [(String, String)] {
    func limit(_ text: String) -> String? {
      lines("/proc/self/limits").first { $0.hasPrefix(text) }.map {
        $0.dropFirst(26).split(separator: " ").prefix(2).joined(separator: " / ")
      }
    }
    return [
      ("open files", limit("Max open files") ?? "unknown"), ("locked memory", limit("Max locked memory") ?? "unknown"),
      ("somaxconn", lines("/proc/sys/net/core/somaxconn").first ?? "unknown"),
    ]
  }

  private static let prefixes = [
    "SWERVE_", "VLLM_", "HF_", "HUGGING_FACE_", "CUDA_", "NCCL_", "OMP_", "OTEL_", "MASTER_", "OPENAI_", "XDG_CACHE",
    "NVIDIA_", "GLOO_",
  ]
  private static let exactNames: Set<String> = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LD_PRELOAD", "NO_COLOR", "LANG"]

  static func variables(_ environment: [String: String]) -> [(String, String)] {
    environment.filter { name, _ in exactNames.contains(name) || prefixes.contains { name.hasPrefix($0) } }
      .sorted { $0.key < $1.key }.map { ($0.key, isSecret($0.key) ? "***" : withoutCredentials($0.value)) }
  }

  static func isSecret(_ name: String) -> Bool {
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "HEADERS"].contains { name.contains($0) }
  }

  /// `scheme://user:password@host` without what stands before the `@`.
  private static func withoutCredentials(_ text: String) -> String {
    guard let scheme = text.firstRange(of: "://"), let at = text[scheme.upperBound...].firstIndex(of: "@") else {
      return text
    }
    return text[..<scheme.upperBound] + "***" + text[at...]
  }

  private static func status(_ key: String) -> String? {
    lines("/proc/self/status").first { $0.hasPrefix(key + ":") }.map {
      String($0.dropFirst(key.count + 1).drop(while: \.isWhitespace))
    }
  }

  /// Lines of a small file of the system; none where it cannot be read. Such files have no length, so they are read,
  /// not mapped.
  private static func lines(_ path: String) -> [String] {
    guard let file = fopen(path, "r") else { return [] }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count < 4 << 20 {
      let count = fread(&buffer, 1, buffer.count, file)
      if count == 0 { break }
      bytes += buffer[..<count]
    }
    return String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).map(String.init)
  }

  private static func field<T>(_ tuple: T) -> String {
    withUnsafeBytes(of: tuple) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
