import Logging
import SwerveAccess
import SwerveCommand
import SwerveCore
import SwerveEngine

/// A server of this process with the embedded model behind it, on a free port.
struct StoryServer: Sendable {
  let url: String
  let engine: Engine

  /// Runs `body` against it and takes it down.
  static func run(
    _ configure: (inout EngineConfiguration) -> Void = { _ in },
    server configureServer: (inout ServerConfiguration) -> Void = { _ in },
    body: @escaping @Sendable (StoryServer) async throws -> Void
  ) async throws {
    var configuration = EngineConfiguration()
    configuration.kvCacheBytes = 32 << 20
    configuration.maxSequences = 16
    configuration.maxModelLength = 512
    configure(&configuration)
    let engine = try await Engine.start(configuration)
    var settings = ServerConfiguration()
    settings.host = "127.0.0.1"
    settings.port = 0
    settings.servedModelNames = ["story"]
    settings.statisticsInterval = 0
    settings.drainTimeout = 0.2
    settings.keepAliveTimeout = 300
    settings.enablesAdminEndpoints = true
    configureServer(&settings)
    let scheme = settings.tls.certificate == nil ? "http" : "https"
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let (ports, found) = AsyncStream.makeStream(of: Int.self)
    let server = Server(
      configuration: settings, engine: engine,
      metrics: EngineMetrics(registry: PrometheusRegistry(), modelName: "story"), logger: logger, accessLogger: logger,
      onListening: { port in
        found.yield(port ?? 0)
        found.finish()
      })
    let outcome: Result<Void, any Error>
    do {
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask {
          defer { found.finish() }
          try await server.run()
        }
        var iterator = ports.makeAsyncIterator()
        if let port = await iterator.next() {
          try await body(StoryServer(url: "\(scheme)://127.0.0.1:\(port)", engine: engine))
        }
        tasks.cancelAll()
        // How a cancelled server ends is not the subject here.
        while let result = await tasks.nextResult() { _ = result }
      }
      outcome = .success(())
    } catch {
      outcome = .failure(error)
    }
    await engine.stop()
    try outcome.get()
  }

  /// A client for the time of `body`.
  func client<Value>(_ body: (OpenAIClient) async throws -> Value) async throws -> Value {
    let client = try OpenAIClient(url: url, apiKey: nil)
    do {
      let value = try await body(client)
      try await client.shutdown()
      return value
    } catch {
      try await client.shutdown()
      throw error
    }
  }
}
