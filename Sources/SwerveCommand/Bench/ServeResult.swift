package import SwerveCore

/// What one request of `bench serve` came to.
package struct ServeOutcome: Sendable, Hashable {
  /// Seconds after the benchmark's start.
  package var sent = 0.0
  package var timing = RequestTiming()
  /// Why it failed; nil = answered.
  package var error: String?

  package init() {}

  /// Seconds a token after the first; nil with fewer than two.
  package var timePerOutputToken: Double? {
    guard let first = timing.firstToken, timing.outputTokens > 1 else { return nil }
    return (timing.total - first) / Double(timing.outputTokens - 1)
  }
}

/// The figures of a `bench serve` run, as text block and as JSON.
package struct ServeResult: Sendable {
  let outcomes: [ServeOutcome]
  /// Seconds from the first request sent to the last answer.
  let duration: Double
  let maxConcurrency: Int?
  /// Targets in milliseconds by metric; empty = no goodput.
  let goodput: [String: Double]
  let metrics: [String]
  let percentiles: [Double]

  package init(
    outcomes: [ServeOutcome], duration: Double, maxConcurrency: Int?, goodput: [String: Double], metrics: [String],
    percentiles: [Double]
  ) {
    self.outcomes = outcomes
    self.duration = duration
    self.maxConcurrency = maxConcurrency
    self.goodput = goodput
    self.metrics = metrics
    self.percentiles = percentiles
  }

  private var answered: [ServeOutcome] { outcomes.filter { $0.error == nil } }
  private var inputTokens: Int { answered.reduce(0) { $0 + $1.timing.promptTokens } }
  private var outputTokens: Int { answered.reduce(0) { $0 + $1.timing.outputTokens } }
  private func rate(_ count: Int) -> Double { duration > 0 ? Double(count) / duration : 0 }

  /// Most requests under way at one moment.
  var peakConcurrency: Int {
    let changes = answered.flatMap { [($0.sent, 1), ($0.sent + $0.timing.total, -1)] }
    var now = 0
    var peak = 0
    for (_, change) in changes.sorted(by: { $0.0 == $1.0 ? $0.1 < $1.1 : $0.0 < $1.0 }) {
      now += change
      peak = max(peak, now)
    }
    return peak
  }

  /// Answered requests that met every target.
  var goodRequests: Int {
    answered.filter { outcome in
      goodput.allSatisfy { metric, limit in
        let seconds: Double? =
          switch metric {
          case "ttft": outcome.timing.firstToken
          case "tpot": outcome.timePerOutputToken ?? 0
          default: outcome.timing.total
          }
        return (seconds ?? .infinity) * 1000 <= limit
      }
    }.count
  }

  /// In milliseconds.
  private func distribution(_ metric: String) -> Distribution {
    let seconds: [Double] =
      switch metric {
      case "ttft": answered.compactMap(\.timing.firstToken)
      case "tpot": answered.compactMap(\.timePerOutputToken)
      case "itl": answered.flatMap(\.timing.gaps)
      default: answered.map(\.timing.total)
      }
    return Distribution(seconds.map { $0 * 1000 })
  }

  private static let titles = [
    "ttft": "Time to First Token", "tpot": "Time per Output Token (excl. 1st token)", "itl": "Inter-token Latency",
    "e2el": "End-to-end Latency",
  ]

  /// The block that scripts read: 50 columns, labels padded to 40.
  package var text: String {
    var lines = [Format.centred(" Serving Benchmark Result ", width: 50, fill: "=")]
    func add(_ label: String, _ value: String) {
      lines.append(Format.padded(label, to: 40) + " " + Format.padded(value, to: 10))
    }
    add("Successful requests:", String(answered.count))
    add("Failed requests:", String(outcomes.count - answered.count))
    if let maxConcurrency { add("Maximum request concurrency:", String(maxConcurrency)) }
    add("Benchmark duration (s):", Format.fixed(duration, 2))
    add("Total input tokens:", String(inputTokens))
    add("Total generated tokens:", String(outputTokens))
    add("Request throughput (req/s):", Format.fixed(rate(answered.count), 2))
    if !goodput.isEmpty { add("Request goodput (req/s):", Format.fixed(rate(goodRequests), 2)) }
    add("Output token throughput (tok/s):", Format.fixed(rate(outputTokens), 2))
    add("Peak concurrent requests:", Format.fixed(Double(peakConcurrency), 2))
    add("Total token throughput (tok/s):", Format.fixed(rate(inputTokens + outputTokens), 2))
    for metric in metrics {
      lines.append(Format.centred(Self.titles[metric] ?? metric, width: 50, fill: "-"))
      let values = distribution(metric)
      let name = metric.uppercased()
      add("Mean \(name) (ms):", Format.fixed(values.mean, 2))
      add("Median \(name) (ms):", Format.fixed(values.median, 2))
      for rank in percentiles {
        add("P\(Self.text(rank)) \(name) (ms):", Format.fixed(values.percentile(rank), 2))
      }
    }
    lines.append(String(repeating: "=", count: 50))
    return lines.joined(separator: "\n")
  }

  /// Members with vLLM's keys; with every request where `isDetailed`.
  package func json(isDetailed: Bool) -> JSONObject {
    var result: JSONObject = [
      "duration": .double(duration), "completed": .int(answered.count),
      "failed": .int(outcomes.count - answered.count), "total_input_tokens": .int(inputTokens),
      "total_output_tokens": .int(outputTokens), "request_throughput": .double(rate(answered.count)),
      "request_goodput": goodput.isEmpty ? .null : .double(rate(goodRequests)),
      "output_throughput": .double(rate(outputTokens)),
      "total_token_throughput": .double(rate(inputTokens + outputTokens)),
      "max_concurrent_requests": .int(peakConcurrency),
    ]
    for metric in ["ttft", "tpot", "itl", "e2el"] {
      let values = distribution(metric)
      result["mean_\(metric)_ms"] = .double(values.mean)
      result["median_\(metric)_ms"] = .double(values.median)
      result["std_\(metric)_ms"] = .double(values.standardDeviation)
      for rank in Set(percentiles + [99]).sorted() {
        result["p\(Self.text(rank))_\(metric)_ms"] = .double(values.percentile(rank))
      }
    }
    if isDetailed {
      result["input_lens"] = .array(outcomes.map { .int($0.timing.promptTokens) })
      result["output_lens"] = .array(outcomes.map { .int($0.timing.outputTokens) })
      result["ttfts"] = .array(outcomes.map { .double($0.timing.firstToken ?? 0) })
      result["itls"] = .array(outcomes.map { .array($0.timing.gaps.map { .double($0) }) })
      result["errors"] = .array(outcomes.map { .string($0.error ?? "") })
    }
    return result
  }

  private static func text(_ rank: Double) -> String { FlagValue.double(rank).text }
}
