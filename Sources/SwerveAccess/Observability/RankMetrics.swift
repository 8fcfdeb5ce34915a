import SwerveCore

/// What the ranks of a model hold and told each other, as each said last. With one rank there is not a series.
struct RankMetrics: Sendable {
  let registry: PrometheusRegistry

  func update(from snapshot: EngineStatistics) {
    guard let traffic = snapshot.ranks else { return }
    registry.counter("swerve_rank_plans", help: "Step plans that rank 0 sent to all others.")
      .set(total: Double(traffic.plans))
    for (index, rank) in traffic.ranks.enumerated() {
      let worker = [("worker", "g0.\(index)")]
      for (kind, bytes) in [("kv", rank.kvBytes), ("other", rank.memoryBytes - rank.kvBytes)] {
        registry.gauge(
          "swerve_rank_memory_bytes",
          help: "Bytes a rank's device has handed out: for keys and values, and for weights and activations.",
          labels: worker + [("kind", kind)]
        ).set(Int64(bytes))
      }
      for (kind, bytes) in [("sums", rank.tensorBytes), ("rows", rank.stageBytes), ("data", rank.dataBytes)] {
        registry.counter(
          "swerve_rank_bytes",
          help: "Bytes of sums a rank sent, of rows it got from the stage before, to and from its data workers.",
          labels: worker + [("kind", kind)]
        ).set(total: Double(bytes))
      }
    }
  }
}
