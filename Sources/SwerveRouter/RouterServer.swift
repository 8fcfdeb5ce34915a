internal import AsyncHTTPClient
internal import Hummingbird
package import Logging
internal import NIOCore
internal import ServiceLifecycle

/// The router as a service.
package struct RouterServer: Service {
  private let configuration: RouterConfiguration
  private let logger: Logger
  private let onListening: @Sendable (Int?) async -> Void

  /// - Parameter onListening: called once with the bound port before requests are served.
  package init(
    _ configuration: RouterConfiguration, logger: Logger,
    onListening: @escaping @Sendable (Int?) async -> Void = { _ in }
  ) {
    self.configuration = configuration
    self.logger = logger
    self.onListening = onListening
  }

  /// Serves until the surrounding service group shuts down, or the task is cancelled.
  package func run() async throws {
    var settings = HTTPClient.Configuration()
    settings.timeout.connect = .nanoseconds(Int64(configuration.connectSeconds * 1e9))
    settings.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 1024
    settings.connectionPool.retryConnectionEstablishment = false
    settings.decompression = .disabled
    let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: settings)
    var quiet = logger
    quiet.logLevel = max(quiet.logLevel, .warning)
    let application = Application(
      responder: RouterResponder(configuration, client: client, logger: logger),
      configuration: ApplicationConfiguration(
        address: .hostname(configuration.host, port: configuration.port), serverName: "swerve-router"),
      onServerRunning: { channel in
        let port = channel.localAddress?.port ?? configuration.port
        logger.info(
          "Routing http://\(configuration.host):\(port) to prefill \(configuration.prefill.joined(separator: ", ")) and decode \(configuration.decode.joined(separator: ", "))"
        )
        await onListening(port)
      }, logger: quiet)
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await application.run()) } catch { outcome = .failure(error) }
    try await client.shutdown()
    try outcome.get()
  }
}
