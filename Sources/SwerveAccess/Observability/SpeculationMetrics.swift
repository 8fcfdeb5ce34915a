import SwerveCore

/// Families of speculative decoding, read from the engine's snapshot.
struct SpeculationMetrics: Sendable {
  private let make: MetricFactory
  private let drafts, draftTokens, acceptedTokens: CounterMetric

  init(_ make: MetricFactory) {
    self.make = make
    drafts = make.counter("vllm:spec_decode_num_drafts", "Steps of a sequence that had drafted tokens.")
    draftTokens = make.counter("vllm:spec_decode_num_draft_tokens", "Tokens drafted.")
    acceptedTokens = make.counter("vllm:spec_decode_num_accepted_tokens", "Drafted tokens that were accepted.")
  }

  /// The places of a draft have series once an engine that speculates was seen.
  func update(from snapshot: EngineStatistics) {
    drafts.set(total: Double(snapshot.drafts))
    draftTokens.set(total: Double(snapshot.draftTokens))
    acceptedTokens.set(total: Double(snapshot.acceptedTokens))
    for place in 0..<min(snapshot.draftLimit, snapshot.acceptedByPosition.scalarCount) {
      make.counter(
        "vllm:spec_decode_num_accepted_tokens_per_pos", "Accepted tokens by their place among the drafted ones.",
        [("position", String(place))]
      ).set(total: Double(snapshot.acceptedByPosition[place]))
    }
  }
}
