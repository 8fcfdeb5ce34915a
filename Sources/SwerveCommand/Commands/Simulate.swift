import ArgumentParser
import SwerveCore
import SwerveScheduling
import SwerveSimulation

/// `swerve simulate`: what a scheduler would do with a load on a machine that is only a model.
struct SimulateCommand: TableCommand {
  static let configuration = passing("simulate", "A trace of requests through the scheduler, on a modelled device.")
  static let table = FlagTable.simulate
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    let classes = settings.engine.serviceClasses
    var simulation: Simulation
    do {
      simulation = try Simulation(
        requests: try Self.requests(settings.simulation, classes), configuration: Self.scheduler(settings.engine),
        policy: Self.policy(settings.engine), classes: classes, device: try Self.device(settings.simulation),
        limits: .init(requests: settings.engine.maxQueuedRequests, tokens: settings.engine.maxQueuedTokens))
    } catch {
      throw CommandError(.usage, "\(error)")
    }
    try simulation.run()
    context.console.print(settings.general.json ? simulation.report.json.text : simulation.report.text)
  }

  private static func requests(
    _ settings: SimulationSettings, _ classes: ServiceClasses
  ) throws -> [SimulatedRequest] {
    if let path = settings.trace {
      let text = try TextFile.read(path)
      do {
        return try TraceFile.requests(text, classes)
      } catch {
        throw CommandError(.usage, "\(path): \(error).")
      }
    }
    func require(_ value: Int, _ flag: String) throws(CommandError) {
      if !(1...100_000_000).contains(value) {
        throw CommandError(.usage, "--\(flag) must be between 1 and 100000000, not \(value).")
      }
    }
    try require(settings.requestCount, "num-prompts")
    try require(settings.inputLength, "input-len")
    try require(settings.outputLength, "output-len")
    guard (1e-6...1e6).contains(settings.requestRate) else {
      throw CommandError(.usage, "--request-rate must be between 0.000001 and 1000000, not \(settings.requestRate).")
    }
    var stream = Workload.Stream()
    stream.rate = settings.requestRate
    stream.promptTokens = settings.inputLength...settings.inputLength
    stream.outputTokens = settings.outputLength...settings.outputLength
    return try Workload(
      streams: [stream], count: settings.requestCount, seed: UInt64(bitPattern: Int64(settings.seed))
    ).requests(classes)
  }

  private static func scheduler(_ engine: EngineConfiguration) throws -> SchedulerConfiguration {
    let problems = engine.problems()
    if !problems.isEmpty { throw CommandError(.usage, problems) }
    var scheduler = SchedulerConfiguration(
      maxBatchedTokens: engine.resolvedMaxBatchedTokens, maxSequences: engine.resolvedMaxSequences,
      blockSize: engine.blockSize, blockCount: engine.kvBlocks ?? 4_096,
      maxModelLength: max(engine.maxModelLength ?? 32_768, 1))
    scheduler.enablePrefixCaching = engine.enablePrefixCaching
    scheduler.enableChunkedPrefill = engine.enableChunkedPrefill
    scheduler.longPrefillThreshold = engine.longPrefillThreshold
    scheduler.watermark = engine.watermark
    scheduler.queueTimeout = engine.queueTimeout.map { UInt64($0 * 1e9) }
    scheduler.groupsLengths = engine.groupsLengths
    scheduler.evictsByCost = engine.prefixCachePolicy == .cost
    scheduler.adaptsLongPrefill = engine.adaptsLongPrefill
    return scheduler
  }

  private static func policy(_ engine: EngineConfiguration) -> any SchedulingPolicy {
    engine.schedulerExtension.flatMap { Policies.extensionNamed($0) }
      ?? Policies.named(engine.schedulingPolicy.rawValue) ?? FirstComeFirstServed()
  }

  private static func device(_ settings: SimulationSettings) throws(CommandError) -> DeviceModel {
    for (flag, value) in [
      ("device-step-ms", settings.stepMilliseconds), ("device-token-us", settings.tokenMicroseconds),
      ("device-context-ns", settings.contextNanoseconds),
    ] where !(0...1e9).contains(value) {
      throw CommandError(.usage, "--\(flag) must be between 0 and 1000000000, not \(value).")
    }
    var device = DeviceModel()
    device.stepNanoseconds = max(UInt64(settings.stepMilliseconds * 1e6), 1)
    device.tokenNanoseconds = UInt64(settings.tokenMicroseconds * 1e3)
    device.contextNanoseconds = UInt64(settings.contextNanoseconds)
    return device
  }
}
