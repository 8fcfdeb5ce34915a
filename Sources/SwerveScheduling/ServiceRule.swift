/// A service class in numbers: what the scheduler knows of it. Names, tenants and keys are others' business.
package struct ServiceRule: Sendable, Hashable {
  /// Share of the machine against other classes (or tenants). > 0
  package var weight = 1.0
  /// Nanoseconds from arrival to the first token that the class was promised.
  package var firstTokenTarget: UInt64?
  /// Nanoseconds between tokens that the class was promised.
  package var tokenTarget: UInt64?
  /// Most of the slots, and of the blocks at admission, that the class may hold. (0, 1]
  package var maxShare = 1.0
  /// Whether sequences of lower classes give their place to this one's.
  package var preempts = false

  package init() {}

  /// What a token of this class adds to its counter: `RequestQueue.unit` divided by the weight, at least 1.
  var tokenCost: UInt64 { UInt64(max(1, (Double(RequestQueue.unit) / weight).rounded())) }

  /// All problems, one sentence each.
  func problems(_ index: Int) -> [String] {
    var found: [String] = []
    if !(weight >= 1e-3 && weight <= 1e3) {
      found.append("Service class \(index): the weight must be between 0.001 and 1000, not \(weight).")
    }
    if !(maxShare > 0 && maxShare <= 1) {
      found.append("Service class \(index): the share must be greater than 0 and at most 1, not \(maxShare).")
    }
    return found
  }
}
