package import SwerveCore

/// Short prompts first, within bounds: each prompt token counts like `patience` nanoseconds of waiting, so a prompt of
/// 1,000 tokens lets pass whatever is short and came up to a second later, and nothing after that.
///
/// The example of a policy of one's own (`--scheduler-cls shortest-first`): a fixed rank per request, no state, and nobody
/// starves, because what came later than arrival + tokens × patience goes behind.
package struct ShortestFirst: SchedulingPolicy {
  /// Nanoseconds per prompt token.
  package var patience: UInt64

  package init(patience: UInt64 = 1_000_000) { self.patience = patience }

  package func precedes(_ a: SchedulingKey, _ b: SchedulingKey) -> Bool { due(a) < due(b) }

  private func due(_ key: SchedulingKey) -> UInt64 {
    let (wait, isFar) = UInt64(key.promptTokens).multipliedReportingOverflow(by: patience)
    let (due, isFarther) = key.arrival.addingReportingOverflow(wait)
    return isFar || isFarther ? .max : due
  }
}
