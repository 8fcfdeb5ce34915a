import HTTPTypes
import Metrics
import SwerveAccess
import SwerveCore
import Testing

@Suite struct MetricsTests {
  /// A parsed page: sample name with labels → value, family → type.
  struct Page {
    var samples: [String: Double] = [:]
    var types: [String: String] = [:]

    /// Throws on any line that the format does not allow.
    init(_ text: String) throws {
      var helped: Set<String> = []
      for line in text.split(separator: "\n", omittingEmptySubsequences: false) where !line.isEmpty {
        if line.hasPrefix("# HELP ") {
          let name = String(line.split(separator: " ", maxSplits: 3)[2])
          #expect(helped.insert(name).inserted, "two HELP lines for \(name)")
        } else if line.hasPrefix("# TYPE ") {
          let words = line.split(separator: " ")
          #expect(words.count == 4)
          types[String(words[2])] = String(words[3])
        } else if line == "# EOF" {
          continue
        } else {
          let pattern = #/([a-zA-Z_:][a-zA-Z0-9_:]*)(\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\.)*",?)*)\})? (\S+)/#
          let match = try #require(line.wholeMatch(of: pattern), "not a sample: \(line)")
          let value: Double? = match.4 == "+Inf" ? Double.infinity : Double(match.4)
          let key = String(match.1) + (match.2.map(String.init) ?? "")
          #expect(samples[key] == nil, "twice: \(key)")
          guard let value else { throw TestFailure(description: "no number: \(line)") }
          samples[key] = value
        }
      }
    }
  }

  @Test func everyFamilyIsThereFromTheStart() async throws {
    try await InProcess.run { server in
      let answer = try await server.send(.get, "/metrics")
      #expect(answer.headers[.contentType] == "text/plain; version=0.0.4; charset=utf-8")
      let page = try Page(answer.body)
      let labels = #"{model_name="fake",engine="0"}"#
      #expect(page.samples["vllm:kv_cache_usage_perc\(labels)"] == 0.25)
      #expect(page.samples["vllm:gpu_cache_usage_perc\(labels)"] == 0.25)
      #expect(page.samples["vllm:prompt_tokens_total\(labels)"] == 40)
      #expect(page.samples["vllm:generation_tokens_total\(labels)"] == 7)
      #expect(
        page.samples[#"vllm:prompt_tokens_by_source_total{model_name="fake",engine="0",source="local_compute"}"#] == 24)
      #expect(page.samples["vllm:num_preemptions_total\(labels)"] == 0)
      #expect(page.samples[#"vllm:request_success_total{model_name="fake",engine="0",finished_reason="stop"}"#] == 0)
      #expect(page.samples[#"vllm:time_to_first_token_seconds_bucket{model_name="fake",engine="0",le="0.001"}"#] == 0)
      #expect(page.samples[#"vllm:request_prompt_tokens_bucket{model_name="fake",engine="0",le="2000.0"}"#] == 0)
      // Token buckets end at the model's length.
      #expect(page.samples[#"vllm:request_prompt_tokens_bucket{model_name="fake",engine="0",le="5000.0"}"#] == nil)
      #expect(page.types["vllm:time_per_output_token_seconds"] == "histogram")
      #expect(page.types["vllm:prompt_tokens_total"] == "counter")
      #expect(page.samples["process_resident_memory_bytes"] ?? 0 > 0)
      #expect(page.samples["process_open_fds"] ?? 0 > 0)
      #expect(page.samples["process_cpu_seconds_total"] ?? 0 > 0)
      for name in ["http_requests_total", "vllm:admission_rejections_total", "vllm:cache_config_info"] {
        #expect(page.types[name] != nil, "\(name)")
      }
    }
  }

  @Test func openMetricsIsChosenByAccept() async throws {
    try await InProcess.run { server in
      let answer = try await server.send(.get, "/metrics", [.accept: "application/openmetrics-text; version=1.0.0"])
      #expect(answer.headers[.contentType]?.hasPrefix("application/openmetrics-text") == true)
      #expect(answer.body.hasSuffix("# EOF\n"))
      #expect(try Page(answer.body).types["vllm:prompt_tokens"] == "counter")
    }
  }

  @Test func exchangesAreCountedByRoute() async throws {
    try await InProcess.run { server in
      for _ in 0..<3 { _ = try await server.complete([:]) }
      _ = try await server.complete(["stream": true])
      _ = try await server.complete(["n": 0])
      _ = try await server.send(.get, "/whatever")
      let page = try Page(try await server.send(.get, "/metrics").body)
      let route = #"handler="/v1/completions",method="POST""#
      #expect(page.samples[#"http_requests_total{\#(route),status="2xx"}"#] == 4)
      #expect(page.samples[#"http_requests_total{\#(route),status="4xx"}"#] == 1)
      #expect(page.samples[#"http_request_duration_seconds_count{\#(route)}"#] == 5)
      #expect(page.samples[#"http_requests_total{handler="none",method="GET",status="4xx"}"#] == 1)
    }
  }

  @Test func theObserverFillsTheHistograms() throws {
    let metrics = EngineMetrics(
      registry: PrometheusRegistry(), modelName: "m", legacyNames: false,
      customBounds: ["time_to_first_token": [1, 2]])
    let observer = metrics.observer
    observer.firstToken(seconds: 1.5)
    observer.interToken(seconds: 0.02)
    observer.step(tokens: 7, seconds: 0.1)
    var request = RequestStatistics(id: "x")
    request.promptTokens = 10
    request.cachedTokens = 4
    request.generationTokens = 5
    request.finish = .stop
    request.decodeSeconds = 2
    request.totalSeconds = 3
    observer.finished(request)
    let page = try Page(metrics.registry.render(.text))
    let labels = #"model_name="m",engine="0""#
    #expect(page.samples[#"vllm:time_to_first_token_seconds_bucket{\#(labels),le="1.0"}"#] == 0)
    #expect(page.samples[#"vllm:time_to_first_token_seconds_bucket{\#(labels),le="2.0"}"#] == 1)
    #expect(page.samples[#"vllm:time_to_first_token_seconds_bucket{\#(labels),le="+Inf"}"#] == 1)
    #expect(page.samples[#"vllm:time_to_first_token_seconds_sum{\#(labels)}"#] == 1.5)
    #expect(page.samples[#"vllm:iteration_tokens_total_bucket{\#(labels),le="8.0"}"#] == 1)
    #expect(page.samples[#"vllm:request_success_total{\#(labels),finished_reason="stop"}"#] == 1)
    #expect(page.samples[#"vllm:request_prefill_kv_computed_tokens_sum{\#(labels)}"#] == 6)
    #expect(page.samples[#"vllm:request_time_per_output_token_seconds_sum{\#(labels)}"#] == 0.5)
    #expect(page.types["vllm:gpu_cache_usage_perc"] == nil)
  }

  @Test func theFacadeLandsOnTheSamePage() throws {
    let registry = PrometheusRegistry()
    Counter(label: "jobs.done", dimensions: [("kind", "a\"b\\c\nd")], factory: registry).increment(by: 3)
    Gauge(label: "1level", factory: registry).record(2.5)
    Timer(label: "took", factory: registry).recordSeconds(2)
    Recorder(label: "sizes", factory: registry).record(1)
    Meter(label: "depth", factory: registry).set(4)
    let page = try Page(registry.render(.text))
    #expect(page.samples[#"jobs_done_total{kind="a\"b\\c\nd"}"#] == 3)
    #expect(page.samples["_1level"] == 2.5)
    #expect(page.samples["took_sum"] == 2)
    #expect(page.samples["sizes_count"] == 1)
    #expect(page.samples["depth"] == 4)
  }
}
