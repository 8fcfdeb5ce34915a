import SwerveCore
import Synchronization

/// What other threads may see of the engine: its statistics and whether it moves. One small lock a step.
final class StatusBoard: Sendable {
  private struct State {
    var statistics = EngineStatistics()
    var health = EngineHealth.loading
    var lastStep = EngineInstant(nanoseconds: 0)
  }

  private let state = Mutex(State())
  private let watchdogSeconds: Double
  private let clock: EngineClock
  private let onFailure: @Sendable (String) -> Void

  init(watchdogSeconds: Double, clock: EngineClock, onFailure: @escaping @Sendable (String) -> Void) {
    self.onFailure = onFailure
    self.watchdogSeconds = watchdogSeconds
    self.clock = clock
  }

  func update(statistics: EngineStatistics, now: EngineInstant) {
    state.withLock {
      $0.statistics = statistics
      $0.lastStep = now
    }
  }

  /// A step failed: the log of whoever serves shows why.
  func record(failure: String) { onFailure(failure) }

  func set(_ health: EngineHealth) {
    let now = clock.now()
    state.withLock {
      // Death is final: a later drain must not hide it.
      if case .dead = $0.health { return }
      $0.health = health
      $0.lastStep = now
    }
  }

  var statistics: EngineStatistics { state.withLock { $0.statistics } }

  var health: EngineHealth {
    let now = clock.now()
    return state.withLock { state in
      let hasWork = state.statistics.runningRequests + state.statistics.waitingRequests > 0
      let isStuck = hasWork && now.seconds(since: state.lastStep) > watchdogSeconds
      return state.health == .running && isStuck ? .stalled : state.health
    }
  }
}
