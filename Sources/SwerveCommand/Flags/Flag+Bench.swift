import SwerveCore

extension Flag {
  static let latency: [Flag] = [
    .int("input-len", .benchLatency, \.bench.inputLength, default: 32, "prompt tokens"),
    .int("output-len", .benchLatency, \.bench.outputLength, default: 128, "tokens to generate"),
    .int("batch-size", .benchLatency, \.bench.batchSize, default: 8, "prompts at once"),
    .int("n", .benchLatency, \.bench.n, default: 1, "sequences per prompt"),
    .bool("use-beam-search", .benchLatency, \.bench.useBeamSearch, default: false, "beams of width --n"),
    .int("num-iters-warmup", .benchLatency, \.bench.iterationsWarmup, default: "10", "runs that do not count"),
    .int("num-iters", .benchLatency, \.bench.iterations, default: 30, "runs that count"),
    .bool("disable-detokenize", .benchLatency, \.bench.disableDetokenize, default: false, "make no text"),
    .string("output-json", .benchLatency, \.bench.outputJSON, "file for the result"),
  ]

  static let throughput: [Flag] =
    [
      .string(
        "dataset-name", .benchThroughput, \.bench.datasetName, default: "sharegpt, random without --dataset-path",
        "random, sharegpt, prefix_repetition or custom"),
      .string("dataset-path", .benchThroughput, \.bench.datasetPath, "file of the data set"),
      .custom("input-len", .int, .benchThroughput, default: "1024", "prompt tokens (random)") {
        if case .int(let value) = $1 { $0.bench.randomInputLength = value }
      },
      .custom("output-len", .int, .benchThroughput, default: "128, or the data's", "tokens to generate") {
        if case .int(let value) = $1 {
          $0.bench.randomOutputLength = value
          $0.bench.fixedOutputLength = value
        }
      },
      .int("num-prompts", .benchThroughput, \.bench.promptCount, default: 1000, "requests"),
      .int("n", .benchThroughput, \.bench.n, default: 1, "sequences per prompt"),
      .custom("prefix-len", .int, .benchThroughput, default: "0", "tokens all prompts begin with (random)") {
        if case .int(let value) = $1 { $0.bench.randomPrefixLength = value }
      },
      .ignored("async-engine", .bool, .benchThroughput, why: "there is one engine", "use the streaming engine"),
      .int("num-warmups", .benchThroughput, \.bench.warmups, default: 0, "requests that do not count"),
      .later("lora-path", .string, .benchThroughput, default: "null", why: "there are no adapters", "adapter"),
      .bool("disable-detokenize", .benchThroughput, \.bench.disableDetokenize, default: false, "make no text"),
      .string("output-json", .benchThroughput, \.bench.outputJSON, "file for the result"),
    ] + repetition(.benchThroughput)

  static let replay: [Flag] = [
    .string("requests", .benchReplay, \.bench.requestsFile, "JSONL file: prompt_token_ids, max_tokens"),
    .int("concurrency", .benchReplay, \.bench.maxConcurrency, default: "all", "requests at once"),
    .custom(
      "temperature", .double, .benchReplay, default: "greedy", "more than 0 samples, seeded by the request's place"
    ) {
      if case .double(let value) = $1 { $0.bench.temperature = value }
    },
  ]

  static let startup: [Flag] = [
    .int("num-iters-cold", .benchStartup, \.bench.iterationsCold, default: 3, "starts with the files out of memory"),
    .int("num-iters-warmup", .benchStartup, \.bench.iterationsWarmup, default: "1", "starts that do not count"),
    .int("num-iters-warm", .benchStartup, \.bench.iterationsWarm, default: 3, "starts with the files in memory"),
    .string("output-json", .benchStartup, \.bench.outputJSON, "file for the result"),
  ]

  static let perplexity: [Flag] = [
    .string("text", .benchPerplexity, \.bench.textFile, "text file to score"),
    .int("context", .benchPerplexity, \.bench.contextTokens, default: "1024, or the model's", "tokens of a window"),
    .int("stride", .benchPerplexity, \.bench.strideTokens, default: "half a window", "tokens a window moves on"),
    .int("limit-tokens", .benchPerplexity, \.bench.limitTokens, default: "all", "tokens of the text to use"),
  ]

  static let benchServe: [Flag] = target + data + load + report

  private static let target: [Flag] = [
    .custom(
      "backend",
      .choice([
        "openai": "openai", "vllm": "openai", "llama.cpp": "openai", "openai-chat": "openai-chat",
        "openai-embeddings": "openai-embeddings",
      ]), .benchServe, default: "openai", "openai (completions) or openai-chat"
    ) { settings, value in
      if value.text == "openai-embeddings" {
        throw FlagError("openai-embeddings is not supported yet: give openai or openai-chat")
      }
      settings.bench.backend = value.text
    },
    .string("base-url", .benchServe, \.bench.baseURL, "http://host:port, in place of --host and --port"),
    .string("host", .benchServe, \.bench.host, default: "127.0.0.1", "host of the server"),
    .int("port", .benchServe, \.bench.port, default: 8000, "port of the server"),
    .string("endpoint", .benchServe, \.bench.endpoint, default: "/v1/completions", "path of the requests"),
    .string("model", .benchServe, \.model, default: "the first listed", "model to ask for"),
    .string("api-key", .benchServe, \.bench.apiKey, environment: ["OPENAI_API_KEY"], isSecret: true, "key"),
    .list("header", .benchServe, \.bench.headers, "further headers: Name=Value"),
    .bool("insecure", .benchServe, \.bench.insecure, default: false, "accept any certificate"),
    .double(
      "ready-check-timeout-sec", .benchServe, \.bench.readyTimeout, default: 600, "seconds to wait for the server"),
  ]

  private static let data: [Flag] =
    [
      .string(
        "dataset-name", .benchServe, \.bench.datasetName, default: "random",
        "random, sharegpt, prefix_repetition or custom"),
      .string("dataset-path", .benchServe, \.bench.datasetPath, "file of the data set"),
      .int(
        "random-input-len", .benchServe, \.bench.randomInputLength, default: 1024, aliases: ["input-len"],
        "prompt tokens"),
      .int("random-output-len", .benchServe, \.bench.randomOutputLength, default: 128, "tokens to generate"),
      .custom("output-len", .int, .benchServe, default: "the data's", "tokens to generate, whatever the data set says")
      {
        if case .int(let value) = $1 {
          $0.bench.randomOutputLength = value
          $0.bench.fixedOutputLength = value
        }
      },
      .double(
        "random-range-ratio", .benchServe, \.bench.randomRangeRatio, default: 0, "spread of both lengths, 0 ..< 1"),
      .int("random-prefix-len", .benchServe, \.bench.randomPrefixLength, default: 0, "tokens all prompts begin with"),
      .int("num-prompts", .benchServe, \.bench.promptCount, default: 1000, "requests"),
      .int("num-warmups", .benchServe, \.bench.warmups, default: 0, "requests that do not count"),
      .int("seed", .benchServe, \.bench.seed, default: 0, "seed of prompts and arrivals"),
    ] + repetition(.benchServe)

  private static let load: [Flag] = [
    .double("request-rate", .benchServe, \.bench.requestRate, default: .infinity, "requests/s; inf = all at once"),
    .double("burstiness", .benchServe, \.bench.burstiness, default: 1, "1 = Poisson, less = bursts, more = even"),
    .int("max-concurrency", .benchServe, \.bench.maxConcurrency, default: "no limit", "requests under way"),
    .custom("ramp-up-strategy", .words("linear", "exponential"), .benchServe, "let the rate grow") {
      $0.bench.rampUp = $1.text
    },
    optionalDouble("ramp-up-start-rps", .benchServe, \.bench.rampUpStart, "first rate"),
    optionalDouble("ramp-up-end-rps", .benchServe, \.bench.rampUpEnd, "last rate"),
    .bool("ignore-eos", .benchServe, \.bench.ignoreEos, default: false, "generate the whole length"),
    optionalDouble("temperature", .benchServe, \.bench.temperature, "0 = greedy"),
    optionalDouble("top-p", .benchServe, \.bench.topP, "share of probability considered"),
    .int("top-k", .benchServe, \.bench.topK, "number of tokens considered"),
    .object("extra-body", .benchServe, \.bench.extraBody, "further members of each request"),
    .later("soak-hours", .double, .benchServe, default: "0", why: "raise --num-prompts instead", "run for hours"),
    .later("connections", .int, .benchServe, default: "0", why: "idle streams are not opened", "idle streams"),
  ]

  private static let report: [Flag] = [
    .list("goodput", .benchServe, \.bench.goodput, "targets in ms: ttft:500 tpot:50 e2el:2000"),
    .custom(
      "percentile-metrics", .string, .benchServe, default: "ttft,tpot,itl,e2el",
      "which of ttft, tpot, itl, e2el to print"
    ) { settings, value in
      let names = value.text.split(separator: ",").map(String.init)
      for name in names where !["ttft", "tpot", "itl", "e2el"].contains(name) {
        throw FlagError("knows ttft, tpot, itl and e2el, not \(name)")
      }
      settings.bench.percentileMetrics = names
    },
    .custom("metric-percentiles", .string, .benchServe, default: "99", "which percentiles: 50,99") { settings, value in
      settings.bench.metricPercentiles = try value.text.split(separator: ",").map { part in
        guard let percentile = Double(part), (0...100).contains(percentile) else {
          throw FlagError("needs numbers between 0 and 100, not \(part)")
        }
        return percentile
      }
    },
    .bool("save-result", .benchServe, \.bench.savesResult, default: false, "write the result as JSON"),
    .bool("save-detailed", .benchServe, \.bench.savesDetails, default: false, "with every request"),
    .string("result-dir", .benchServe, \.bench.resultFolder, default: ".", "folder of the result"),
    .string("result-filename", .benchServe, \.bench.resultFile, "file of the result"),
    .list("metadata", .benchServe, \.bench.metadata, "further members of the result: key=value"),
  ]

  private static func repetition(_ section: Section) -> [Flag] {
    [
      .int("prefix-repetition-prefix-len", section, \.bench.repetitionPrefixLength, default: 256, "shared tokens"),
      .int("prefix-repetition-suffix-len", section, \.bench.repetitionSuffixLength, default: 256, "own tokens"),
      .int("prefix-repetition-num-prefixes", section, \.bench.repetitionPrefixes, default: 10, "different beginnings"),
      .int("prefix-repetition-output-len", section, \.bench.repetitionOutputLength, default: 128, "tokens to generate"),
    ]
  }
}
