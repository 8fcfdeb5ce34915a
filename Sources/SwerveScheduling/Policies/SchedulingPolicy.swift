// Orders in which requests are served: one file a policy.
// A policy compares two keys and decides nothing else: what fits a step and who is preempted is the scheduler's.
// Start with FirstComeFirstServed.

/// An order of requests. It decides who is admitted first, whose prompt is computed first and, read backwards, who is
/// preempted first.
///
/// `precedes` must be a strict weak order and must not change its answer for two keys while both are scheduled. Keys
/// that it holds equal are ordered by when they were added, then by choice. It is asked when a sequence enters the
/// queue or a slot, never in a plain decode step.
package protocol SchedulingPolicy: Sendable {
  func precedes(_ a: SchedulingKey, _ b: SchedulingKey) -> Bool
}

/// What a policy may look at.
package struct SchedulingKey: Sendable, Hashable {
  /// Lower runs earlier.
  package var priority: Int
  /// When the request came, on its submitter's clock.
  package var arrival: UInt64
  /// Counts the requests as they were added. Unique.
  package var serial: UInt64
  /// 0 ..< n
  package var choice: Int32

  package init(priority: Int, arrival: UInt64, serial: UInt64, choice: Int32) {
    self.priority = priority
    self.arrival = arrival
    self.serial = serial
    self.choice = choice
  }
}

extension SchedulingPolicy {
  /// The policy's order made total.
  func isBefore(_ a: SchedulingKey, _ b: SchedulingKey) -> Bool {
    if precedes(a, b) { return true }
    if precedes(b, a) { return false }
    return (a.serial, a.choice) < (b.serial, b.choice)
  }
}
