import Logging
import ServiceLifecycle
import SwerveAccess
import SwerveCore
import UnixSignals

/// `serve` after its flags: log, address, engine, server, and the way down.
struct Serving {
  let settings: Settings
  let engines: any EngineProvider
  let console: Console

  /// Returns after a drain; a second signal ends the process at once (130 or 143).
  func run() async throws {
    LoggingSystem.bootstrap(LogSink(logConfiguration).handler)
    let logger = Logger(label: LogLabel.server)
    try settings.server.tls.check()
    if settings.server.unixSocket == nil {
      try AddressProbe.check(host: settings.server.host, port: settings.server.port)
    }
    logger.info("swerve \(Version.text), model \(settings.engine.modelName)")
    let metrics = EngineMetrics(
      registry: PrometheusRegistry(), modelName: settings.server.modelName, version: Version.text,
      cacheConfiguration: cacheConfiguration, serviceClasses: settings.engine.serviceClasses.all.map(\.name))
    let engine = try await load(metrics)
    for line in engine.report { logger.info("\(line)") }

    var configuration = settings.server
    configuration.version = Version.text
    configuration.honoursPriority = settings.engine.honoursPriority
    configuration.createdTime = UnixTime.seconds()
    configuration.fingerprint = fingerprint(engine.client.model)
    let server = Server(
      configuration: configuration, engine: engine.client, metrics: metrics, logger: logger,
      accessLogger: Logger(label: LogLabel.access))
    let group = ServiceGroup(configuration: .init(services: [server], gracefulShutdownSignals: [], logger: logger))
    let signals = Task { await Self.watchSignals(group) }
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await group.run()) } catch { outcome = .failure(error) }
    signals.cancel()
    await engine.stop()
    try outcome.get()
    logger.info("Stopped.")
  }

  /// Labels of `vllm:cache_config_info`.
  private var cacheConfiguration: [(String, String)] {
    let engine = settings.engine
    return [
      ("block_size", String(engine.blockSize)), ("cache_dtype", engine.kvCacheType?.rawValue ?? "auto"),
      ("enable_prefix_caching", engine.enablePrefixCaching ? "True" : "False"),
      ("gpu_memory_utilization", String(engine.memoryUtilization)),
      ("num_gpu_blocks_override", engine.kvBlocks.map { String($0) } ?? "None"),
    ]
  }

  private func load(_ metrics: EngineMetrics) async throws -> StartedEngine {
    let display = ProgressDisplay("loading \(settings.engine.modelName)", unit: .percent, console: console)
    defer { display.finish() }
    return try await engines.start(settings.engine, observer: metrics.observer) { display.update(fraction: $0) }
  }

  /// The first signal drains, the second ends the process.
  private static func watchSignals(_ group: ServiceGroup) async {
    var isDraining = false
    for await signal in await UnixSignalsSequence(trapping: .sigint, .sigterm) {
      if isDraining { Process.end(signal == .sigint ? .interrupted : .terminated) }
      isDraining = true
      await group.triggerGracefulShutdown()
    }
  }

  private var logConfiguration: LogConfiguration {
    var configuration = LogConfiguration()
    configuration.format = settings.log.format == .json ? .json : .text
    configuration.level = Logger.Level(rawValue: settings.log.level) ?? .info
    configuration.accessLevel = settings.log.httpLevel.flatMap { Logger.Level(rawValue: $0) }
    configuration.prefix = settings.log.prefix
    configuration.usesColor = settings.log.color ?? (console.columns != nil && settings.log.toStandardError)
    configuration.fileDescriptor = settings.log.toStandardError ? 2 : 1
    return configuration
  }

  /// Names what could change a seeded answer: version, model, types and kernels.
  private func fingerprint(_ model: ModelInfo) -> String? {
    let parts = [
      Version.text, model.root, model.architecture, settings.engine.dtype.rawValue, settings.engine.kernelSet ?? "",
      String(model.vocabularySize), settings.engine.kvCacheType?.rawValue ?? "",
    ]
    // FNV-1a
    let hash = parts.joined(separator: "\u{0}").utf8.reduce(0x811c_9dc5 as UInt32) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
    let digits = String(hash, radix: 16)
    let text = String(repeating: "0", count: 8 - digits.count) + digits
    switch settings.serving.fingerprintMode {
    case .full, .custom: return "swerve-\(Version.text)-\(text)"
    case .hash: return text
    case .none: return nil
    }
  }
}
