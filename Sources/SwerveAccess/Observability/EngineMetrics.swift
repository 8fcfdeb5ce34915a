package import SwerveCore

/// The engine's metric families under the names dashboards know (`vllm:*`), all present from the start with value 0.
///
/// Made before the engine, because it is also the engine's observer; `Server` tells it the model's length later.
package struct EngineMetrics: Sendable {
  package let registry: PrometheusRegistry
  let http: HTTPMetrics
  let process: ProcessMetrics
  let requests: RequestMetrics
  private let statistics: StatisticsMetrics
  private let speculation: SpeculationMetrics
  private let tiers: TierMetrics
  private let overflow: OverflowMetrics
  private let workers: WorkerMetrics
  private let gather: GatherMetrics
  private let transfer: TransferMetrics
  private let modelName: String

  /// - Parameters:
  ///   - customBounds: `--custom-histogram-buckets`: family key (`time_to_first_token`, `request_latency`, …) to ascending
  ///     upper bounds.
  ///   - serviceClasses: the names that requests' classes have.
  package init(
    registry: PrometheusRegistry, modelName: String, engine: Int = 0, legacyNames: Bool = true,
    version: String = "0.1.0", cacheConfiguration: [(String, String)] = [], customBounds: [String: [Double]] = [:],
    serviceClasses: [String] = ["default"]
  ) {
    self.registry = registry
    self.modelName = modelName
    let labels = [("model_name", modelName), ("engine", String(engine))]
    let factory = MetricFactory(registry: registry, labels: labels, customBounds: customBounds)
    statistics = StatisticsMetrics(factory, cacheConfiguration: cacheConfiguration)
    speculation = SpeculationMetrics(factory)
    tiers = TierMetrics(factory)
    overflow = OverflowMetrics(factory)
    workers = WorkerMetrics(registry: registry)
    gather = GatherMetrics(registry: registry)
    transfer = TransferMetrics(factory)
    requests = RequestMetrics(factory, serviceClasses: serviceClasses)
    http = HTTPMetrics(registry: registry)
    process = ProcessMetrics(registry: registry)
    let build = registry.gauge(
      "swerve_build_info", help: "Always 1; the labels say what runs.", labels: [("version", version)])
    build.set(1.0)
    for reason in ["draining", "engine"] { _ = rejections(reason: reason) }
    guard legacyNames else { return }
    registry.alias("vllm:gpu_cache_usage_perc", of: "vllm:kv_cache_usage_perc")
    registry.alias("vllm:time_per_output_token_seconds", of: "vllm:inter_token_latency_seconds")
    registry.alias("vllm:gpu_prefix_cache_queries", of: "vllm:prefix_cache_queries")
    registry.alias("vllm:gpu_prefix_cache_hits", of: "vllm:prefix_cache_hits")
    _ = registry.gauge("vllm:num_requests_swapped", help: "Kept for older dashboards; always 0.", labels: labels)
  }

  /// What the engine reports to.
  package var observer: MetricsObserver { MetricsObserver(metrics: requests) }

  /// Token-count buckets go up to the longest request; call before the first one.
  package func configure(maxModelLength: Int) { requests.configure(maxModelLength: maxModelLength) }

  /// Brings gauges and totals up to date; called at each scrape.
  package func update(from snapshot: EngineStatistics) {
    statistics.update(from: snapshot)
    speculation.update(from: snapshot)
    tiers.update(from: snapshot)
    overflow.update(from: snapshot)
    workers.update(from: snapshot)
    gather.update(from: snapshot)
    transfer.update(from: snapshot)
    process.update()
  }

  func rejections(reason: String) -> CounterMetric {
    registry.counter(
      "vllm:admission_rejections", help: "Requests refused before they were queued.",
      labels: [("model_name", modelName), ("reason", reason)])
  }
}

/// Makes series with the labels every engine family has.
struct MetricFactory: Sendable {
  let registry: PrometheusRegistry
  let labels: [(String, String)]
  let customBounds: [String: [Double]]

  func counter(_ name: String, _ help: String, _ more: [(String, String)] = []) -> CounterMetric {
    registry.counter(name, help: help, labels: labels + more)
  }

  func gauge(_ name: String, _ help: String, _ more: [(String, String)] = []) -> GaugeMetric {
    registry.gauge(name, help: help, labels: labels + more)
  }

  func histogram(
    _ name: String, _ help: String, key: String, _ bounds: [Double], _ more: [(String, String)] = []
  ) -> HistogramMetric {
    registry.histogram(name, help: help, bounds: customBounds[key] ?? bounds, labels: labels + more)
  }
}

/// Families read from the engine's snapshot.
struct StatisticsMetrics: Sendable {
  private let running, waiting, waitingForCapacity, deferred, kvUsage, queueTokens, queueOldest: GaugeMetric
  private let weightBytes, kvBytes, loadSeconds: GaugeMetric
  private let promptTokens, generationTokens, computedTokens, hitTokens, cachedTokens, cachedOnDevice: CounterMetric
  private let externalTokens, cachedElsewhere: CounterMetric
  private let queries, hits, copied, preemptions, steps: CounterMetric

  init(_ make: MetricFactory, cacheConfiguration: [(String, String)]) {
    running = make.gauge("vllm:num_requests_running", "Requests in execution.")
    waiting = make.gauge("vllm:num_requests_waiting", "Requests waiting to be scheduled.")
    let reasonHelp = "Waiting requests by what they wait for."
    waitingForCapacity = make.gauge("vllm:num_requests_waiting_by_reason", reasonHelp, [("reason", "capacity")])
    deferred = make.gauge("vllm:num_requests_waiting_by_reason", reasonHelp, [("reason", "deferred")])
    kvUsage = make.gauge("vllm:kv_cache_usage_perc", "Share of KV blocks in use; 1 means all.")
    queueTokens = make.gauge("swerve:queue_prompt_tokens", "Prompt tokens of requests that wait for their first step.")
    queueOldest = make.gauge("swerve:queue_oldest_seconds", "Seconds the oldest request waits for its first step.")
    let sleepHelp = "1 for the state the engine is in."
    make.gauge("vllm:engine_sleep_state", sleepHelp, [("sleep_state", "awake")]).set(1.0)
    for state in ["weights_offloaded", "discard_all"] {
      _ = make.gauge("vllm:engine_sleep_state", sleepHelp, [("sleep_state", state)])
    }
    make.gauge("vllm:cache_config_info", "Always 1; the labels describe the KV cache.", cacheConfiguration).set(1.0)
    _ = make.gauge("vllm:websocket_connections_active", "Open WebSocket connections.")

    promptTokens = make.counter("vllm:prompt_tokens", "Prompt tokens processed.")
    generationTokens = make.counter("vllm:generation_tokens", "Tokens generated.")
    let sourceHelp = "Prompt tokens by where their keys and values came from."
    computedTokens = make.counter("vllm:prompt_tokens_by_source", sourceHelp, [("source", "local_compute")])
    hitTokens = make.counter("vllm:prompt_tokens_by_source", sourceHelp, [("source", "local_cache_hit")])
    externalTokens = make.counter("vllm:prompt_tokens_by_source", sourceHelp, [("source", "external_kv_transfer")])
    cachedTokens = make.counter("vllm:prompt_tokens_cached", "Prompt tokens found in a cache.")
    let tierHelp = "Prompt tokens found in a cache, by tier."
    cachedOnDevice = make.counter("vllm:prompt_tokens_cached_by_source", tierHelp, [("source", "device")])
    cachedElsewhere = make.counter("vllm:prompt_tokens_cached_by_source", tierHelp, [("source", "p2p")])
    _ = make.counter("vllm:prompt_tokens_cached_by_source", tierHelp, [("source", "external_unspecified")])
    queries = make.counter("vllm:prefix_cache_queries", "Prompt tokens looked up in the prefix cache.")
    hits = make.counter("vllm:prefix_cache_hits", "Prompt tokens found in the prefix cache.")
    copied = make.counter(
      "swerve_prefix_copied_tokens", "Prompt tokens whose keys and values were copied from a block that begins alike.")
    for name in ["vllm:mm_cache_queries", "vllm:mm_cache_hits"] {
      _ = make.counter(name, "Items asked of the multi-modal input cache.")
    }
    preemptions = make.counter("vllm:num_preemptions", "Sequences whose blocks were taken back.")
    steps = make.counter("swerve_steps", "Engine steps run.")
    weightBytes = make.gauge("swerve_weights_bytes", "Bytes of weights.")
    kvBytes = make.gauge("swerve_kv_cache_bytes", "Bytes of the KV pool.")
    loadSeconds = make.gauge("swerve_weights_load_seconds", "Seconds it took to load the weights.")
  }

  func update(from snapshot: EngineStatistics) {
    running.set(Int64(snapshot.runningRequests))
    waiting.set(Int64(snapshot.waitingRequests))
    waitingForCapacity.set(Int64(snapshot.waitingRequests - snapshot.deferredRequests))
    deferred.set(Int64(snapshot.deferredRequests))
    kvUsage.set(snapshot.kvUsage)
    queueTokens.set(Int64(snapshot.waitingTokens))
    queueOldest.set(snapshot.oldestSeconds)
    promptTokens.set(total: Double(snapshot.promptTokens))
    generationTokens.set(total: Double(snapshot.generationTokens))
    let elsewhere = snapshot.transfer?.hitTokens ?? 0
    let below = (snapshot.tiers?.hitTokens.reduce(0, +) ?? 0) + elsewhere
    cachedElsewhere.set(total: Double(elsewhere))
    computedTokens.set(total: Double(snapshot.promptTokens - snapshot.prefixHitTokens - below))
    externalTokens.set(total: Double(below))
    hitTokens.set(total: Double(snapshot.prefixHitTokens))
    cachedTokens.set(total: Double(snapshot.prefixHitTokens + below))
    cachedOnDevice.set(total: Double(snapshot.prefixHitTokens))
    queries.set(total: Double(snapshot.prefixQueriedTokens))
    hits.set(total: Double(snapshot.prefixHitTokens))
    copied.set(total: Double(snapshot.copiedTokens))
    preemptions.set(total: Double(snapshot.preemptions))
    steps.set(total: Double(snapshot.steps))
    weightBytes.set(Int64(snapshot.weightBytes))
    kvBytes.set(Int64(snapshot.kvBytes))
    loadSeconds.set(snapshot.loadSeconds)
  }
}
