import SwerveCore

/// `bench latency`: one batch again and again, from submission to the last token of the slowest prompt.
struct LatencyBench {
  let bench: BenchSettings
  let console: Console

  func run(_ engine: StartedEngine) async throws {
    let load = EngineLoad(client: engine.client)
    var maker = PromptMaker(vocabulary: load.vocabulary, seed: 0)
    var settings = bench
    settings.promptCount = bench.batchSize
    settings.randomInputLength = bench.inputLength
    settings.randomOutputLength = bench.outputLength
    settings.randomPrefixLength = 0
    let prompts = maker.random(settings)
    let requests = prompts.enumerated().map { place, prompt in
      load.request(
        prompt.content, maxTokens: bench.outputLength, ordinal: place, n: bench.n, beams: bench.useBeamSearch,
        detokenize: !bench.disableDetokenize)
    }
    let warmups = bench.iterationsWarmup ?? 10
    let display = ProgressDisplay("latency", unit: .count("runs"), console: console)
    var latencies: [Double] = []
    for place in 0..<(warmups + bench.iterations) {
      let start = Clock.now()
      _ = try await load.run(requests, concurrency: nil)
      if place >= warmups { latencies.append(Clock.now() - start) }
      // A prefix found again would measure something else.
      _ = await engine.client.resetPrefixCache()
      display.update(done: place + 1, total: warmups + bench.iterations)
    }
    display.finish()
    try report(latencies)
  }

  func report(_ latencies: [Double]) throws {
    let distribution = Distribution(latencies)
    let ranks = [10.0, 25, 50, 75, 90, 99]
    console.print("Avg latency: \(distribution.mean) seconds")
    var percentiles = JSONObject()
    for rank in ranks {
      let value = distribution.percentile(rank)
      console.print("\(Int(rank))% percentile latency: \(value) seconds")
      percentiles[String(Int(rank))] = .double(value)
    }
    guard let path = bench.outputJSON else { return }
    let result: JSON = [
      "avg_latency": .double(distribution.mean), "latencies": .array(latencies.map { .double($0) }),
      "percentiles": .object(percentiles),
    ]
    try TextFile.write(result.text + "\n", to: path)
  }
}
