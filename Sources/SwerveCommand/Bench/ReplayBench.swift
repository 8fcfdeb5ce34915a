package import SwerveCore
import Synchronization

/// `bench replay`: given token ids, greedy (or seeded sampling) and to full length; one JSON object on standard output. Loading is not part
/// of the elapsed time, HTTP is not involved.
package struct ReplayBench {
  let bench: BenchSettings
  let console: Console

  package init(bench: BenchSettings, console: Console) {
    self.bench = bench
    self.console = console
  }

  /// Lines `{"prompt_token_ids": […], "max_tokens": n}`. Throws a sentence that names the line.
  package static func read(_ path: String) throws -> [BenchPrompt] {
    var prompts: [BenchPrompt] = []
    for (place, line) in try TextFile.read(path).split(whereSeparator: \.isNewline).enumerated() {
      func wrong(_ what: String) -> CommandError { CommandError(.usage, "\(path), line \(place + 1): \(what).") }
      let json: JSON
      do { json = try JSON(parsing: String(line)) } catch { throw wrong("\(error)") }
      guard let ids = json["prompt_token_ids"]?.array, !ids.isEmpty else {
        throw wrong("prompt_token_ids must be a list")
      }
      let tokens = try ids.map { id -> TokenID in
        guard let value = id.int, let token = Int32(exactly: value), token >= 0 else {
          throw wrong("\(id.text) is no token id")
        }
        return TokenID(rawValue: token)
      }
      guard let maxTokens = json["max_tokens"]?.int, maxTokens > 0 else { throw wrong("max_tokens must be positive") }
      prompts.append(BenchPrompt(content: .tokens(tokens), promptTokens: tokens.count, outputTokens: maxTokens))
    }
    if prompts.isEmpty { throw CommandError(.usage, "\(path) holds no request.") }
    return prompts
  }

  /// `loadSeconds` is what starting the engine took.
  package func run(_ prompts: [BenchPrompt], _ engine: StartedEngine, loadSeconds: Double) async throws -> JSON {
    let load = EngineLoad(client: engine.client)
    let requests = prompts.enumerated().map { place, prompt in
      var request = load.request(prompt.content, maxTokens: prompt.outputTokens, ordinal: place)
      if let temperature = bench.temperature, temperature > 0 {
        request.params.temperature = Float(temperature)
        request.params.seed = place
      }
      return request
    }
    let before = engine.client.statistics
    let client = engine.client
    let peakBlocks = Mutex(0)
    let watch = Task {
      while !Task.isCancelled {
        let used = client.statistics.blocksUsed
        peakBlocks.withLock { $0 = max($0, used) }
        do { try await Task.sleep(for: .milliseconds(20)) } catch { return }
      }
    }
    let display = ProgressDisplay("replay", unit: .count("requests"), console: console)
    let start = Clock.now()
    let timings = try await load.run(requests, concurrency: bench.maxConcurrency) {
      display.update(done: $0, total: requests.count)
    }
    let elapsed = Clock.now() - start
    watch.cancel()
    await watch.value
    display.finish()
    let after = client.statistics
    let output = timings.reduce(0) { $0 + $1.outputTokens }
    let firsts = timings.compactMap(\.firstToken)
    func percentiles(_ values: [Double]) -> JSON {
      let distribution = Distribution(values)
      return ["p50": .double(distribution.percentile(50)), "p99": .double(distribution.percentile(99))]
    }
    return [
      "elapsed_s": .double(elapsed), "requests": .int(timings.count),
      "prompt_tokens": .int(timings.reduce(0) { $0 + $1.promptTokens }), "output_tokens": .int(output),
      "output_tokens_per_s": .double(elapsed > 0 ? Double(output) / elapsed : 0),
      // Until every request of the first wave had its first token.
      "prefill_s": .double(firsts.prefix(bench.maxConcurrency ?? .max).max() ?? 0), "ttft_s": percentiles(firsts),
      "itl_s": percentiles(timings.flatMap(\.gaps)), "load_s": .double(loadSeconds),
      "peak_rss_mib": .double((ProcessMemory.peakMiB * 10).rounded() / 10),
      "kv": [
        "blocks_total": .int(after.blocksTotal), "blocks_used": .int(peakBlocks.withLock { $0 }),
        "hit_tokens": .int(after.prefixHitTokens - before.prefixHitTokens),
        "queried_tokens": .int(after.prefixQueriedTokens - before.prefixQueriedTokens),
        "preemptions": .int(after.preemptions - before.preemptions),
      ],
      "speculation": [
        "drafts": .int(after.drafts - before.drafts), "draft_tokens": .int(after.draftTokens - before.draftTokens),
        "accepted_tokens": .int(after.acceptedTokens - before.acceptedTokens),
        "steps": .int(after.steps - before.steps),
      ],
    ]
  }
}
