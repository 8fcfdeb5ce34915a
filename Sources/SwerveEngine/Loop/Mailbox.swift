// The engine's loop and the two threads around it: the engine thread (schedules and computes) and the publisher thread
// (turns tokens into text and feeds the clients' streams). This room must not parse requests nor touch HTTP.
// Start with EngineLoop.step().

import Dispatch
import Synchronization

/// Messages from any number of threads to one thread, taken all at once.
///
/// `post` never waits for the receiver. In steady state neither side allocates: the receiver hands its emptied array
/// back with every `take`, and the two arrays swap places. What is posted between `hold` and `release` is taken at once.
package final class Mailbox<Message: Sendable>: Sendable {
  private struct State {
    var messages: [Message] = []
    var isWaiting = false
    var holds = 0

    var hasSome: Bool { !messages.isEmpty && holds == 0 }
  }

  private let state = Mutex(State())
  private let arrival = DispatchSemaphore(value: 0)

  package init(capacity: Int = 64) {
    state.withLock { $0.messages.reserveCapacity(capacity) }
  }

  package func post(_ message: sending Message) {
    let wake = state.withLock { state in
      state.messages.append(message)
      return Self.wakes(&state)
    }
    if wake { arrival.signal() }
  }

  /// Until as many calls of `release`, the receiver finds nothing here.
  package func hold() { state.withLock { $0.holds += 1 } }

  package func release() {
    let wake = state.withLock { state in
      precondition(state.holds > 0, "a mailbox is released that nobody holds")
      state.holds -= 1
      return Self.wakes(&state)
    }
    if wake { arrival.signal() }
  }

  /// Whether the receiver waits and has something now; it is told once.
  private static func wakes(_ state: inout State) -> Bool {
    guard state.isWaiting && state.hasSome else { return false }
    state.isWaiting = false
    return true
  }

  /// The same, waiting at most so many seconds.
  package func take(into messages: inout [Message], within seconds: Double) {
    messages.removeAll(keepingCapacity: true)
    let deadline = DispatchTime.now() + seconds
    while true {
      if takeNow(into: &messages, mayWait: DispatchTime.now() < deadline) { return }
      // A signal that came too late wakes the next wait for nothing, which then looks and waits again.
      _ = arrival.wait(timeout: deadline)
    }
  }

  /// Moves all messages into `messages` (emptied first). Waits for the first one when `waits`; otherwise answers with
  /// none when there is none.
  package func take(into messages: inout [Message], waits: Bool) {
    messages.removeAll(keepingCapacity: true)
    while true {
      if takeNow(into: &messages, mayWait: waits) { return }
      arrival.wait()
    }
  }

  /// Takes what there is. False where that is nothing and the receiver may wait: it is told then.
  private func takeNow(into messages: inout [Message], mayWait: Bool) -> Bool {
    state.withLock { state in
      let hasSome = state.hasSome
      if hasSome { swap(&state.messages, &messages) }
      state.isWaiting = !hasSome && mayWait
      return !state.isWaiting
    }
  }
}
