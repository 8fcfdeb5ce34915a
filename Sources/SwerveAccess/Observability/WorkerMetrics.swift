import SwerveCore

/// What each worker holds and does: memory by kind, KV blocks by tier, sequences by state. `swerve top` shows them.
///
/// `g0.0` has the parameters, and keys and values too where there are no data workers; those are `DataMetrics`. Series for
/// what does not exist (lower tiers, links) are left out, so that views show no rows for it.
struct WorkerMetrics: Sendable {
  private let registry: PrometheusRegistry
  private let used, cached, free, blockBytes: GaugeMetric
  private let running, parked, waiting, recovering: GaugeMetric
  private let bytesRead, stepSeconds: CounterMetric

  static let worker = [("worker", "g0.0")]

  /// Who has the tiers below the device: this worker, or where keys and values are with data workers, the host, whose
  /// memory and files they all share.
  static func keeper(_ snapshot: EngineStatistics) -> [(String, String)] {
    snapshot.data.workers.isEmpty ? worker : [("worker", "host")]
  }

  init(registry: PrometheusRegistry) {
    self.registry = registry
    used = registry.blocks(on: "device", state: "used")
    cached = registry.blocks(on: "device", state: "cached")
    free = registry.blocks(on: "device", state: "free")
    blockBytes = registry.blockBytes(on: "device")
    func sequences(_ state: String) -> GaugeMetric {
      registry.gauge(
        "swerve_sequences",
        help:
          "Sequences by state. Parked ones have started and wait with their blocks kept. Waiting counts a request of "
          + "which no choice has started once, however many it has.",
        labels: [("state", state)])
    }
    running = sequences("running")
    parked = sequences("parked")
    waiting = sequences("waiting")
    recovering = sequences("recovering")
    bytesRead = registry.bytesRead(from: "device")
    stepSeconds = registry.counter(
      "swerve_step_seconds", help: "Seconds that workers spent in steps.", labels: Self.worker)
  }

  func update(from snapshot: EngineStatistics) {
    let isUnified = snapshot.data.workers.isEmpty
    let role = Self.worker + [("role", isUnified ? "unified" : "parameter")]
    registry.memory(role, "parameters").set(Int64(snapshot.weightBytes))
    registry.memory(role, "kv").set(Int64(isUnified ? snapshot.kvBytes : 0))
    registry.memory(role, "scratch").set(Int64(snapshot.scratchBytes))
    // Data workers report their own.
    used.set(Int64(isUnified ? snapshot.blocksUsed : 0))
    cached.set(Int64(isUnified ? snapshot.blocksCached : 0))
    free.set(Int64(isUnified ? snapshot.blocksTotal - snapshot.blocksUsed - snapshot.blocksCached : 0))
    blockBytes.set(Int64(snapshot.kvBytes / max(snapshot.blocksTotal, 1)))
    DataMetrics(registry: registry).update(from: snapshot)
    if !isUnified, let tiers = snapshot.tiers {
      let host = Self.keeper(snapshot) + [("role", "tiers")]
      registry.memory(host, "parameters").set(0 as Int64)
      registry.memory(host, "kv").set(Int64(tiers.hostBlocksUsed * tiers.hostBlockBytes))
    }
    JournalMetrics(registry: registry).update(from: snapshot)
    RankMetrics(registry: registry).update(from: snapshot)
    running.set(Int64(snapshot.runningSequences))
    parked.set(Int64(snapshot.overflow.parkedSequences + snapshot.keptSequences))
    waiting.set(Int64(snapshot.waitingSequences - snapshot.keptSequences))
    bytesRead.set(total: Double(snapshot.kvReadBytes))
    stepSeconds.set(total: max(snapshot.stepSeconds - snapshot.data.workers.reduce(0) { $0 + $1.waitSeconds }, 0))
    if snapshot.device.isEmpty { return }
    registry.gauge(
      "swerve_worker_info", help: "Always 1; the labels say where a worker runs.",
      labels: role + [("device", snapshot.device)]
    ).set(1.0)
  }
}

/// Families that have a series for each tier, or worker.
extension PrometheusRegistry {
  func memory(_ role: [(String, String)], _ kind: String) -> GaugeMetric {
    gauge(
      "swerve_worker_memory_bytes", help: "Bytes that a worker holds, by what they are for.",
      labels: role + [("kind", kind)])
  }

  func blocks(
    on tier: String, state: String, of worker: [(String, String)] = WorkerMetrics.worker
  ) -> GaugeMetric {
    gauge(
      "swerve_kv_blocks",
      help: "KV blocks by tier and state: used by sequences, cached for the next one that begins alike, free.",
      labels: worker + [("tier", tier), ("state", state)])
  }

  func blockBytes(on tier: String) -> GaugeMetric {
    gauge("swerve_kv_block_bytes", help: "Bytes of one KV block over all layers, by tier.", labels: [("tier", tier)])
  }

  func bytesRead(from tier: String) -> CounterMetric {
    counter(
      "swerve_kv_bytes_read",
      help: "Bytes of keys and values read from a tier: by each step from the device, by copies from others.",
      labels: [("tier", tier)])
  }
}
