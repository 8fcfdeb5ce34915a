package import SwerveCore
import Synchronization

/// What other threads may see of the engine: its statistics and whether it moves. One small lock a step.
package final class StatusBoard: Sendable {
  private struct State {
    var statistics = EngineStatistics()
    var taken = Taken()
    /// Prompt tokens a second that left the queue lately.
    var admissionRate = 0.0
    var health = EngineHealth.loading
    var lastStep = EngineInstant(nanoseconds: 0)
    /// Requests handed to the engine thread, and when the first one came that it has not taken up.
    var submitted = 0
    var unseenSince = EngineInstant(nanoseconds: 0)
  }

  /// Submitted requests that the engine thread took up, since the start, and their prompt tokens.
  package struct Taken: Sendable, Hashable {
    package var requests = 0
    package var tokens = 0
    package init() {}
  }

  private let state = Mutex(State())
  private let watchdogSeconds: Double
  private let clock: EngineClock
  private let onFailure: @Sendable (String) -> Void

  package init(watchdogSeconds: Double, clock: EngineClock, onFailure: @escaping @Sendable (String) -> Void) {
    self.onFailure = onFailure
    self.watchdogSeconds = watchdogSeconds
    self.clock = clock
  }

  /// - Parameter taken: submitted requests that `statistics` knows of.
  package func update(statistics: EngineStatistics, taken: Taken, now: EngineInstant) {
    state.withLock {
      let left = (taken.tokens - statistics.waitingTokens) - ($0.taken.tokens - $0.statistics.waitingTokens)
      let seconds = now.seconds(since: $0.lastStep)
      // Follows the last two seconds or so.
      let share = min(seconds / 2, 1)
      if seconds > 0 { $0.admissionRate += (Double(left) / seconds - $0.admissionRate) * share }
      $0.statistics = statistics
      $0.taken = taken
      $0.lastStep = now
    }
  }

  /// A request is handed to the engine thread: from now on it has work, whatever its last step knew.
  package func noteSubmission() {
    let now = clock.now()
    state.withLock {
      if $0.submitted == $0.taken.requests { $0.unseenSince = now }
      $0.submitted += 1
    }
  }

  /// A step failed: the log of whoever serves shows why.
  package func record(failure: String) { onFailure(failure) }

  package func set(_ health: EngineHealth) {
    let now = clock.now()
    state.withLock {
      // Death is final: a later drain must not hide it.
      if case .dead = $0.health { return }
      $0.health = health
      $0.lastStep = now
    }
  }

  package var statistics: EngineStatistics { state.withLock { $0.statistics } }

  /// The statistics, and how many submitted requests they know of.
  package var load: (statistics: EngineStatistics, taken: Taken) { state.withLock { ($0.statistics, $0.taken) } }

  /// Seconds after which a refused client may find room: what it takes to serve half of what waits now, 1 … 60.
  package var retryAfter: Int {
    state.withLock { state in
      let waiting = Double(state.statistics.waitingTokens) / 2
      if waiting == 0 { return 1 }
      return Int(min(max(waiting / max(state.admissionRate, 1e-3), 1), 60).rounded(.up))
    }
  }

  package var health: EngineHealth {
    let now = clock.now()
    return state.withLock { state in
      let isBusy = state.statistics.runningRequests + state.statistics.waitingRequests > 0
      // An engine that was idle is not late with what has just come.
      let since = isBusy ? state.lastStep : max(state.lastStep, state.unseenSince)
      let hasWork = isBusy || state.submitted > state.taken.requests
      let isStuck = hasWork && now.seconds(since: since) > watchdogSeconds
      return state.health == .running && isStuck ? .stalled : state.health
    }
  }
}
