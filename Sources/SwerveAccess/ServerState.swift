import Logging
import SwerveCore
import Synchronization

/// What all requests of one server share. Everything but the counters is constant after start.
final class ServerState: Sendable {
  private struct Counters {
    var isDraining = false
    var nextID: UInt64 = 0
    var runs: [UInt64: Weak] = [:]
    var idleWaiters: [CheckedContinuation<Void, Never>] = []
  }

  private struct Weak {
    weak var run: GenerationRun?
  }

  let configuration: ServerConfiguration
  let engine: any EngineClient
  let metrics: EngineMetrics
  let authenticator: Authenticator
  let connections = ConnectionRegistry()
  let logger: Logger
  let accessLogger: Logger
  private let counters = Mutex(Counters())

  init(
    configuration: ServerConfiguration, engine: any EngineClient, metrics: EngineMetrics, logger: Logger,
    accessLogger: Logger
  ) {
    self.configuration = configuration
    self.engine = engine
    self.metrics = metrics
    self.logger = logger
    self.accessLogger = accessLogger
    authenticator = Authenticator(configuration)
  }

  // MARK: Admission

  var isDraining: Bool { counters.withLock(\.isDraining) }

  /// From now on new work is refused with 503.
  func startDraining() { counters.withLock { $0.isDraining = true } }

  func admit() throws(RequestError) {
    guard !isDraining else {
      metrics.rejections(reason: "draining").increment()
      throw .shuttingDown
    }
  }

  /// Why new work would be refused now; nil when it would not. What the health routes answer.
  var unavailability: RequestError? {
    if isDraining { return .shuttingDown }
    return switch engine.health {
    case .running: nil
    case .loading: RequestError(.unavailable, "Loading model", retryAfter: 5)
    case .draining: .shuttingDown
    // The reason may name files or addresses; it stays in the log.
    case .dead: RequestError(.unavailable, "The engine has stopped; the server must be restarted.")
    case .stalled: RequestError(.unavailable, "The engine makes no progress.")
    }
  }

  // MARK: Requests in flight

  var inFlight: Int { counters.withLock(\.runs.count) }

  /// Counts a run as in flight until it closes.
  func register(_ run: GenerationRun) {
    let id = counters.withLock { counters in
      counters.nextID += 1
      counters.runs[counters.nextID] = Weak(run: run)
      return counters.nextID
    }
    run.onClose { [weak self] in self?.forget(id) }
  }

  private func forget(_ id: UInt64) {
    let waiters = counters.withLock { counters -> [CheckedContinuation<Void, Never>] in
      counters.runs.removeValue(forKey: id)
      guard counters.runs.isEmpty else { return [] }
      defer { counters.idleWaiters = [] }
      return counters.idleWaiters
    }
    for waiter in waiters { waiter.resume() }
  }

  /// Tells every request in flight that the server will not wait for it.
  func abortAll() {
    let runs = counters.withLock { $0.runs.values.compactMap(\.run) }
    for run in runs { run.mailbox.send(.shutdown) }
  }

  /// Waits until no request is in flight, at most that long.
  func waitUntilIdle(atMost timeout: Duration) async {
    let timer = Task { [weak self] in
      do { try await Task.sleep(for: timeout) } catch { return }
      self?.releaseWaiters()
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isIdle = counters.withLock { counters in
          if counters.runs.isEmpty || Task.isCancelled { return true }
          counters.idleWaiters.append(continuation)
          return false
        }
        if isIdle { continuation.resume() }
      }
    } onCancel: {
      releaseWaiters()
    }
    timer.cancel()
  }

  private func releaseWaiters() {
    let waiters = counters.withLock { counters in
      defer { counters.idleWaiters = [] }
      return counters.idleWaiters
    }
    for waiter in waiters { waiter.resume() }
  }
}
