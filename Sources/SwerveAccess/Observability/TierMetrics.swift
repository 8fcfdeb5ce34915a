import SwerveCore

/// Families of the KV tiers below the device, read from the engine's snapshot.
struct TierMetrics: Sendable {
  private let make: MetricFactory
  private let cachedOnHost, cachedOnDisk, queries, hits: CounterMetric
  private let loadBytes, storeBytes, loadTime, storeTime, failures: CounterMetric
  private let loadSize, storeSize, lookup, arrival, hostReload, diskReload: HistogramMetric
  private let hostUsage: GaugeMetric
  private let swapped, recomputed, swapOut, swapIn, lossy: CounterMetric

  init(_ make: MetricFactory) {
    self.make = make
    let tierHelp = "Prompt tokens found in a cache, by tier."
    cachedOnHost = make.counter("vllm:prompt_tokens_cached_by_source", tierHelp, [("source", "host")])
    cachedOnDisk = make.counter("vllm:prompt_tokens_cached_by_source", tierHelp, [("source", "disk")])
    queries = make.counter(
      "vllm:external_prefix_cache_queries", "Prompt tokens looked up below the device and at other engines.")
    hits = make.counter("vllm:external_prefix_cache_hits", "Prompt tokens found below the device and at other engines.")
    loadBytes = make.counter("vllm:kv_offload_load_bytes", "Bytes of KV blocks copied back to the device.")
    storeBytes = make.counter("vllm:kv_offload_store_bytes", "Bytes of KV blocks copied from the device.")
    loadTime = make.counter("vllm:kv_offload_load_time", "Seconds of copies back to the device.")
    storeTime = make.counter("vllm:kv_offload_store_time", "Seconds of copies from the device.")
    failures = make.counter("vllm:kv_offload_allocation_failure", "KV blocks that found no place below the device.")
    loadSize = make.histogram(
      "vllm:kv_offload_load_size", "Bytes a step copied back to the device.", key: "kv_offload", CountedValues.bytes)
    storeSize = make.histogram(
      "vllm:kv_offload_store_size", "Bytes a step copied from the device.", key: "kv_offload", CountedValues.bytes)
    lookup = make.histogram(
      "vllm:kv_offload_lookup_sync_delay_seconds", "Seconds a step spent looking blocks up below the device.",
      key: "kv_offload", CountedValues.lookup)
    arrival = make.histogram(
      "vllm:kv_offload_lookup_async_delay_seconds", "Seconds until all blocks a sequence asked for were there.",
      key: "kv_offload", CountedValues.arrival)
    let reloadHelp = "Seconds from asking for a block of a tier until it is on the device, waiting apart."
    hostReload = make.histogram(
      "swerve_kv_reload_seconds", reloadHelp, key: "kv_reload", CountedValues.seconds, [("tier", "host")])
    diskReload = make.histogram(
      "swerve_kv_reload_seconds", reloadHelp, key: "kv_reload", CountedValues.seconds, [("tier", "nvme")])
    hostUsage = make.gauge("vllm:cpu_cache_usage_perc", "Share of the host tier's places in use; 1 means all.")
    let preemptionHelp = "Preempted sequences by what happened to their blocks."
    swapped = make.counter("swerve_kv_preemptions", preemptionHelp, [("mode", "swap")])
    recomputed = make.counter("swerve_kv_preemptions", preemptionHelp, [("mode", "recompute")])
    let swapHelp = "Bytes of preempted sequences' KV blocks, by direction."
    swapOut = make.counter("swerve_kv_swap_bytes", swapHelp, [("direction", "out")])
    swapIn = make.counter("swerve_kv_swap_bytes", swapHelp, [("direction", "in")])
    lossy = make.counter("swerve_kv_lossy_sequences", "Sequences that read keys and values of a lower precision.")
  }

  /// Tiers have series once an engine that has them was seen.
  func update(from snapshot: EngineStatistics) {
    swapped.set(total: Double(snapshot.swappedPreemptions))
    recomputed.set(total: Double(snapshot.preemptions - snapshot.swappedPreemptions))
    lossy.set(total: Double(snapshot.lossySequences))
    let transfer = snapshot.transfer
    queries.set(total: Double((snapshot.tiers?.queriedTokens ?? 0) + (transfer?.queriedTokens ?? 0)))
    hits.set(total: Double((snapshot.tiers?.hitTokens.reduce(0, +) ?? 0) + (transfer?.hitTokens ?? 0)))
    guard let tiers = snapshot.tiers else { return }
    let host = TierStatistics.Source.host.rawValue
    let files = TierStatistics.Source.files.rawValue
    cachedOnHost.set(total: Double(tiers.hitTokens[host]))
    cachedOnDisk.set(total: Double(tiers.hitTokens[files]))
    loadBytes.set(total: Double(tiers.hostToDeviceBytes))
    storeBytes.set(total: Double(tiers.deviceToHostBytes))
    loadTime.set(total: tiers.loadSeconds)
    storeTime.set(total: tiers.storeSeconds)
    failures.set(total: Double(tiers.allocationFailures))
    for (metric, values) in [
      (loadSize, tiers.loadSizes), (storeSize, tiers.storeSizes), (lookup, tiers.lookupSeconds),
      (arrival, tiers.arrivalSeconds), (hostReload, tiers.reloadSeconds[host]),
      (diskReload, tiers.reloadSeconds[files]),
    ] {
      metric.set(counts: values.counts, sum: values.sum)
    }
    hostUsage.set(tiers.hostBlocks == 0 ? 0 : Double(tiers.hostBlocksUsed) / Double(tiers.hostBlocks))
    swapOut.set(total: Double(tiers.swapOutBytes))
    swapIn.set(total: Double(tiers.swapInBytes))
    set(blocks: tiers, of: WorkerMetrics.keeper(snapshot))
    set(movement: tiers)
    for (reason, count) in tiers.verifyFailures {
      make.counter(
        "swerve_block_verify_failures", "KV blocks in files and host memory that are not what they must be, by reason.",
        [("reason", reason)]
      ).set(total: Double(count))
    }
  }

  private func set(blocks tiers: TierStatistics, of worker: [(String, String)]) {
    func blocks(_ tier: String, _ state: String, _ count: Int) {
      make.registry.blocks(on: tier, state: state, of: worker).set(Int64(count))
    }
    blocks("host", "cached", tiers.hostBlocksUsed - tiers.hostBlocksPinned)
    blocks("host", "used", tiers.hostBlocksPinned)
    blocks("host", "free", tiers.hostBlocks - tiers.hostBlocksUsed)
    make.registry.blockBytes(on: "host").set(Int64(tiers.hostBlockBytes))
    used("host", bytes: tiers.hostBlocksUsed * tiers.hostBlockBytes)
    guard let fileState = tiers.fileState else { return }
    blocks("nvme", "cached", tiers.fileBlocks)
    // They may be of several precisions: their mean.
    if tiers.fileBlocks > 0 { make.registry.blockBytes(on: "nvme").set(Int64(tiers.fileBytes / tiers.fileBlocks)) }
    used("nvme", bytes: tiers.fileBytes)
    for state in ["healthy", "read-only", "off"] {
      make.gauge("swerve_kv_tier_state", "1 for the state a tier is in.", [("tier", "nvme"), ("state", state)])
        .set(state == fileState ? 1.0 : 0)
    }
  }

  private func used(_ tier: String, bytes: Int) {
    make.gauge("swerve:kv_tier_used_bytes", "Bytes of blocks on a tier.", [("tier", tier)]).set(Int64(bytes))
  }

  private func set(movement tiers: TierStatistics) {
    for (from, to, bytes) in [
      ("device", "host", tiers.deviceToHostBytes), ("host", "nvme", tiers.hostToFileBytes),
      ("nvme", "host", tiers.fileToHostBytes), ("host", "device", tiers.hostToDeviceBytes),
    ] {
      let labels = [("from", from), ("to", to)]
      make.counter("swerve_kv_spill_bytes", "Bytes of KV blocks moved between tiers.", labels)
        .set(total: Double(bytes))
      make.counter("swerve:kv_tier_moves_bytes", "Bytes of KV blocks moved between tiers.", labels)
        .set(total: Double(bytes))
    }
    for (tier, bytes) in [("host", tiers.hostToDeviceBytes), ("nvme", tiers.fileToHostBytes)] {
      make.registry.bytesRead(from: tier).set(total: Double(bytes))
    }
    for (tier, source) in [("host", TierStatistics.Source.host), ("nvme", .files)] {
      make.counter("swerve:kv_tier_hits", "Prompt tokens found on a tier.", [("tier", tier)])
        .set(total: Double(tiers.hitTokens[source.rawValue]))
    }
    make.counter("swerve_kv_spills_dropped", "KV blocks that were to go to files and did not.")
      .set(total: Double(tiers.spillsDropped))
  }
}
