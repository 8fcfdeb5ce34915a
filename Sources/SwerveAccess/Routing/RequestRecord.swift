import Logging
import SwerveCore
import Synchronization

/// One HTTP exchange for the access log and the `http_*` metrics. Written once, when the last byte was handed over.
final class RequestRecord: Sendable {
  private struct State {
    var handler = "none"
    var requestBytes = 0
    var isStreaming = false
    var isFinished = false
  }

  let method: String
  let path: String
  private let remote: String
  private let start = ContinuousClock.now
  private let server: ServerState
  private let state = Mutex(State())

  init(method: String, path: String, remote: String, server: ServerState) {
    self.method = method
    self.path = path
    self.remote = remote
    self.server = server
  }

  func note(handler: String) { state.withLock { $0.handler = handler } }
  func note(requestBytes: Int) { state.withLock { $0.requestBytes = requestBytes } }

  /// The handler's stream will call `finish` itself.
  func noteStreaming() { state.withLock { $0.isStreaming = true } }
  var isStreaming: Bool { state.withLock(\.isStreaming) }

  /// Seconds since the request's head arrived.
  var seconds: Double { (ContinuousClock.now - start).seconds }

  func finish(status: Int, reason: String, responseBytes: Int) {
    let state: State? = state.withLock { state in
      guard !state.isFinished else { return nil }
      state.isFinished = true
      return state
    }
    guard let state else { return }
    server.metrics.http.record(
      handler: state.handler, method: method, status: status, seconds: seconds, requestBytes: state.requestBytes,
      responseBytes: responseBytes)
    let configuration = server.configuration
    guard configuration.logsAccess, !configuration.quietEndpoints.contains(path) else { return }
    server.accessLogger.info("\(remote) - \"\(method) \(LogText.escaped(path)) HTTP/1.1\" \(status) \(reason)")
  }
}

extension Duration {
  var seconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }
}
