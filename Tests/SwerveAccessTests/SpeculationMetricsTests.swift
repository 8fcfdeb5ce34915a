import SwerveAccess
import SwerveCore
import Testing

@Suite struct SpeculationMetricsTests {
  private var snapshot: EngineStatistics {
    var statistics = EngineStatistics()
    statistics.draftLimit = 3
    statistics.drafts = 10
    statistics.draftTokens = 30
    statistics.acceptedTokens = 12
    statistics.acceptedByPosition[0] = 7
    statistics.acceptedByPosition[1] = 4
    statistics.acceptedByPosition[2] = 1
    return statistics
  }

  @Test func draftsAreCounted() throws {
    let registry = PrometheusRegistry()
    let metrics = EngineMetrics(registry: registry, modelName: "m")
    metrics.update(from: EngineStatistics())
    #expect(registry.render(.text).contains(#"vllm:spec_decode_num_drafts_total{model_name="m",engine="0"} 0.0"#))
    #expect(!registry.render(.text).contains("position="))
    for _ in 0..<2 { metrics.update(from: snapshot) }
    let page = registry.render(.text)
    for (name, value) in [("drafts", 10), ("draft_tokens", 30), ("accepted_tokens", 12)] {
      #expect(page.contains("vllm:spec_decode_num_\(name)_total{model_name=\"m\",engine=\"0\"} \(value).0"), "\(name)")
    }
    for (place, value) in [7, 4, 1].enumerated() {
      let labels = "{model_name=\"m\",engine=\"0\",position=\"\(place)\"}"
      #expect(page.contains("vllm:spec_decode_num_accepted_tokens_per_pos_total\(labels) \(value).0"))
    }
    #expect(!page.contains(#"position="3""#))
  }

  @Test func theLogLineHasItsWording() {
    #expect(SpeculationLine.text(EngineStatistics(), since: EngineStatistics(), seconds: 10) == nil)
    #expect(SpeculationLine.text(snapshot, since: snapshot, seconds: 10) == nil)
    #expect(
      SpeculationLine.text(snapshot, since: EngineStatistics(), seconds: 10)
        == "SpecDecoding metrics: Mean acceptance length: 2.20, Accepted throughput: 1.20 tokens/s, "
        + "Drafted throughput: 3.00 tokens/s, Accepted: 12 tokens, Drafted: 30 tokens, "
        + "Per-position acceptance rate: 0.700, 0.400, 0.100, Avg Draft acceptance rate: 40.0%")
  }
}
