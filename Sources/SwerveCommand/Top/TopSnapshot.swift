/// What a server's metrics say about its workers at one moment. Counters are totals since its start.
package struct TopSnapshot: Sendable, Hashable {
  package struct Worker: Sendable, Hashable {
    package var name: String
    package var role = ""
    package var device = ""
    package var parameterBytes = 0.0
    package var kvBytes = 0.0
    package var stepSeconds = 0.0
    /// Of an exchange with it, beyond its computing: half take less, 99 of 100 take less. Seconds; nil without a link.
    package var linkMedian: Double?
    package var linkHigh: Double?
    /// KV bytes of each tier that it uses: by sequences, and in all.
    package var tiers: [String: TierBytes] = [:]
  }

  package struct TierBytes: Sendable, Hashable {
    package var used = 0.0
    package var cached = 0.0
    package var free = 0.0
    package var total: Double { used + cached + free }
  }

  /// Seconds on the viewer's clock, and since the server's start.
  package var time: Double
  package var uptime: Double
  package var model = ""
  package var workers: [Worker] = []
  /// Bytes read, by tier; tiers in the order of `Self.tierOrder`.
  package var readBytes: [String: Double] = [:]
  /// Bytes moved, by `from->to`.
  package var spilledBytes: [String: Double] = [:]
  /// By state.
  package var sequences: [String: Double] = [:]
  package var runningRequests = 0.0
  package var waitingRequests = 0.0
  package var promptTokens = 0.0
  package var generationTokens = 0.0
  package var queriedTokens = 0.0
  /// Prompt tokens found in a cache, by source.
  package var hitTokens: [String: Double] = [:]
  package var preemptions = 0.0
  package var steps = 0.0

  package static let tierOrder = ["device", "host", "nvme", "disk", "remote"]

  /// - Parameters:
  ///   - time: now, in seconds on a clock of one's own.
  ///   - unixTime: now, as the system tells it.
  /// - Throws: `badAnswer` for a page without workers: another server's.
  package init(_ page: MetricsPage, time: Double, unixTime: Double) throws(RemoteError) {
    self.time = time
    let start = page.sum("process_start_time_seconds") ?? unixTime
    uptime = max(unixTime - start, 0)
    model = page.samples("vllm:num_requests_running").first?.labels["model_name"] ?? ""
    workers = Self.workers(page)
    if workers.isEmpty { throw .badAnswer("it has no metrics of workers; is this a swerve server?") }
    readBytes = Self.byLabel(page, "swerve_kv_bytes_read_total") { $0["tier"] }
    spilledBytes = Self.byLabel(page, "swerve_kv_spill_bytes_total") { labels in
      labels["from"].flatMap { from in labels["to"].map { "\(from)->\($0)" } }
    }
    sequences = Self.byLabel(page, "swerve_sequences") { $0["state"] }
    runningRequests = page.sum("vllm:num_requests_running") ?? 0
    waitingRequests = page.sum("vllm:num_requests_waiting") ?? 0
    promptTokens = page.sum("vllm:prompt_tokens_total") ?? 0
    generationTokens = page.sum("vllm:generation_tokens_total") ?? 0
    queriedTokens = page.sum("vllm:prefix_cache_queries_total") ?? 0
    hitTokens = Self.byLabel(page, "vllm:prompt_tokens_cached_by_source_total") { $0["source"] }
    preemptions = page.sum("vllm:num_preemptions_total") ?? 0
    steps = page.sum("swerve_steps_total") ?? 0
  }

  private static func byLabel(
    _ page: MetricsPage, _ name: String, _ key: ([String: String]) -> String?
  ) -> [String: Double] {
    var sums: [String: Double] = [:]
    for sample in page.samples(name) {
      if let key = key(sample.labels) { sums[key, default: 0] += sample.value }
    }
    return sums
  }

  /// In the order of the page.
  private static func workers(_ page: MetricsPage) -> [Worker] {
    var workers: [Worker] = []
    for sample in page.samples("swerve_worker_memory_bytes") {
      guard let name = sample.labels["worker"] else { continue }
      let place = workers.firstIndex { $0.name == name } ?? workers.count
      if place == workers.count {
        workers.append(Worker(name: name, role: sample.labels["role"] ?? ""))
        workers[place].device = page.samples("swerve_worker_info", ["worker": name]).first?.labels["device"] ?? ""
        workers[place].linkMedian = page.sum("swerve_link_delay_seconds", ["peer": name, "quantile": "0.5"])
        workers[place].linkHigh = page.sum("swerve_link_delay_seconds", ["peer": name, "quantile": "0.99"])
        workers[place].stepSeconds = page.sum("swerve_step_seconds_total", ["worker": name]) ?? 0
      }
      switch sample.labels["kind"] {
      case "parameters": workers[place].parameterBytes += sample.value
      case "kv": workers[place].kvBytes += sample.value
      default: break
      }
    }
    for place in workers.indices { workers[place].tiers = tiers(page, workers[place]) }
    return workers
  }

  /// Blocks as bytes: a tier says how large its blocks are (`swerve_kv_block_bytes`), or they are as large as the
  /// device's.
  private static func tiers(_ page: MetricsPage, _ worker: Worker) -> [String: TierBytes] {
    let blocks = page.samples("swerve_kv_blocks", ["worker": worker.name])
    let running = page.samples("swerve_kv_running_blocks", ["worker": worker.name])
    let onDevice = blocks.filter { $0.labels["tier"] == "device" }.reduce(0) { $0 + $1.value }
    let deviceBlock =
      onDevice > 0 ? worker.kvBytes / onDevice : page.sum("swerve_kv_block_bytes", ["tier": "device"]) ?? 0
    var tiers: [String: TierBytes] = [:]
    for sample in blocks {
      guard let tier = sample.labels["tier"] else { continue }
      let size = page.sum("swerve_kv_block_bytes", ["tier": tier]) ?? deviceBlock
      switch sample.labels["state"] {
      case "used": tiers[tier, default: TierBytes()].used += sample.value * size
      case "cached": tiers[tier, default: TierBytes()].cached += sample.value * size
      default: tiers[tier, default: TierBytes()].free += sample.value * size
      }
    }
    // Below the device running sequences have their blocks as the device had them.
    for sample in running {
      guard let tier = sample.labels["tier"] else { continue }
      if sample.labels["state"] == "used" {
        tiers[tier, default: TierBytes()].used += sample.value * deviceBlock
      } else {
        tiers[tier, default: TierBytes()].free += sample.value * deviceBlock
      }
    }
    return tiers
  }
}
