import ArgumentParser

/// `swerve top`: a server's workers, tiers and rates, live.
struct TopCommand: TableCommand {
  static let configuration = passing("top", "A live view of a server: workers, memory, sequences, rates.")
  static let table = FlagTable.top
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    guard (0.1...3_600).contains(settings.top.interval) else {
      throw CommandError(.usage, "--interval must be between 0.1 and 3600 seconds, not \(settings.top.interval).")
    }
    let client = try OpenAIClient(
      url: settings.top.url, apiKey: settings.top.apiKey, insecure: settings.top.insecure, connections: 1)
    let outcome: Result<Void, any Error>
    do {
      outcome = .success(try await TopLoop(client: client, settings: settings.top, console: context.console).run())
    } catch {
      outcome = .failure(error)
    }
    try await client.shutdown()
    try outcome.get()
  }
}
