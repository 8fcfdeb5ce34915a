import ArgumentParser
import SwerveCore

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure speed: latency, throughput, serve, replay, startup, kernels; and perplexity.",
    subcommands: [
      LatencyCommand.self, ThroughputCommand.self, BenchServeCommand.self, ReplayCommand.self, StartupCommand.self,
      KernelsCommand.self, PerplexityCommand.self, SweepCommand.self,
    ], helpNames: [.long, .short])
}

/// A benchmark of an engine in this process.
private protocol EngineBench: TableCommand {
  func measure(_ settings: Settings, _ engine: StartedEngine, loadSeconds: Double, _ context: CommandContext)
    async throws
  func check(_ settings: Settings) throws
}

extension EngineBench {
  static var takesModel: Bool { true }
  func check(_ settings: Settings) throws {}

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    try check(settings)
    guard let (engine, seconds) = try await context.startOffline(settings) else { return }
    context.show(engine.report)
    let outcome: Result<Void, any Error>
    do {
      outcome = .success(try await measure(settings, engine, loadSeconds: seconds, context))
    } catch {
      outcome = .failure(error)
    }
    await engine.stop()
    try outcome.get()
  }
}

struct LatencyCommand: EngineBench {
  static let configuration = passing("latency", "One batch again and again.")
  static let table = FlagTable.benchLatency
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func check(_ settings: Settings) throws {
    let bench = settings.bench
    if bench.iterations < 1 || bench.batchSize < 1 || bench.inputLength < 1 || bench.outputLength < 1 || bench.n < 1 {
      throw CommandError(.usage, "--num-iters, --batch-size, --input-len, --output-len and --n must be at least 1.")
    }
  }

  func measure(_ settings: Settings, _ engine: StartedEngine, loadSeconds: Double, _ context: CommandContext)
    async throws
  {
    try await LatencyBench(bench: settings.bench, console: context.console).run(engine)
  }
}

struct ThroughputCommand: EngineBench {
  static let configuration = passing("throughput", "Many requests at once.")
  static let table = FlagTable.benchThroughput
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func measure(_ settings: Settings, _ engine: StartedEngine, loadSeconds: Double, _ context: CommandContext)
    async throws
  {
    try await ThroughputBench(bench: settings.bench, console: context.console).run(engine)
  }
}

struct ReplayCommand: EngineBench {
  static let configuration = passing("replay", "Given token ids, to full length; one JSON object.")
  static let table = FlagTable.benchReplay
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func check(_ settings: Settings) throws {
    guard let file = settings.bench.requestsFile else {
      throw CommandError(.usage, "swerve bench replay needs --requests FILE.jsonl.")
    }
    _ = try ReplayBench.read(file)
  }

  func measure(_ settings: Settings, _ engine: StartedEngine, loadSeconds: Double, _ context: CommandContext)
    async throws
  {
    let prompts = try ReplayBench.read(settings.bench.requestsFile ?? "")
    let bench = ReplayBench(bench: settings.bench, console: context.console)
    context.console.print(try await bench.run(prompts, engine, loadSeconds: loadSeconds).text)
  }
}

struct PerplexityCommand: EngineBench {
  static let configuration = passing("perplexity", "How well a model predicts a text; one JSON object.")
  static let table = FlagTable.benchPerplexity
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func check(_ settings: Settings) throws { _ = try PerplexityBench.read(settings.bench) }

  func measure(_ settings: Settings, _ engine: StartedEngine, loadSeconds: Double, _ context: CommandContext)
    async throws
  {
    let bench = PerplexityBench(bench: settings.bench, console: context.console)
    context.console.print(try await bench.run(try PerplexityBench.read(settings.bench), engine).text)
  }
}

struct StartupCommand: TableCommand {
  static let configuration = passing("startup", "From nothing to an engine that takes requests.")
  static let table = FlagTable.benchStartup
  static let takesModel = true
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    guard let configuration = try await context.offlineConfiguration(settings) else { return }
    try await StartupBench(bench: settings.bench, console: context.console).run(configuration, context.wiring.engines)
  }
}

struct BenchServeCommand: TableCommand {
  static let configuration = passing("serve", "A server under load.")
  static let table = FlagTable.benchServe
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    try await ServeBench(bench: settings.bench, model: settings.model, console: context.console).run()
  }
}

struct KernelsCommand: TableCommand {
  static let configuration = passing("kernels", "Kernels against the memory's speed.")
  static let table = FlagTable.benchKernels
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    try await context.wiring.benchKernels(settings, context.console)
  }
}
