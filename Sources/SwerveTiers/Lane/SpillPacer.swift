/// When the next spill may start, so that fetches keep the disk.
///
/// While fetches have been asked for within the last `memory` seconds, a spill that kept the disk busy for t seconds is
/// followed by t × (1 - share) / share seconds without one: spills get `share` of the time. Without fetches they get all
/// of it. A fixed cap in bytes a second holds in either case.
package struct SpillPacer {
  /// Of the disk's time, 0 < share ≤ 1.
  package let share: Double
  /// Bytes a second; nil: no cap.
  package let bytesPerSecond: Double?
  /// Seconds for which a fetch is remembered.
  package let memory: Double
  private var lastFetch = -Double.infinity
  private var nextSpill = -Double.infinity
  private var nextByCap = -Double.infinity

  package init(share: Double, bytesPerSecond: Double?, memory: Double = 1) {
    self.share = min(max(share, 0.001), 1)
    self.bytesPerSecond = bytesPerSecond
    self.memory = memory
  }

  package mutating func fetched(now: Double) { lastFetch = now }

  package mutating func spilled(bytes: Int, began: Double, now: Double) {
    nextSpill = now + (now - began) * (1 - share) / share
    if let bytesPerSecond { nextByCap = max(nextByCap, began) + Double(bytes) / bytesPerSecond }
  }

  /// The time from which a spill may start; a time that has passed when it may at once.
  package func earliestSpill(now: Double) -> Double {
    let hasFetches = now - lastFetch < memory
    // The pause ends when the last fetch is forgotten, if not before.
    let pause = hasFetches ? min(nextSpill, lastFetch + memory) : -.infinity
    return max(pause, nextByCap)
  }
}

/// Bytes a second as an exponential average over transfers.
package struct Bandwidth: Sendable, Hashable {
  /// Nil before the first transfer.
  package private(set) var bytesPerSecond: Double?
  /// Weight of the newest transfer.
  private let weight: Double

  package init(weight: Double = 0.1) { self.weight = weight }

  package mutating func add(bytes: Int, seconds: Double) {
    guard bytes > 0, seconds > 0 else { return }
    let sample = Double(bytes) / seconds
    bytesPerSecond = bytesPerSecond.map { $0 + weight * (sample - $0) } ?? sample
  }
}
