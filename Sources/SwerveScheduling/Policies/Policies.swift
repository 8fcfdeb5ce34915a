// Orders in which requests are served: one file a policy.
// A policy compares two keys; what fits a step and what a step is worth is the scheduler's business, and how lanes share
// the machine is the queue's. Start with FirstComeFirstServed, then FairShare for lanes.

package import SwerveCore

/// A policy whose requests wait in several lanes that share the tokens the machine computes.
package protocol SharingPolicy: SchedulingPolicy {
  var sharing: Sharing { get }
}

/// Which requests share a lane.
package enum Sharing: Sendable, Hashable {
  /// All of them: the policy's order is the order.
  case none
  /// Those of one tenant. Lanes are served in proportion to their weights.
  case tenants
  /// Those of one service class. Lanes are served in proportion to their weights; within that, deadlines decide.
  case classes
}

/// Every policy by name.
package enum Policies {
  /// What `--scheduling-policy` names, in the order of help.
  package static let all: [(name: String, policy: any SchedulingPolicy)] = [
    ("fcfs", FirstComeFirstServed()), ("priority", PriorityFirst()), ("fair", FairShare()), ("slo", ServiceLevels()),
  ]

  /// What `--scheduler-cls` names: orders beyond the four. A new one is a file beside this one and a line here; programs
  /// that use the library hand theirs to `EngineConfiguration.customPolicy`.
  package static let extensions: [(name: String, policy: any SchedulingPolicy)] = [
    ("shortest-first", ShortestFirst())
  ]

  package static func named(_ name: String) -> (any SchedulingPolicy)? { all.first { $0.name == name }?.policy }

  package static func extensionNamed(_ name: String) -> (any SchedulingPolicy)? {
    extensions.first { $0.name == name }?.policy
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
