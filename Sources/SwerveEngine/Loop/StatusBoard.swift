package import SwerveCore
import Synchronization

/// What other threads may see of the engine: its statistics and whether it moves. One small lock a step.
package final class StatusBoard: Sendable {
  private struct State {
    var statistics = EngineStatistics()
    var taken = 0
    var health = EngineHealth.loading
    var lastStep = EngineInstant(nanoseconds: 0)
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

  /// - Parameter taken: submitted requests that `statistics` knows of, since the start.
  package func update(statistics: EngineStatistics, taken: Int, now: EngineInstant) {
    state.withLock {
      $0.statistics = statistics
      $0.taken = taken
      $0.lastStep = now
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
  package var load: (statistics: EngineStatistics, taken: Int) { state.withLock { ($0.statistics, $0.taken) } }

  package var health: EngineHealth {
    let now = clock.now()
    return state.withLock { state in
      let hasWork = state.statistics.runningRequests + state.statistics.waitingRequests > 0
      let isStuck = hasWork && now.seconds(since: state.lastStep) > watchdogSeconds
      return state.health == .running && isStuck ? .stalled : state.health
    }
  }
}
