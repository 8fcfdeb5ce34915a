import HTTPTypes
import SwerveAccess
import SwerveCore
import Testing

/// What operators and clients are told of the KV tiers below the device.
@Suite struct TierTests {
  private var snapshot: EngineStatistics {
    var statistics = EngineStatistics()
    statistics.promptTokens = 1000
    statistics.prefixHitTokens = 100
    statistics.preemptions = 5
    statistics.swappedPreemptions = 3
    statistics.lossySequences = 2
    var tiers = TierStatistics()
    tiers.hostBlocks = 10
    tiers.hostBlocksUsed = 6
    tiers.hostBlocksPinned = 1
    tiers.hostBlockBytes = 4096
    tiers.fileState = "read-only"
    tiers.fileBlocks = 40
    tiers.fileBytes = 200_000
    tiers.deviceToHostBytes = 1 << 20
    tiers.hostToFileBytes = 1 << 19
    tiers.fileToHostBytes = 1 << 18
    tiers.hostToDeviceBytes = 1 << 17
    tiers.swapOutBytes = 77
    tiers.queriedTokens = 900
    tiers.hitTokens = [320, 160]
    tiers.verifyFailures = ["damaged": 4]
    tiers.reloadSeconds[1].add(0.003)
    tiers.loadSizes.add(2e6)
    statistics.tiers = tiers
    return statistics
  }

  @Test func tiersHaveTheirFamilies() throws {
    let registry = PrometheusRegistry()
    let metrics = EngineMetrics(registry: registry, modelName: "m")
    metrics.update(from: EngineStatistics())
    #expect(!registry.render(.text).contains(#"tier="nvme",state="#), "no tier, no series of it")
    for _ in 0..<2 { metrics.update(from: snapshot) }
    let page = registry.render(.text)
    let own = #"model_name="m",engine="0""#
    let samples: [(String, String, String)] = [
      ("swerve_kv_tier_state", #",tier="nvme",state="read-only""#, "1.0"),
      ("swerve_kv_tier_state", #",tier="nvme",state="healthy""#, "0.0"),
      ("swerve_kv_spill_bytes_total", #",from="device",to="host""#, "1048576.0"),
      ("swerve_kv_spill_bytes_total", #",from="host",to="nvme""#, "524288.0"),
      ("swerve:kv_tier_moves_bytes_total", #",from="host",to="device""#, "131072.0"),
      ("swerve:kv_tier_used_bytes", #",tier="host""#, "24576.0"),
      ("swerve:kv_tier_hits_total", #",tier="nvme""#, "160.0"),
      ("swerve_block_verify_failures_total", #",reason="damaged""#, "4.0"),
      ("swerve_kv_preemptions_total", #",mode="swap""#, "3.0"),
      ("swerve_kv_preemptions_total", #",mode="recompute""#, "2.0"),
      ("swerve_kv_swap_bytes_total", #",direction="out""#, "77.0"),
      ("swerve_kv_lossy_sequences_total", "", "2.0"),
      ("vllm:kv_offload_store_bytes_total", "", "1048576.0"), ("vllm:kv_offload_load_bytes_total", "", "131072.0"),
      ("vllm:kv_offload_load_size_count", "", "1.0"), ("vllm:kv_offload_load_size_sum", "", "2000000.0"),
      ("swerve_kv_reload_seconds_count", #",tier="nvme""#, "1.0"),
      ("vllm:prompt_tokens_cached_by_source_total", #",source="host""#, "320.0"),
      ("vllm:prompt_tokens_cached_by_source_total", #",source="disk""#, "160.0"),
      ("vllm:prompt_tokens_cached_total", "", "580.0"),
      ("vllm:prompt_tokens_by_source_total", #",source="local_compute""#, "420.0"),
      ("vllm:prompt_tokens_by_source_total", #",source="external_kv_transfer""#, "480.0"),
      ("vllm:external_prefix_cache_queries_total", "", "900.0"), ("vllm:external_prefix_cache_hits_total", "", "480.0"),
      ("vllm:cpu_cache_usage_perc", "", "0.6"),
    ]
    for line in [
      #"swerve_kv_blocks{worker="g0.0",tier="host",state="cached"} 5.0"#,
      #"swerve_kv_blocks{worker="g0.0",tier="host",state="used"} 1.0"#,
      #"swerve_kv_blocks{worker="g0.0",tier="host",state="free"} 4.0"#,
      #"swerve_kv_blocks{worker="g0.0",tier="nvme",state="cached"} 40.0"#,
      #"swerve_kv_block_bytes{tier="host"} 4096.0"#, #"swerve_kv_block_bytes{tier="nvme"} 5000.0"#,
      #"swerve_kv_bytes_read_total{tier="nvme"} 262144.0"#, #"swerve_kv_bytes_read_total{tier="host"} 131072.0"#,
    ] { #expect(page.contains(line + "\n"), "\(line)") }
    for (name, labels, value) in samples {
      #expect(page.contains("\(name){\(own)\(labels)} \(value)\n"), "\(name)\(labels)")
    }
  }

  @Test func requestsThatWaitForATierAreDeferred() {
    let registry = PrometheusRegistry()
    let metrics = EngineMetrics(registry: registry, modelName: "m")
    var statistics = EngineStatistics()
    statistics.waitingRequests = 5
    statistics.deferredRequests = 2
    metrics.update(from: statistics)
    let page = registry.render(.text)
    for (reason, count) in [("capacity", 3), ("deferred", 2)] {
      let line = #"vllm:num_requests_waiting_by_reason{model_name="m",engine="0",reason="\#(reason)"} \#(count).0"#
      #expect(page.contains(line + "\n"))
    }
  }

  /// A sequence that was preempted behind its first token and came back from a lower precision.
  @Test(arguments: [true, false]) func aStreamTellsInItsTrailerWhatCameBehindItsHeaders(isLossy: Bool) async throws {
    let engine = FakeEngine(mayReadLossy: true) { request throws(RequestError) in
      var last = ChoiceDelta(index: 0, text: "b", tokens: [98], finish: .length)
      last.hasReadLossy = isLossy
      return [Script.started(request), .delta(ChoiceDelta(index: 0, text: "a", tokens: [97])), .delta(last)]
    }
    try await LiveServer.run(engine) { server in
      let text = try await RawConnection.open(port: server.port) { connection in
        try await connection.send(
          LiveServer.head("POST", "/v1/completions", body: #"{"model":"fake","prompt":"x","stream":true}"#))
        return try await connection.readToEnd()
      }
      let parts = text.split(separator: "\r\n0\r\n", maxSplits: 1)
      try #require(parts.count == 2, "\(text)")
      let head = parts[0].lowercased()
      #expect(head.contains("trailer: x-swerve-lossy-kv\r\n") && !head.contains("x-swerve-lossy-kv: true"))
      #expect(parts[1] == (isLossy ? "x-swerve-lossy-kv: true\r\n\r\n" : "\r\n"))
    }
  }

  private func engine(lossy isLossy: Bool) -> FakeEngine {
    FakeEngine(mayReadLossy: isLossy) { request throws(RequestError) in
      guard case .started(var info) = Script.started(request) else { return [] }
      info.hasReadLossy = isLossy
      return [.started(info), .delta(ChoiceDelta(index: 0, text: "a", tokens: [97], finish: .length))]
    }
  }

  @Test(arguments: [true, false], [true, false])
  func answersSayThatTheyRestOnALowerPrecision(isLossy: Bool, isStreaming: Bool) async throws {
    try await InProcess.run(engine(lossy: isLossy)) { server in
      let answer = try await server.send(
        .post, "/v1/completions", body: #"{"model":"fake","prompt":"x","stream":\#(isStreaming)}"#)
      #expect(answer.status == 200)
      #expect(answer.headers[HTTPField.Name("x-swerve-lossy-kv")!] == (isLossy ? "true" : nil))
    }
  }
}
