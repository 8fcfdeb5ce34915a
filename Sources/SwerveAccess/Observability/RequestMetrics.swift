package import SwerveCore

/// Families fed by what the engine reports of each step and request.
struct RequestMetrics: Sendable {
  private static let reasons: [FinishReason] = [.stop, .length, .abort, .error, .repetition]

  let firstToken, interToken, perToken, iteration, stepSeconds: HistogramMetric
  private let endToEnd, queue, inference, prefill, decode: HistogramMetric
  private let prompt, generation, maxGeneration, maxTokens, computed: HistogramMetric
  private let n, preemptions: HistogramMetric
  private let successes: [FinishReason: CounterMetric]
  private let boundsAreCustom: Bool
  private let classes: ClassMetrics

  init(_ make: MetricFactory, serviceClasses: [String]) {
    classes = ClassMetrics(make, serviceClasses: serviceClasses)
    func latency(_ name: String, _ help: String) -> HistogramMetric {
      make.histogram(name, help, key: "request_latency", MetricBounds.request)
    }
    func tokens(_ name: String, _ help: String) -> HistogramMetric {
      make.histogram(name, help, key: "request_tokens", MetricBounds.tokens(upTo: 1_000_000))
    }
    boundsAreCustom = make.customBounds["request_tokens"] != nil
    firstToken = make.histogram(
      "vllm:time_to_first_token_seconds", "Seconds from arrival to first token.", key: "time_to_first_token",
      MetricBounds.firstToken)
    interToken = make.histogram(
      "vllm:inter_token_latency_seconds", "Seconds between two tokens of a choice.", key: "inter_token_latency",
      MetricBounds.interToken)
    perToken = make.histogram(
      "vllm:request_time_per_output_token_seconds", "A request's decode seconds per token.", key: "inter_token_latency",
      MetricBounds.interToken)
    iteration = make.histogram(
      "vllm:iteration_tokens_total", "Tokens computed by a step.", key: "iteration_tokens", MetricBounds.iteration)
    stepSeconds = make.histogram(
      "swerve_step_duration_seconds", "Seconds of a step.", key: "step_duration", MetricBounds.seconds,
      [("phase", "total")])
    endToEnd = latency("vllm:e2e_request_latency_seconds", "Seconds from arrival to last token.")
    queue = latency("vllm:request_queue_time_seconds", "Seconds from arrival to the first step.")
    inference = latency("vllm:request_inference_time_seconds", "Seconds from the first step to the last token.")
    prefill = latency("vllm:request_prefill_time_seconds", "Seconds from the first step to the first token.")
    decode = latency("vllm:request_decode_time_seconds", "Seconds from the first token to the last.")
    prompt = tokens("vllm:request_prompt_tokens", "Prompt tokens of a request.")
    generation = tokens("vllm:request_generation_tokens", "Tokens a request generated.")
    maxGeneration = tokens("vllm:request_max_num_generation_tokens", "Most tokens one choice could generate.")
    maxTokens = tokens("vllm:request_params_max_tokens", "max_tokens of requests that set it.")
    computed = tokens("vllm:request_prefill_kv_computed_tokens", "Prompt tokens a request had to compute.")
    n = make.histogram("vllm:request_params_n", "n of a request.", key: "request_params_n", MetricBounds.n)
    preemptions = make.histogram(
      "vllm:request_num_preemptions", "Preemptions of a request.", key: "request_num_preemptions",
      MetricBounds.preemptions)
    var successes: [FinishReason: CounterMetric] = [:]
    for reason in Self.reasons {
      successes[reason] = make.counter(
        "vllm:request_success", "Finished requests by reason.", [("finished_reason", reason.rawValue)])
    }
    self.successes = successes
    _ = make.counter("vllm:corrupted_requests", "Requests whose logits were not numbers.")
    _ = make.counter("vllm:tool_call_parser_invocations", "Outputs given to a tool-call parser.")
    _ = make.counter("vllm:websocket_connections", "WebSocket connections accepted.")
  }

  func configure(maxModelLength: Int) {
    guard !boundsAreCustom else { return }
    let bounds = MetricBounds.tokens(upTo: maxModelLength)
    for histogram in [prompt, generation, maxGeneration, maxTokens, computed] { histogram.rebound(bounds) }
  }

  func record(_ request: RequestStatistics) {
    successes[request.finish]?.increment()
    classes.record(request)
    endToEnd.observe(request.totalSeconds)
    queue.observe(request.queueSeconds)
    inference.observe(request.prefillSeconds + request.decodeSeconds)
    prefill.observe(request.prefillSeconds)
    decode.observe(request.decodeSeconds)
    // The first token belongs to the prefill.
    let choices = max(1, request.n)
    let decoded = request.generationTokens / choices - 1
    if decoded > 0 { perToken.observe(request.decodeSeconds / Double(decoded)) }
    prompt.observe(Double(request.promptTokens))
    computed.observe(Double(request.promptTokens - request.cachedTokens))
    generation.observe(Double(request.generationTokens))
    if let most = request.maxTokens {
      maxTokens.observe(Double(most))
      maxGeneration.observe(Double(most))
    }
    n.observe(Double(request.n))
    preemptions.observe(Double(request.preemptions))
  }
}

/// Turns the engine's reports into observations. Each call takes one uncontended lock.
package struct MetricsObserver: EngineObserver {
  let metrics: RequestMetrics

  package func firstToken(seconds: Double) { metrics.firstToken.observe(seconds) }
  package func interToken(seconds: Double) { metrics.interToken.observe(seconds) }

  package func step(tokens: Int, seconds: Double) {
    metrics.iteration.observe(Double(tokens))
    metrics.stepSeconds.observe(seconds)
  }

  package func finished(_ request: RequestStatistics) { metrics.record(request) }
}
