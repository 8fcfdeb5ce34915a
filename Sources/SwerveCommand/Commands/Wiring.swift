package import SwerveCore

/// A model that runs in this process.
package struct StartedEngine: Sendable {
  package var client: any EngineClient
  /// The memory table and the timings of the start, one line each.
  package var report: [String]
  /// Stops admitting; requests under way go on.
  package var drain: @Sendable () -> Void
  /// Ends its threads and returns its memory.
  package var stop: @Sendable () async -> Void

  package init(
    client: any EngineClient, report: [String], drain: @escaping @Sendable () -> Void,
    stop: @escaping @Sendable () async -> Void
  ) {
    self.client = client
    self.report = report
    self.drain = drain
    self.stop = stop
  }
}

/// Makes engines. The command knows no other way to one, so its tests run with a fake.
package protocol EngineProvider: Sendable {
  /// Loads the model of a configuration whose names are resolved to folders. `observer` hears of steps and requests;
  /// `progress` gets the share that is loaded, 0…1. Throws errors that `exitCode` knows.
  func start(
    _ configuration: EngineConfiguration, observer: (any EngineObserver)?,
    progress: @escaping @Sendable (Double) -> Void
  ) async throws -> StartedEngine

  /// The memory table, without loading.
  func plan(_ configuration: EngineConfiguration) async throws -> [String]

  /// What the process ends with when `start` or `plan` threw this; nil for errors that are not the engine's.
  func exitCode(of error: any Error) -> ExitCode?
}

/// Everything of the other rooms that commands call, put together in one place.
package struct Wiring: Sendable {
  package var engines: any EngineProvider
  /// Serves until the process is told to stop. The engine is made inside, so that the address is known to be free
  /// before anything is loaded.
  package var serve: @Sendable (Settings, any EngineProvider, Console) async throws -> Void
  /// One line of JSON in, one line of JSON out; never throws for a bad line.
  package var lines: any TextLines
  /// Measures the kernels and prints the figures; JSON where asked for.
  package var benchKernels: @Sendable (Settings, Console) async throws -> Void
  /// Writes or verifies a model with packed weights; the model's name is resolved to a folder.
  package var quantize: @Sendable (Settings, EngineConfiguration, Console) async throws -> Void

  package init(
    engines: any EngineProvider,
    serve: @escaping @Sendable (Settings, any EngineProvider, Console) async throws -> Void,
    lines: any TextLines, benchKernels: @escaping @Sendable (Settings, Console) async throws -> Void,
    quantize: @escaping @Sendable (Settings, EngineConfiguration, Console) async throws -> Void = {
      try QuantizeRun(settings: $0.quantize, configuration: $1, console: $2).run(isDry: $0.general.dryRun)
    }
  ) {
    self.engines = engines
    self.serve = serve
    self.lines = lines
    self.benchKernels = benchKernels
    self.quantize = quantize
  }
}

/// The text room's programs over JSON lines: tokenize, detokenize, render-template. `tokenizerFolder` nil = the embedded
/// model's. Each answers a function from a line to its reply; a fault in one line is that line's `error`.
package protocol TextLines: Sendable {
  func tokenizer(folder: String?) throws -> @Sendable ([UInt8]) -> [UInt8]
  func detokenizer(folder: String?) throws -> @Sendable ([UInt8]) -> [UInt8]
  func renderer() throws -> @Sendable ([UInt8]) -> [UInt8]
}
