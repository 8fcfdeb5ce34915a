package import SwerveCore

/// What speculation gained, in the wording that log readers know.
package enum SpeculationLine {
  /// The line for what happened between two snapshots; nil when nothing was drafted.
  package static func text(
    _ now: EngineStatistics, since previous: EngineStatistics, seconds: Double
  ) -> String? {
    let drafts = now.drafts - previous.drafts
    let drafted = now.draftTokens - previous.draftTokens
    let accepted = now.acceptedTokens - previous.acceptedTokens
    guard drafts > 0, drafted > 0 else { return nil }
    func fixed(_ value: Double, _ decimals: Int) -> String { Decimals.fixed(value, decimals) }
    func rate(_ count: Int) -> String { fixed(seconds > 0 ? Double(count) / seconds : 0, 2) }
    let places = (0..<min(now.draftLimit, now.acceptedByPosition.scalarCount)).map { place in
      fixed(Double(now.acceptedByPosition[place] - previous.acceptedByPosition[place]) / Double(drafts), 3)
    }
    return """
      SpecDecoding metrics: Mean acceptance length: \(fixed(1 + Double(accepted) / Double(drafts), 2)), \
      Accepted throughput: \(rate(accepted)) tokens/s, Drafted throughput: \(rate(drafted)) tokens/s, \
      Accepted: \(accepted) tokens, Drafted: \(drafted) tokens, \
      Per-position acceptance rate: \(places.joined(separator: ", ")), \
      Avg Draft acceptance rate: \(fixed(100 * Double(accepted) / Double(drafted), 1))%
      """
  }
}
