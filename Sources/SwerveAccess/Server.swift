// Layer 1: from bytes to requests, from tokens to bytes: routes, keys, limits, the OpenAI wire, metrics, logs.
// It must not know the engine's type (only `EngineClient`), a tensor, a tokenizer or a template, nor read flags.
// Start here: Server puts it together; Routing/AccessResponder is a request's way; Routing/Routes the list.

import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import ServiceLifecycle
package import SwerveCore

/// Why the server could not start or had to stop.
package enum ServerError: Error, Sendable, CustomStringConvertible {
  /// Another process listens there.
  case addressInUse(String)
  /// The address does not exist on this machine or may not be used.
  case cannotListen(String, reason: String)
  /// Certificates or keys that cannot be used.
  case invalidTLS(files: String, reason: String)

  package var description: String {
    switch self {
    case .addressInUse(let address):
      "Cannot listen on \(address): the address is in use; stop the other server or choose another --port."
    case .invalidTLS(let files, let reason):
      "--ssl-certfile, --ssl-keyfile and --ssl-ca-certs (\(files)) cannot be used: \(reason)"
    case .cannotListen(let address, let reason): "Cannot listen on \(address): \(reason)"
    }
  }
}

/// The HTTP server as a service: listens, answers, and on graceful shutdown drains.
///
/// Draining: new work is refused with 503 and `Retry-After` while the listener stays open, so that balancers see it;
/// what is in flight gets `drainTimeout` seconds and then an error event; after that connections are closed.
package struct Server: Service {
  private let state: ServerState
  private let onListening: @Sendable (Int?) async -> Void

  /// - Parameter metrics: the same value whose `observer` the engine reports to.
  /// - Parameter onListening: called once with the bound port (nil on a Unix socket) before requests are served.
  package init(
    configuration: ServerConfiguration, engine: any EngineClient, metrics: EngineMetrics,
    logger: Logger = Logger(label: LogLabel.server), accessLogger: Logger = Logger(label: LogLabel.access),
    onListening: @escaping @Sendable (Int?) async -> Void = { _ in }
  ) {
    metrics.configure(maxModelLength: engine.model.maxModelLength)
    state = ServerState(
      configuration: configuration, engine: engine, metrics: metrics, logger: logger, accessLogger: accessLogger)
    self.onListening = onListening
  }

  /// Answers without a socket, for tests in this process.
  package var responder: AccessResponder { AccessResponder(state: state) }

  /// Serves until the surrounding service group shuts down. Throws `ServerError` when it cannot listen.
  package func run() async throws {
    let group = ServiceGroup(
      configuration: .init(services: [try application()], gracefulShutdownSignals: [], logger: state.logger))
    // Detached, so that the listener does not hear of the shutdown before the requests are drained.
    let serving = Task.detached { try await group.run() }
    let statistics = Task { await reportStatistics() }
    defer { statistics.cancel() }
    try await withTaskCancellationHandler {
      try await withGracefulShutdownHandler {
        do {
          try await serving.value
        } catch let error as IOError {
          throw listenError(error)
        } catch let error where error is SocketAddressError || error is SocketAddressError.UnknownHost {
          throw ServerError.cannotListen(
            listeningAddress(port: nil), reason: "the host name is not known; check --host.")
        }
      } onGracefulShutdown: {
        Task { await drain(group, serving) }
      }
    } onCancel: {
      serving.cancel()
    }
  }

  // MARK: Parts

  private func application() throws -> Application<AccessResponder> {
    let configuration = state.configuration
    let connections = state.connections
    let decoder = HTTP1Channel.Configuration.DecoderConfiguration(
      maxHeaderFieldSize: configuration.maxHeaderBytes, maxHeaderListSize: configuration.maxHeaderBytes,
      maxHeaderFieldCount: configuration.maxHeaderCount)
    let http = HTTP1Channel.Configuration(
      additionalChannelHandlers: [ConnectionHandler(registry: connections)],
      idleTimeout: .nanoseconds(Int64(configuration.keepAliveTimeout * 1e9)), httpDecoderConfiguration: decoder)
    let address: BindAddress =
      if let path = configuration.unixSocket {
        .unixDomainSocket(path: path)
      } else {
        .hostname(configuration.host, port: configuration.port)
      }
    // What hummingbird says at INFO we say ourselves, in the words scripts wait for.
    var quiet = state.logger
    quiet.logLevel = max(quiet.logLevel, .warning)
    return Application(
      responder: responder, server: try configuration.tls.server(http),
      configuration: ApplicationConfiguration(address: address, serverName: "swerve", backlog: 1024),
      onServerRunning: { channel in
        let port = channel.localAddress?.port
        state.logger.info("Starting server on \(listeningAddress(port: port))")
        await onListening(port)
        state.logger.info("Application startup complete.")
      }, logger: quiet)
  }

  private func listeningAddress(port: Int?) -> String {
    if let path = state.configuration.unixSocket { return "unix:\(path)" }
    let host = state.configuration.host
    let shown = host.contains(":") ? "[\(host)]" : host
    return "\(state.configuration.tls.isOn ? "https" : "http")://\(shown):\(port ?? state.configuration.port)"
  }

  private func listenError(_ error: IOError) -> ServerError {
    let address = listeningAddress(port: nil)
    if error.errnoCode == PlatformError.addressInUse { return .addressInUse(address) }
    return .cannotListen(address, reason: PlatformError.text(error.errnoCode))
  }

  /// Grace for the last bytes of answers after the drain, before connections are cut.
  private static let lastBytes = Duration.seconds(5)

  private func drain(_ group: ServiceGroup, _ serving: Task<Void, any Error>) async {
    state.startDraining()
    state.logger.info("Shutting down: \(state.inFlight) requests in flight")
    await state.waitUntilIdle(atMost: .seconds(state.configuration.drainTimeout))
    if state.inFlight > 0 {
      state.logger.warning("Aborting \(state.inFlight) requests that did not finish in time")
      state.abortAll()
      await state.waitUntilIdle(atMost: Self.lastBytes)
    }
    await group.triggerGracefulShutdown()
    do { try await Task.sleep(for: Self.lastBytes) } catch { return }
    serving.cancel()
  }

  private func reportStatistics() async {
    let interval = state.configuration.statisticsInterval
    guard interval > 0 else { return }
    var line = StatisticsLine(engine: 0, deviceWord: state.configuration.deviceWord)
    var last = ContinuousClock.now
    while true {
      do { try await Task.sleep(for: .seconds(interval)) } catch { return }
      let now = ContinuousClock.now
      let (text, isBusy) = line.next(state.engine.statistics, seconds: (now - last).seconds)
      last = now
      state.logger.log(level: isBusy ? .info : .debug, "\(text)")
    }
  }
}
