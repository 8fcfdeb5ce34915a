import SwerveCommand
import SwerveCore
import Testing

@Suite struct BenchTests {
  @Test func percentilesAreLinearBetweenRanks() {
    let values = Distribution([4, 1, 3, 2])
    #expect(values.mean == 2.5 && values.median == 2.5)
    #expect(values.percentile(0) == 1 && values.percentile(100) == 4)
    #expect(abs(values.percentile(90) - 3.7) < 1e-12 && values.percentile(25) == 1.75)
    #expect(abs(values.standardDeviation - 1.118033988749895) < 1e-12)
    #expect(Distribution([]).percentile(99) == 0 && Distribution([7]).percentile(50) == 7)
    #expect(Distribution([]).mean == 0 && Distribution([]).standardDeviation == 0)
  }

  @Test(arguments: [0.3, 1.0, 4.0])
  func arrivalsKeepTheAskedRate(_ burstiness: Double) {
    var schedule = ArrivalSchedule()
    schedule.rate = 20
    schedule.burstiness = burstiness
    let times = schedule.times(count: 2000, seed: 3)
    #expect(zip(times, times.dropFirst()).allSatisfy { $0 <= $1 })
    #expect(abs((times.last ?? 0) - 100) < 1e-9)
    #expect(times == schedule.times(count: 2000, seed: 3) && times != schedule.times(count: 2000, seed: 4))
    // Squared variation of the gaps is 1 ÷ burstiness.
    let gaps = Distribution(zip(times.dropFirst(), times).map { $0 - $1 })
    let variation = gaps.standardDeviation / gaps.mean
    #expect(abs(variation * variation * burstiness - 1) < 0.35)
  }

  @Test func withoutARateAllLeaveAtOnce() {
    #expect(ArrivalSchedule().times(count: 3, seed: 0) == [0, 0, 0])
  }

  @Test(arguments: [ArrivalSchedule.RampUp.linear, .exponential])
  func aRampGrows(_ kind: ArrivalSchedule.RampUp) {
    var schedule = ArrivalSchedule()
    schedule.rampUp = (kind, from: 1, to: 50)
    let times = schedule.times(count: 1000, seed: 1)
    let gaps = zip(times.dropFirst(), times).map { $0 - $1 }
    #expect(Distribution(Array(gaps.prefix(200))).mean > 3 * Distribution(Array(gaps.suffix(200))).mean)
  }

  static func outcome(sent: Double, first: Double, gaps: [Double], prompt: Int) -> ServeOutcome {
    var outcome = ServeOutcome()
    outcome.sent = sent
    outcome.timing.promptTokens = prompt
    outcome.timing.firstToken = first
    outcome.timing.gaps = gaps
    outcome.timing.outputTokens = gaps.count + 1
    outcome.timing.total = first + gaps.reduce(0, +)
    return outcome
  }

  static var result: ServeResult {
    var failed = ServeOutcome()
    failed.error = "refused"
    return ServeResult(
      outcomes: [
        outcome(sent: 0, first: 0.1, gaps: [0.05, 0.05], prompt: 10),
        outcome(sent: 0.1, first: 0.3, gaps: [0.1, 0.1, 0.1], prompt: 20), failed,
      ], duration: 2, maxConcurrency: 4, goodput: ["ttft": 200], metrics: ["ttft", "tpot", "itl", "e2el"],
      percentiles: [99])
  }

  @Test func theServingBlockIsTheOneScriptsRead() {
    let expected = """
      ============ Serving Benchmark Result ============
      Successful requests:                     2
      Failed requests:                         1
      Maximum request concurrency:             4
      Benchmark duration (s):                  2.00
      Total input tokens:                      30
      Total generated tokens:                  7
      Request throughput (req/s):              1.00
      Request goodput (req/s):                 0.50
      Output token throughput (tok/s):         3.50
      Peak concurrent requests:                2.00
      Total token throughput (tok/s):          18.50
      ---------------Time to First Token----------------
      Mean TTFT (ms):                          200.00
      Median TTFT (ms):                        200.00
      P99 TTFT (ms):                           298.00
      -----Time per Output Token (excl. 1st token)------
      Mean TPOT (ms):                          75.00
      Median TPOT (ms):                        75.00
      P99 TPOT (ms):                           99.50
      ---------------Inter-token Latency----------------
      Mean ITL (ms):                           80.00
      Median ITL (ms):                         100.00
      P99 ITL (ms):                            100.00
      ----------------End-to-end Latency----------------
      Mean E2EL (ms):                          400.00
      Median E2EL (ms):                        400.00
      P99 E2EL (ms):                           596.00
      ==================================================
      """
    let lines = Self.result.text.split(separator: "\n").map { line in
      String(line.reversed().drop { $0 == " " }.reversed())
    }
    #expect(lines.joined(separator: "\n") == expected)
    #expect(Self.result.text.split(separator: "\n").allSatisfy { $0.count >= 50 })
  }

  @Test func theServingResultHasTheKnownKeys() {
    let json = Self.result.json(isDetailed: true)
    for key in [
      "duration", "completed", "failed", "total_input_tokens", "total_output_tokens", "request_throughput",
      "request_goodput", "output_throughput", "total_token_throughput",
    ] { #expect(json[key] != nil, "\(key)") }
    for metric in ["ttft", "tpot", "itl", "e2el"] {
      for statistic in ["mean", "median", "std", "p99"] { #expect(json["\(statistic)_\(metric)_ms"]?.double != nil) }
    }
    #expect(json["completed"] == 2 && json["failed"] == 1 && json["request_goodput"] == 0.5)
    #expect(json["errors"]?.array?.count == 3)
  }

  @Test func aReplayReportsEverythingTheContractNames() async throws {
    let file = TemporaryFile(
      """
      {"prompt_token_ids": [1, 2, 3], "max_tokens": 4}
      {"prompt_token_ids": [5], "max_tokens": 2}

      """)
    let prompts = try ReplayBench.read(file.path)
    let engine = FakeEngine()
    let record = ConsoleRecord()
    let bench = ReplayBench(bench: BenchSettings(), console: record.console())
    let json = try await bench.run(prompts, engine.started, loadSeconds: 1.5)
    #expect(json["prompt_tokens"] == 4 && json["output_tokens"] == 6 && json["load_s"] == 1.5)
    for key in ["elapsed_s", "output_tokens_per_s", "prefill_s", "peak_rss_mib"] {
      #expect(json[key]?.double ?? -1 >= 0, "\(key)")
    }
    for key in ["ttft_s", "itl_s"] { #expect(json[key]?["p50"] != nil && json[key]?["p99"] != nil) }
    #expect(json["kv"]?["blocks_used"] != nil && json["kv"]?["hit_tokens"] != nil)
    #expect(engine.requests.allSatisfy { $0.params.ignoreEos && $0.params.isGreedy })
  }

  @Test(arguments: [
    ("{}", "line 1: prompt_token_ids must be a list"),
    (#"{"prompt_token_ids": [], "max_tokens": 1}"#, "must be a list"),
    (#"{"prompt_token_ids": [-1], "max_tokens": 1}"#, "-1 is no token id"),
    (#"{"prompt_token_ids": [1], "max_tokens": 0}"#, "max_tokens must be positive"), ("x", "not JSON"),
    ("", "holds no request"), (#"{"prompt_token_ids": [99999999999], "max_tokens": 1}"#, "is no token id"),
  ])
  func aBadReplayFileNamesTheLine(_ text: String, _ sentence: String) {
    let file = TemporaryFile(text)
    let error = #expect(throws: CommandError.self) { _ = try ReplayBench.read(file.path) }
    #expect(error?.description.contains(sentence) == true, "\(error?.description ?? "")")
  }
}
