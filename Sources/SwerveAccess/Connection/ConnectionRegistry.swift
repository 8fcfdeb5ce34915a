import NIOCore
import Synchronization

/// What a request handler can learn about the connection it answers on.
final class ConnectionWatch: Sendable {
  private struct State {
    var isClosed = false
    var nextID = 0
    var callbacks: [Int: @Sendable () -> Void] = [:]
  }

  private let state = Mutex(State())

  /// Calls `body` once when the client leaves; at once if it has left. Answers what `forget` takes.
  func onClose(_ body: @escaping @Sendable () -> Void) -> Int? {
    let id: Int? = state.withLock { state in
      guard !state.isClosed else { return nil }
      state.nextID += 1
      state.callbacks[state.nextID] = body
      return state.nextID
    }
    if id == nil { body() }
    return id
  }

  func forget(_ id: Int) { _ = state.withLock { $0.callbacks.removeValue(forKey: id) } }

  func close() {
    let callbacks = state.withLock { state in
      state.isClosed = true
      defer { state.callbacks = [:] }
      return Array(state.callbacks.values)
    }
    for callback in callbacks { callback() }
  }
}

/// The watches of all open connections, found by channel without a hop to its event loop.
final class ConnectionRegistry: Sendable {
  private let watches = Mutex<[ObjectIdentifier: ConnectionWatch]>([:])

  func watch(of channel: any Channel) -> ConnectionWatch? {
    watches.withLock { $0[ObjectIdentifier(channel as AnyObject)] }
  }

  func add(_ watch: ConnectionWatch, for channel: any Channel) {
    watches.withLock { $0[ObjectIdentifier(channel as AnyObject)] = watch }
  }

  func remove(_ channel: any Channel) {
    _ = watches.withLock { $0.removeValue(forKey: ObjectIdentifier(channel as AnyObject)) }
  }
}
