import SwerveCore
import SwerveHardware

extension Flag {
  /// Workers for keys and values: any of the first two means `--placement separated`.
  static let dataWorkers: [Flag] = [
    .int(
      "data-workers", .parallelism, \.engine.dataWorkers.count, default: 1,
      "data workers; with a number --placement is separated"),
    .custom(
      "data-workers-at", .string, .parallelism, default: "null",
      "data workers that wait on other hosts: host:port,host:port"
    ) { settings, value in
      if value.text.lowercased() == "null" { return }
      settings.engine.dataWorkers.addresses = value.text.split(separator: ",", omittingEmptySubsequences: false).map(
        String.init)
    },
    .double(
      "data-worker-connect-timeout", .parallelism, \.engine.dataWorkers.connectSeconds, default: 10,
      "seconds in which a data worker of another host must be reached"),
    .custom(
      "data-devices", .string, .parallelism, default: "null",
      "devices of keys and values, one a data worker: cpu,cpu, or with their CPUs cpu:8-15,cpu:16-19+24-27"
    ) { settings, value in settings.placement.dataDevices = try devices(value) },
    .custom(
      "parameter-devices", .string, .parallelism, default: "null", aliases: ["param-devices"],
      "devices of the weights, one a rank: cpu, or with their CPUs cpu:0-7,cpu:8-15"
    ) { settings, value in settings.engine.parameterDevices = try devices(value) ?? [] },
    .custom(
      "max-data-workers", .int(words: ["auto": 0]), .parallelism, default: "auto",
      "data workers at a time, those attached later included"
    ) { settings, value in
      guard case .int(let count) = value else { return }
      settings.engine.dataWorkers.maximum = value.text == "auto" || count == 0 ? nil : count
    },
    .bool(
      "link-checksums", .parallelism, \.engine.dataWorkers.links.checksContent, default: false,
      "check all bytes that data workers and ranks of this host exchange"),
    .double(
      "data-worker-timeout", .parallelism, \.engine.dataWorkers.deadline, default: 30,
      "seconds that a data worker may take for a layer before it is replaced"),
  ]

  /// A list of devices, each with its CPUs where they are named; nil for null.
  private static func devices(_ value: FlagValue) throws -> [[Int]?]? {
    if value.text.lowercased() == "null" { return nil }
    var devices: [[Int]?] = []
    for name in value.text.split(separator: ",", omittingEmptySubsequences: false).map(String.init) {
      if name == "cpu" {
        devices.append(nil)
        continue
      }
      guard name.hasPrefix("cpu:") else {
        throw FlagError("must be cpu, or cpu,cpu for several workers; there is no device \(name.debugDescription)")
      }
      guard let cpus = CPUList.parse(String(name.dropFirst(4)).replacing("+", with: ",")), !cpus.isEmpty else {
        throw FlagError("must name CPUs as cpu:0-7 or cpu:0-3+8-11, not \(name.debugDescription)")
      }
      devices.append(cpus)
    }
    return devices
  }
}

extension Settings {
  /// What of `--placement` is about data workers; `given` are the flags that somebody wrote.
  mutating func applyDataWorkers(given: Set<String>, problems: inout [String]) {
    let asks = ["data-workers", "data-workers-at", "data-devices"].filter(given.contains)
    if let first = asks.first {
      if !given.contains("placement") { placement.name = "separated" }
      switch placement.name {
      case "separated", "pipeline-pd": break
      // How the parameters lie, whose keys and values are with data workers.
      case "tensor", "pipeline", "gathered": engine.placement = .separated
      case "auto": placement.name = "separated"
      default:
        problems.append(
          "--\(first) is for --placement separated, pipeline-pd, tensor, pipeline or gathered, not \(placement.name).")
      }
    }
    if placement.name == "separated" { engine.placement = .separated }
    guard engine.placement == .separated || placement.name == "pipeline-pd" else { return }
    if let devices = placement.dataDevices {
      if given.contains("data-workers") && devices.count != engine.dataWorkers.count {
        problems.append(
          "--data-devices names \(devices.count) devices and --data-workers asks for \(engine.dataWorkers.count) workers; give as "
            + "many of each.")
      }
      engine.dataWorkers.count = devices.count
      engine.dataWorkers.cpus = devices
    }
    let elsewhere = engine.dataWorkers.addresses.count
    if elsewhere > 0, !given.contains("data-workers"), placement.dataDevices == nil {
      engine.dataWorkers.count = elsewhere
    }
    // Data workers of the command are processes of the same program.
    engine.dataWorkers.launch = .process(path: "/proc/self/exe", arguments: ["data-worker"])
    engine.dataWorkers.version = Version.text
  }
}
