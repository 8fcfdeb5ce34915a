import SwerveCore
import Synchronization

/// What happens to a running client request, whatever its source.
enum RunEvent: Sendable {
  /// The engine queued this prompt.
  case accepted(prompt: Int)
  case output(prompt: Int, GenerationEvent)
  /// This prompt's stream ended.
  case ended(prompt: Int)
  case failed(RequestError)
  /// Nothing was written for the keep-alive interval.
  case idle
  /// The request's own deadline passed.
  case deadline
  /// The client closed its connection.
  case disconnected
  /// The server gives up waiting for requests in flight.
  case shutdown
}

/// Why a run ends without an answer.
enum RunFailure: Error {
  case refused(RequestError)
  case disconnected
}

/// One client request on its way through the engine: all of its prompts, merged into one mailbox.
///
/// Each prompt has a task that submits it and forwards its events. Closing the run cancels those tasks, which drops the
/// engine's streams, which aborts the sequences. That happens at once when the client leaves, whatever the handler is
/// waiting for at that moment, and at the latest when the run is released.
final class GenerationRun: Sendable {
  private struct State {
    var tasks: [Task<Void, Never>] = []
    var isClosed = false
    var lastWrite = ContinuousClock.now
    /// Undo what the run registered elsewhere (connection watch, in-flight table).
    var cleanups: [@Sendable () -> Void] = []
  }

  let mailbox = Mailbox<RunEvent>()
  private let state = Mutex(State())

  init(_ requests: [GenerationRequest], engine: any EngineClient) {
    let mailbox = mailbox
    let tasks = requests.enumerated().map { prompt, request in
      Task { await Self.pump(request, prompt: prompt, engine: engine, into: mailbox) }
    }
    state.withLock { $0.tasks = tasks }
  }

  deinit { close() }

  private static func pump(
    _ request: GenerationRequest, prompt: Int, engine: any EngineClient, into mailbox: Mailbox<RunEvent>
  ) async {
    do {
      let stream = try await engine.generate(request)
      mailbox.send(.accepted(prompt: prompt))
      for try await event in stream { mailbox.send(.output(prompt: prompt, event)) }
      mailbox.send(.ended(prompt: prompt))
    } catch let error as RequestError {
      mailbox.send(.failed(error))
    } catch {
      mailbox.send(.failed(.internalFault))
    }
  }

  /// Stops everything the run started. Safe to call more than once and from anywhere.
  func close() {
    let (tasks, cleanups) = state.withLock { state in
      state.isClosed = true
      defer {
        state.tasks = []
        state.cleanups = []
      }
      return (state.tasks, state.cleanups)
    }
    for task in tasks { task.cancel() }
    for cleanup in cleanups { cleanup() }
  }

  /// The client left: the engine hears of it now, the handler when it next looks.
  func disconnect() {
    close()
    mailbox.send(.disconnected)
  }

  /// Runs `cleanup` when the run closes, or now if it has.
  func onClose(_ cleanup: @escaping @Sendable () -> Void) {
    let isClosed = state.withLock { state in
      if !state.isClosed { state.cleanups.append(cleanup) }
      return state.isClosed
    }
    if isClosed { cleanup() }
  }

  // MARK: Timers

  /// Sends `deadline` after that long.
  func setDeadline(_ timeout: Duration) {
    let mailbox = mailbox
    start(
      Task {
        do { try await Task.sleep(for: timeout) } catch { return }
        mailbox.send(.deadline)
      })
  }

  /// Sends `idle` whenever nothing was written for that long.
  func setKeepAlive(_ interval: Duration) {
    noteWrite()
    start(
      Task { [weak self] in
        while let next = self?.nextIdle(interval) {
          do { try await Task.sleep(until: next, clock: .continuous) } catch { return }
          guard let self else { return }
          if self.nextIdle(interval) <= .now {
            self.mailbox.send(.idle)
            self.noteWrite()
          }
        }
      })
  }

  func noteWrite() { state.withLock { $0.lastWrite = .now } }

  private func nextIdle(_ interval: Duration) -> ContinuousClock.Instant {
    state.withLock { $0.lastWrite.advanced(by: interval) }
  }

  private func start(_ task: Task<Void, Never>) {
    let isClosed = state.withLock { state in
      if !state.isClosed { state.tasks.append(task) }
      return state.isClosed
    }
    if isClosed { task.cancel() }
  }
}

extension GenerationRun {
  /// Waits until the engine has accepted all prompts, so that a refusal can still become a status. Answers what else
  /// arrived meanwhile.
  func accepted(prompts: Int) async throws(RunFailure) -> [RunEvent] {
    var waiting = prompts
    var early: [RunEvent] = []
    while waiting > 0 {
      let events = await mailbox.receive()
      if events.isEmpty { throw .disconnected }
      for event in events {
        // What follows the last acceptance belongs to the answer, a fault included.
        guard waiting > 0 else {
          early.append(event)
          continue
        }
        switch event {
        case .accepted: waiting -= 1
        case .failed(let error): throw .refused(error)
        case .disconnected: throw .disconnected
        case .shutdown: throw .refused(.shuttingDown)
        case .deadline: throw .refused(.timedOut)
        case .output, .ended: early.append(event)
        case .idle: continue
        }
      }
    }
    return early
  }

  /// Waits until every prompt's first output has come, or one will not come. Answers all events so far.
  func started(prompts: Int, after events: [RunEvent]) async throws(RunFailure) -> [RunEvent] {
    var all = events
    while true {
      var begun = Set<Int>()
      for event in all {
        switch event {
        case .output(let prompt, .started), .ended(let prompt): begun.insert(prompt)
        case .failed, .disconnected, .shutdown, .deadline: return all
        default: continue
        }
      }
      if begun.count >= prompts { return all }
      let more = await mailbox.receive()
      if more.isEmpty { throw .disconnected }
      all += more
    }
  }
}

extension RunEvent {
  /// Whether it says that keys and values of a lower precision were read.
  var hasReadLossy: Bool {
    switch self {
    case .output(_, .started(let info)): info.hasReadLossy
    case .output(_, .delta(let delta)): delta.hasReadLossy
    default: false
    }
  }
}

extension RequestError {
  /// A fault whose cause stays in the server's log.
  static let internalFault = Self(.internalError, "The server failed to answer this request; trying again may work.")
  static let shuttingDown = Self(.unavailable, "The server is shutting down.", retryAfter: 5)
  static let timedOut = Self(.timeout, "The request's deadline passed before its first token.", param: "timeout_ms")
}
