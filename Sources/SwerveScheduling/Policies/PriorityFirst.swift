package import SwerveCore

/// Lower `priority` first, then the order of arrival; the least urgent sequence is preempted first.
///
/// Strict: a request starves as long as more urgent ones keep the machine busy. Where that must not happen, `slo` gives
/// every class its share.
package struct PriorityFirst: SchedulingPolicy {
  package init() {}

  package func precedes(_ a: SchedulingKey, _ b: SchedulingKey) -> Bool {
    (a.priority, a.arrival) < (b.priority, b.arrival)
  }
}
