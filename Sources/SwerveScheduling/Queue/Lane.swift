import DequeModule

extension RequestQueue {
  /// Requests that share one counter: all of them, a tenant's or a class's.
  struct Lane {
    /// In the policy's order.
    var entries = Deque<Entry>()
    /// The tenant, where lanes are tenants'.
    var tenant: UInt64 = 0
    /// Index of its rule.
    var rule: Int32
    /// Tokens computed for it, in units over its weight. Comparable between lanes.
    var service: UInt64 = 0
    /// Counter units of a token.
    var cost: UInt64
    /// Sequences of it that hold a slot.
    var running: Int32 = 0
    /// Place in `active`; −1 = not there.
    var activePlace: Int32 = -1
    var isInHeap = false
    var isResting = false
    /// Not to be looked at again in this step.
    var isSetAside = false

    init(tenant: UInt64 = 0, rule: Int32, cost: UInt64) {
      self.tenant = tenant
      self.rule = rule
      self.cost = cost
    }
  }

  /// A lane and its counter when it was last looked at.
  struct Candidate {
    var service: UInt64
    var lane: Int32
  }

  /// [classes] the place of each: those that preempt first, then by weight, then as configured.
  static func ranks(of rules: [ServiceRule]) -> [Int32] {
    let sorted = rules.indices.sorted { a, b in
      if rules[a].preempts != rules[b].preempts { return rules[a].preempts }
      return rules[a].weight != rules[b].weight ? rules[a].weight > rules[b].weight : a < b
    }
    var ranks = [Int32](repeating: 0, count: rules.count)
    for (rank, index) in sorted.enumerated() { ranks[index] = Int32(rank) }
    return ranks
  }
}
