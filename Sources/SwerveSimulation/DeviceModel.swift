package import SwerveCore

/// How long steps take.
package protocol StepTimer: Sendable {
  func nanoseconds(of plan: borrowing StepPlan) -> UInt64
}

/// How long a step takes on a device: a part for every step (weights are read), one for each computed token, and one for
/// each token of context that attention reads. Measured numbers come from `swerve bench latency`.
package struct DeviceModel: StepTimer, Hashable {
  package var stepNanoseconds: UInt64 = 10_000_000
  package var tokenNanoseconds: UInt64 = 50_000
  package var contextNanoseconds: UInt64 = 20

  package init() {}

  package func nanoseconds(of plan: borrowing StepPlan) -> UInt64 {
    if plan.sequences.isEmpty { return 0 }
    var context: UInt64 = 0
    for index in 0..<plan.sequences.count {
      context += UInt64(plan.sequences[index].contextTokens + plan.sequences[index].rowCount)
    }
    return sum(
      sum(stepNanoseconds, product(UInt64(plan.tokens.count), tokenNanoseconds)), product(context, contextNanoseconds))
  }

  // Numbers of a modelled device are anybody's: beyond 64 bits they stand still at the end.

  private func product(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let (value, overflow) = a.multipliedReportingOverflow(by: b)
    return overflow ? .max : value
  }

  private func sum(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let (value, overflow) = a.addingReportingOverflow(b)
    return overflow ? .max : value
  }
}
