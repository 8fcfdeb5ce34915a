import SwerveCore

/// What every command gets: the other rooms, the environment, a place to write.
package struct CommandContext: Sendable {
  package let wiring: Wiring
  package let environment: [String: String]
  package let console: Console

  package init(wiring: Wiring, environment: [String: String], console: Console) {
    self.wiring = wiring
    self.environment = environment
    self.console = console
  }
}

extension CommandContext {
  /// Resolves the model, prints the memory plan for `--dry-run` (then answers nil), else starts an engine that works
  /// off batches. The answer brings the seconds that loading took.
  func startOffline(_ settings: Settings) async throws -> (engine: StartedEngine, loadSeconds: Double)? {
    guard let configuration = try await offlineConfiguration(settings) else { return nil }
    let display = ProgressDisplay("loading \(configuration.modelName)", unit: .percent, console: console)
    defer { display.finish() }
    let start = Clock.now()
    let engine = try await wiring.engines.start(configuration, observer: nil) { display.update(fraction: $0) }
    return (engine, Clock.now() - start)
  }

  /// The engine's configuration for a batch; nil after the plan of `--dry-run` was printed.
  func offlineConfiguration(_ settings: Settings) async throws -> EngineConfiguration? {
    var configuration = try await ModelResolution.resolve(settings, environment: environment, console: console)
    try PlacementPlanning.apply(settings, to: &configuration, console: console)
    let sequences = configuration.maxSequences ?? 256
    configuration.maxSequences = sequences
    configuration.maxBatchedTokens = configuration.maxBatchedTokens ?? max(4096, sequences)
    if !settings.general.dryRun { return configuration }
    for line in try await wiring.engines.plan(configuration) { console.print(line) }
    return nil
  }

  func show(_ report: [String]) {
    for line in report { console.writeError(line + "\n") }
  }
}
