import SwerveCore

/// `bench throughput`: all requests at once, tokens a second over everything.
struct ThroughputBench {
  let bench: BenchSettings
  let console: Console

  func run(_ engine: StartedEngine) async throws {
    let client = engine.client
    let load = EngineLoad(client: client)
    let tokenize: ((String) async throws -> [TokenID])? =
      client.model.hasTokenizer
      ? { try await client.tokenize(.text($0), addSpecialTokens: true).tokens } : nil
    let dataset = Dataset(bench: bench, tokenize: tokenize, vocabulary: load.vocabulary)
    let prompts = try await dataset.prompts(defaultName: bench.datasetPath == nil ? "random" : "sharegpt")
    let limit = client.model.maxModelLength
    let requests = prompts.enumerated().compactMap { place, prompt -> GenerationRequest? in
      if prompt.promptTokens + prompt.outputTokens > limit { return nil }
      return load.request(
        prompt.content, maxTokens: prompt.outputTokens, ordinal: place, n: bench.n,
        detokenize: !bench.disableDetokenize)
    }
    if requests.isEmpty {
      throw CommandError(.usage, "no prompt with its output fits the model's \(limit) tokens; shorten them.")
    }
    if requests.count < prompts.count {
      console.warn("\(prompts.count - requests.count) prompts are longer than the model's \(limit) tokens: left out.")
    }
    if bench.warmups > 0 { _ = try await load.run(Array(requests.prefix(bench.warmups)), concurrency: nil) }
    let display = ProgressDisplay("throughput", unit: .count("requests"), console: console)
    let start = Clock.now()
    let timings = try await load.run(requests, concurrency: nil) { display.update(done: $0, total: requests.count) }
    let elapsed = Clock.now() - start
    display.finish()
    try report(timings, elapsed: elapsed)
  }

  func report(_ timings: [RequestTiming], elapsed: Double) throws {
    let output = timings.reduce(0) { $0 + $1.outputTokens }
    let total = timings.reduce(output) { $0 + $1.promptTokens }
    let requestRate = Double(timings.count) / elapsed
    let tokenRate = Double(total) / elapsed
    console.print(
      "Throughput: \(Format.fixed(requestRate, 2)) requests/s, \(Format.fixed(tokenRate, 2)) total tokens/s, "
        + "\(Format.fixed(Double(output) / elapsed, 2)) output tokens/s")
    guard let path = bench.outputJSON else { return }
    let result: JSON = [
      "elapsed_time": .double(elapsed), "num_requests": .int(timings.count), "total_num_tokens": .int(total),
      "requests_per_second": .double(requestRate), "tokens_per_second": .double(tokenRate),
    ]
    try TextFile.write(result.text + "\n", to: path)
  }
}
