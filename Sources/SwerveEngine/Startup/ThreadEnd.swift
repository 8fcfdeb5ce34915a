import Synchronization

/// Lets tasks wait for the end of the engine's threads.
package final class ThreadEnd: Sendable {
  private struct State {
    var remaining: Int
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  private let state: Mutex<State>

  package init(threads: Int) { state = Mutex(State(remaining: threads)) }

  package func threadEnded() {
    let waiters = state.withLock { state -> [CheckedContinuation<Void, Never>] in
      state.remaining -= 1
      guard state.remaining == 0 else { return [] }
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.resume() }
  }

  package func wait() async {
    await withCheckedContinuation { continuation in
      let isOver = state.withLock { state in
        if state.remaining > 0 { state.waiters.append(continuation) }
        return state.remaining == 0
      }
      if isOver { continuation.resume() }
    }
  }
}
