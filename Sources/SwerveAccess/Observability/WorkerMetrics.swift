import SwerveCore

/// What each worker holds and does: memory by kind, KV blocks by tier, sequences by state. `swerve top` shows them.
///
/// One worker exists, `g0.0`, with both roles; its one tier is its device. A family for what does not exist (lower tiers,
/// links) is left out, so that views show no rows for it.
struct WorkerMetrics: Sendable {
  private let registry: PrometheusRegistry
  private let parameters, kv, scratch: GaugeMetric
  private let used, cached, free, blockBytes: GaugeMetric
  private let running, parked, waiting, recovering: GaugeMetric
  private let bytesRead, stepSeconds: CounterMetric

  private static let worker = [("worker", "g0.0")]
  private static let role = worker + [("role", "unified")]

  init(registry: PrometheusRegistry) {
    self.registry = registry
    func memory(_ kind: String) -> GaugeMetric {
      registry.gauge(
        "swerve_worker_memory_bytes", help: "Bytes that a worker holds, by what they are for.",
        labels: Self.role + [("kind", kind)])
    }
    parameters = memory("parameters")
    kv = memory("kv")
    scratch = memory("scratch")
    func blocks(_ state: String) -> GaugeMetric {
      registry.gauge(
        "swerve_kv_blocks",
        help: "KV blocks by tier and state: used by sequences, cached for the next one that begins alike, free.",
        labels: Self.worker + [("tier", "device"), ("state", state)])
    }
    used = blocks("used")
    cached = blocks("cached")
    free = blocks("free")
    blockBytes = registry.gauge(
      "swerve_kv_block_bytes", help: "Bytes of one KV block over all layers, by tier.", labels: [("tier", "device")])
    func sequences(_ state: String) -> GaugeMetric {
      registry.gauge(
        "swerve_sequences",
        help: "Sequences by state. Waiting counts a request of which no choice has started once, however many it has.",
        labels: [("state", state)])
    }
    running = sequences("running")
    parked = sequences("parked")
    waiting = sequences("waiting")
    recovering = sequences("recovering")
    bytesRead = registry.counter(
      "swerve_kv_bytes_read", help: "Bytes of keys and values of the sequences of each step, by tier.",
      labels: [("tier", "device")])
    stepSeconds = registry.counter(
      "swerve_step_seconds", help: "Seconds that workers spent in steps.", labels: Self.worker)
  }

  func update(from snapshot: EngineStatistics) {
    parameters.set(Int64(snapshot.weightBytes))
    kv.set(Int64(snapshot.kvBytes))
    scratch.set(Int64(snapshot.scratchBytes))
    used.set(Int64(snapshot.blocksUsed))
    cached.set(Int64(snapshot.blocksCached))
    free.set(Int64(snapshot.blocksTotal - snapshot.blocksUsed - snapshot.blocksCached))
    blockBytes.set(Int64(snapshot.kvBytes / max(snapshot.blocksTotal, 1)))
    running.set(Int64(snapshot.runningSequences))
    waiting.set(Int64(snapshot.waitingSequences))
    bytesRead.set(total: Double(snapshot.kvReadBytes))
    stepSeconds.set(total: snapshot.stepSeconds)
    if snapshot.device.isEmpty { return }
    registry.gauge(
      "swerve_worker_info", help: "Always 1; the labels say where a worker runs.",
      labels: Self.role + [("device", snapshot.device)]
    ).set(1.0)
  }
}
