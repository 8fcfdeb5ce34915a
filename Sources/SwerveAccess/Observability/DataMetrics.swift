import SwerveCore

/// Data workers: what they hold and do, and the links to them. Without any there is not a series.
struct DataMetrics: Sendable {
  let registry: PrometheusRegistry

  func update(from snapshot: EngineStatistics) {
    let data = snapshot.data
    for (cause, count) in data.recoveries {
      registry.counter(
        "swerve_worker_replacements", help: "Data workers that were lost and replaced, by cause.",
        labels: [("cause", cause)]
      ).set(total: Double(count))
    }
    for (reason, count) in data.verifyFailures {
      registry.counter(
        "swerve_block_verify_failures",
        help: "Blocks, plans and messages of data workers that did not agree with what was known, and were not used.",
        labels: [("reason", reason)]
      ).set(total: Double(count))
    }
    if snapshot.resumedSequences > 0 || snapshot.groupRestarts > 0 {
      registry.counter(
        "swerve_resumptions",
        help: "Sequences whose step was lost with a worker or rank and that went on with the keys and values they had."
      ).set(total: Double(snapshot.resumedSequences))
    }
    if snapshot.groupRestarts > 0 {
      registry.counter("swerve_rank_restarts", help: "How often a group of ranks lost one and was started again.")
        .set(total: Double(snapshot.groupRestarts))
    }
    if data.workers.isEmpty { return }
    registry.gauge(
      "swerve_parameter_memory_bytes", help: "Bytes the parameter worker's device has handed out; constant after start."
    ).set(Int64(data.parameterBytes))
    registry.counter(
      "swerve_recoveries", help: "Sequences computed again because something was lost, by cause.",
      labels: [("cause", "data_worker")]
    ).set(total: Double(data.recoveredSequences + snapshot.overflow.recoveries))
    for worker in data.workers { update(worker, snapshot) }
    let busy = data.workers.reduce(0) { $0 + $1.busySeconds }
    let waited = data.workers.reduce(0) { $0 + $1.waitSeconds }
    ratio("swerve_parameter_busy_ratio", "Share of step time in which the parameter worker computed, since the start.")
      .set(snapshot.stepSeconds > 0 ? max(snapshot.stepSeconds - waited, 0) / snapshot.stepSeconds : 0)
    ratio("swerve_data_busy_ratio", "Share of step time in which data workers computed, on average, since the start.")
      .set(snapshot.stepSeconds > 0 ? busy / snapshot.stepSeconds / Double(data.workers.count) : 0)
    ratio(
      "swerve_step_overlap_ratio",
      "Share of the time that rows were with data workers in which the parameter worker computed others, since the start."
    ).set(data.overlapRatio)
    for (index, count) in data.stepsByMicroBatches.enumerated() {
      registry.counter(
        "swerve_micro_batched_steps", help: "Steps by the micro-batches that they went to data workers in.",
        labels: [("micro_batches", "\(index + 1)")]
      ).set(total: Double(count))
    }
    registry.counter(
      "swerve_partial_attention_bytes",
      help: "Running values of sequences that lie with several data workers, handed from one to the next."
    ).set(total: Double(data.handedStateBytes))
    let used = data.workers.map { Double($0.blocksUsed) }
    let mean = used.reduce(0, +) / Double(used.count)
    ratio("swerve_data_imbalance_ratio", "Blocks in use at the fullest data worker over the mean, less 1.")
      .set(mean > 0 ? (used.max() ?? 0) / mean - 1 : 0)
  }

  private func ratio(_ name: String, _ help: String) -> GaugeMetric { registry.gauge(name, help: help) }

  private func update(_ worker: DataStatistics.Worker, _ snapshot: EngineStatistics) {
    let name = [("worker", worker.name)]
    let role = name + [("role", "data")]
    registry.memory(role, "parameters").set(0 as Int64)
    registry.memory(role, "kv").set(Int64(worker.kvBytes))
    registry.memory(role, "scratch").set(Int64(worker.scratchBytes))
    if !worker.device.isEmpty {
      registry.gauge(
        "swerve_worker_info", help: "Always 1; the labels say where a worker runs.",
        labels: role + [("device", worker.device)]
      ).set(1.0)
    }
    registry.counter("swerve_step_seconds", help: "Seconds that workers spent in steps.", labels: name)
      .set(total: worker.busySeconds)
    for (state, count) in [("used", worker.blocksUsed), ("free", max(worker.blocksTotal - worker.blocksUsed, 0))] {
      registry.gauge(
        "swerve_kv_blocks",
        help: "KV blocks by tier and state: used by sequences, cached for the next one that begins alike, free.",
        labels: name + [("tier", "device"), ("state", state)]
      ).set(Int64(count))
    }
    link(worker)
  }

  private func link(_ worker: DataStatistics.Worker) {
    let peer = [("peer", worker.name)]
    for (direction, bytes) in [("sent", worker.sentBytes), ("received", worker.receivedBytes)] {
      registry.counter(
        "swerve_link_bytes", help: "Bytes of messages to and from a data worker.",
        labels: peer + [("direction", direction)]
      ).set(total: Double(bytes))
    }
    for (phase, seconds) in [("post", worker.postSeconds), ("wait", worker.waitSeconds), ("done", worker.doneSeconds)] {
      registry.counter(
        "swerve_link_seconds", help: "Seconds of the parameter worker at a link: writing, waiting, reading.",
        labels: peer + [("phase", phase)]
      ).set(total: seconds)
    }
    registry.counter("swerve_link_exchanges", help: "Layers that a data worker answered.", labels: peer)
      .set(total: Double(worker.exchanges))
    for (quantile, seconds) in [("0.5", worker.medianDelay), ("0.99", worker.highDelay)] {
      registry.gauge(
        "swerve_link_delay_seconds", help: "What an exchange takes beyond the data worker's computing.",
        labels: peer + [("quantile", quantile)]
      ).set(seconds)
    }
  }
}
