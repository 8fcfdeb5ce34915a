package import SwerveCore

extension Flag {
  /// Which role lives where.
  static let placement: [Flag] = [
    .custom(
      "placement", .words("auto", "unified", "separated"), .parallelism, default: "auto",
      "unified: one place for all; separated: keys and values with data workers; auto: by the flags below"
    ) { settings, value in
      guard let placement = Placement(rawValue: value.text) else { return }
      settings.engine.placement = placement
      settings.engine.dataWorkers.hasAskedPlacement = true
      settings.engine.launchProcesses()
    },
    .custom("data-workers", .int, .parallelism, default: "1", "data workers; any number means --placement separated") {
      settings, value in
      guard case .int(let count) = value else { return }
      settings.engine.dataWorkers.count = count
      settings.engine.askForDataWorkers()
    },
    .custom(
      "data-devices", .string, .parallelism, default: "null", "devices of keys and values, one a data worker: cpu,cpu"
    ) { settings, value in
      guard let devices = try devices(value) else { return }
      // Given again, the later list counts.
      let workers = settings.engine.dataWorkers
      if workers.deviceCount == workers.count { settings.engine.dataWorkers.count = devices.count }
      settings.engine.dataWorkers.deviceCount = devices.count
      settings.engine.askForDataWorkers()
    },
    .custom(
      "parameter-devices", .string, .parallelism, default: "null", aliases: ["param-devices"],
      "devices of the weights: cpu"
    ) { _, value in
      guard let devices = try devices(value) else { return }
      if devices.count > 1 { throw FlagError("must be cpu: weights have one device, not \(devices.count)") }
    },
    .int(
      "max-data-workers", .parallelism, \.engine.dataWorkers.maximum, default: "auto", words: ["auto": 0],
      "data workers at a time, those attached later included"),
    .double(
      "data-worker-timeout", .parallelism, \.engine.dataWorkers.deadline, default: 30,
      "seconds that a data worker may take for a layer before it is replaced"),
  ]

  /// A list of devices; nil for null.
  private static func devices(_ value: FlagValue) throws -> [String]? {
    if value.text.lowercased() == "null" { return nil }
    let names = value.text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    if let other = names.first(where: { $0 != "cpu" }) {
      throw FlagError("must be cpu, or cpu,cpu for several data workers; there is no device \(other.debugDescription)")
    }
    return names
  }
}

extension EngineConfiguration {
  fileprivate mutating func askForDataWorkers() {
    dataWorkers.isAsked = true
    if !dataWorkers.hasAskedPlacement { placement = .separated }
    launchProcesses()
  }

  /// Data workers of the command are processes of the same program.
  fileprivate mutating func launchProcesses() {
    dataWorkers.launch = .process(path: "/proc/self/exe", arguments: ["data-worker"])
    dataWorkers.version = Version.text
  }
}
