import SwerveAccess
import SwerveCore
import Testing

@Suite struct RankMetricsTests {
  private var statistics: EngineStatistics {
    var statistics = EngineStatistics()
    var traffic = RankTraffic()
    traffic.plans = 12
    var first = RankTraffic.Rank()
    first.memoryBytes = 1000
    first.kvBytes = 400
    first.stageBytes = 64
    var second = first
    second.stageBytes = 0
    second.dataBytes = 77
    traffic.ranks = [first, second]
    statistics.ranks = traffic
    var gather = GatherTraffic()
    gather.readBytes = 900
    gather.fetchedBytes = 600
    statistics.gather = gather
    return statistics
  }

  @Test func whatRanksHoldAndMovedIsThere() {
    let registry = PrometheusRegistry()
    let metrics = EngineMetrics(registry: registry, modelName: "m")
    metrics.update(from: EngineStatistics())
    #expect(!registry.render(.text).contains("swerve_rank_"))
    metrics.update(from: statistics)
    let page = registry.render(.text)
    for line in [
      "swerve_rank_plans_total 12.0", #"swerve_rank_memory_bytes{worker="g0.1",kind="kv"} 400.0"#,
      #"swerve_rank_memory_bytes{worker="g0.0",kind="other"} 600.0"#,
      #"swerve_rank_bytes_total{worker="g0.0",kind="rows"} 64.0"#,
      #"swerve_rank_bytes_total{worker="g0.1",kind="data"} 77.0"#,
      #"swerve_gather_fetched_bytes_total{worker="g0.0"} 600.0"#,
    ] {
      #expect(page.contains(line), "\(line)")
    }
  }
}
