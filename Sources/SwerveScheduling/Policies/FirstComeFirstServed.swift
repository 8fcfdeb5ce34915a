package import SwerveCore

/// Requests in the order they arrived. Nobody starves: whoever is first is never preempted for another and gets its
/// blocks before anyone who came later.
package struct FirstComeFirstServed: SchedulingPolicy {
  package init() {}

  package func precedes(_ a: SchedulingKey, _ b: SchedulingKey) -> Bool { a.arrival < b.arrival }
}
