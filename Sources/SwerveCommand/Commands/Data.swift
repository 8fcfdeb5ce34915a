import ArgumentParser
import SwerveCore

/// `swerve data add`, `swerve data add host:port`, `swerve data drain d1`: changes a server's data workers while it serves.
struct DataCommand: TableCommand {
  static let configuration = passing(
    "data", "Change a server's data workers: swerve data add, swerve data drain d1.")
  static let table = FlagTable.data
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    let change = try Self.change(positionals, settings.data)
    let client = try OpenAIClient(
      url: settings.data.url, apiKey: settings.data.apiKey, insecure: settings.data.insecure, connections: 1)
    let outcome: Result<JSON, any Error>
    do {
      outcome = .success(try await client.post(change.path, change.body))
    } catch {
      outcome = .failure(error)
    }
    try await client.shutdown()
    let worker = try outcome.get()["worker"]?.string ?? "the data worker"
    context.console.print("\(worker) is \(change.done)")
  }

  private static func change(
    _ positionals: [String], _ settings: DataSettings
  ) throws(CommandError) -> (path: String, body: JSON, done: String) {
    switch (positionals.first, positionals.count) {
    case ("add", 1): return ("/data_workers/add", [:], "attached")
    case ("add", 2): return ("/data_workers/add", ["at": .string(positionals[1])], "attached")
    case ("drain", 2):
      return (
        "/data_workers/drain", ["worker": .string(positionals[1]), "timeout": .double(settings.timeout)], "drained"
      )
    default:
      throw CommandError(
        .usage, "swerve data needs what to do: add, add host:port, or drain and a worker's name as in drain d1.")
    }
  }
}
