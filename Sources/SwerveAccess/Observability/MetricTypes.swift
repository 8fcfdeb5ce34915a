import Metrics
import Synchronization

/// A total that only grows. Reading and adding take a lock for nanoseconds.
package final class CounterMetric: CounterHandler, FloatingPointCounterHandler, Sendable {
  private let total = Mutex(0.0)

  package var value: Double { total.withLock { $0 } }
  package func increment() { increment(by: 1.0) }
  package func increment(by amount: Double) { total.withLock { $0 += max(0, amount) } }
  package func increment(by amount: Int64) { increment(by: Double(amount)) }
  package func reset() { total.withLock { $0 = 0 } }

  /// Takes over a total that is counted elsewhere.
  func set(total value: Double) { total.withLock { $0 = max($0, value) } }
}

/// A value that goes up and down.
package final class GaugeMetric: MeterHandler, RecorderHandler, Sendable {
  private let current = Mutex(0.0)

  package var value: Double { current.withLock { $0 } }
  package func set(_ value: Double) { current.withLock { $0 = value } }
  package func set(_ value: Int64) { set(Double(value)) }
  package func increment(by amount: Double) { current.withLock { $0 += amount } }
  package func decrement(by amount: Double) { current.withLock { $0 -= amount } }
  package func record(_ value: Int64) { set(Double(value)) }
  package func record(_ value: Double) { set(value) }
}

/// Observations counted by upper bound.
package final class HistogramMetric: RecorderHandler, TimerHandler, Sendable {
  struct Snapshot: Sendable {
    /// Ascending, without the implied +Inf.
    var bounds: [Double]
    /// Observations per bucket, not cumulative; one more than bounds.
    var counts: [Int]
    var sum = 0.0

    init(bounds: [Double]) {
      self.bounds = bounds
      counts = Array(repeating: 0, count: bounds.count + 1)
    }
  }

  private let state: Mutex<Snapshot>

  init(bounds: [Double]) { state = Mutex(Snapshot(bounds: bounds)) }

  var snapshot: Snapshot { state.withLock { $0 } }

  package func observe(_ value: Double) {
    guard value.isFinite else { return }
    state.withLock { state in
      // A few dozen bounds: a binary search would not be faster to read or to run.
      let place = state.bounds.firstIndex { value <= $0 } ?? state.bounds.count
      state.counts[place] += 1
      state.sum += value
    }
  }

  package func record(_ value: Int64) { observe(Double(value)) }
  package func record(_ value: Double) { observe(value) }
  /// Timers of the facade are exposed in seconds.
  package func recordNanoseconds(_ duration: Int64) { observe(Double(duration) / 1e9) }

  /// Takes over observations that are counted elsewhere, for the same bounds.
  func set(counts: [Int], sum: Double) {
    state.withLock { state in
      guard counts.count == state.counts.count else { return }
      state.counts = counts
      state.sum = sum
    }
  }

  /// Other bounds, as long as nothing was observed.
  func rebound(_ bounds: [Double]) {
    state.withLock { state in
      if state.counts.allSatisfy({ $0 == 0 }) { state = Snapshot(bounds: bounds) }
    }
  }
}
