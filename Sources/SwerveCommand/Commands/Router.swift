import ArgumentParser
import Logging
import ServiceLifecycle
import SwerveAccess
import SwerveRouter
import UnixSignals

/// `swerve router --prefill URL --decode URL`: one front for servers that compute prompts and servers that go on with them.
struct RouterCommand: TableCommand {
  static let configuration = passing(
    "router", "Serve one address in front of prefill and decode servers.")
  static let table = FlagTable.router
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    let problems = settings.router.problems()
    if let first = problems.first {
      throw CommandError(.usage, problems.count == 1 ? first : problems.joined(separator: "\n"))
    }
    LoggingSystem.bootstrap(LogSink(LogConfiguration()).handler)
    let logger = Logger(label: "swerve.router")
    try AddressProbe.check(host: settings.router.host, port: settings.router.port)
    let server = RouterServer(settings.router, logger: logger)
    let group = ServiceGroup(
      configuration: .init(
        services: [server], gracefulShutdownSignals: [.sigint, .sigterm], logger: logger))
    try await group.run()
  }
}
