import Synchronization

/// A queue from many senders to one receiver that takes everything pending at once.
///
/// The receiver pays one wake-up for a whole batch, so a client that reads slowly catches up in one write. Unbounded:
/// what may be pending is bounded by each request's own tokens. `send` never waits; O(1) amortised.
final class Mailbox<Element: Sendable>: Sendable {
  private struct State {
    var pending: [Element] = []
    var waiter: CheckedContinuation<Void, Never>?
  }

  private let state = Mutex(State())

  func send(_ element: Element) {
    let waiter = state.withLock { state in
      state.pending.append(element)
      return state.waiter.take()
    }
    waiter?.resume()
  }

  /// Everything sent since the last call, in order; waits until there is something. Empty only when the calling task
  /// was cancelled. One receiver at a time.
  func receive() async -> [Element] {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isReady = state.withLock { state in
          guard state.pending.isEmpty, !Task.isCancelled else { return true }
          state.waiter = continuation
          return false
        }
        if isReady { continuation.resume() }
      }
    } onCancel: {
      state.withLock { $0.waiter.take() }?.resume()
    }
    return state.withLock { state in
      defer { state.pending.removeAll(keepingCapacity: false) }
      return state.pending
    }
  }
}
