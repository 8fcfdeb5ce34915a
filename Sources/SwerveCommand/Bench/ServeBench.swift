import NIOHTTP1
import SwerveCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// `bench serve`: requests arrive at a server by a schedule; latencies are measured at this end of the connection.
struct ServeBench {
  let bench: BenchSettings
  let model: String?
  let console: Console

  private var isChat: Bool { bench.backend == "openai-chat" }
  private var path: String {
    if let endpoint = bench.endpoint { return endpoint.hasPrefix("/") ? endpoint : "/\(endpoint)" }
    return isChat ? "/v1/chat/completions" : "/v1/completions"
  }

  func run() async throws {
    let goodput = try targets()
    let schedule = try schedule()
    let headers = try bench.headers.map { header -> (String, String) in
      let (name, value) = try pair(header, flag: "--header")
      return (name, value)
    }
    let client = try OpenAIClient(
      url: bench.baseURL ?? "http://\(bench.host):\(bench.port)", apiKey: bench.apiKey, headers: headers,
      insecure: bench.insecure, connections: max(64, bench.maxConcurrency ?? bench.promptCount))
    let outcome: Result<Void, any Error>
    do {
      outcome = .success(try await measure(client, schedule: schedule, goodput: goodput))
    } catch {
      outcome = .failure(error)
    }
    try await client.shutdown()
    try outcome.get()
  }

  private func measure(_ client: OpenAIClient, schedule: ArrivalSchedule, goodput: [String: Double]) async throws {
    let model = try await waitUntilReady(client)
    let (tokenize, vocabulary) = await tokens(client, model: model)
    let dataset = Dataset(bench: bench, tokenize: isChat ? nil : tokenize, vocabulary: isChat ? [] : vocabulary)
    let prompts = try await dataset.prompts(defaultName: "random")
    if prompts.isEmpty { throw CommandError(.usage, "--num-prompts must be at least 1.") }
    for prompt in prompts.prefix(bench.warmups) { _ = await send(prompt, client: client, model: model) }

    let times = schedule.times(count: prompts.count, seed: bench.seed)
    let gate = Gate(limit: bench.maxConcurrency ?? .max)
    let display = ProgressDisplay("serve", unit: .count("requests"), console: console)
    let start = Clock.now()
    let outcomes = await withTaskGroup(of: (Int, ServeOutcome).self) { group in
      for (place, prompt) in prompts.enumerated() {
        group.addTask {
          let wait = start + times[place] - Clock.now()
          // A cancelled wait sends at once; the request then fails as cancelled.
          if wait > 0 { try? await Task.sleep(for: .seconds(wait)) }
          await gate.enter()
          let sent = Clock.now() - start
          var outcome = await send(prompt, client: client, model: model)
          outcome.sent = sent
          gate.leave()
          return (place, outcome)
        }
      }
      var outcomes = [ServeOutcome](repeating: ServeOutcome(), count: prompts.count)
      var finished = 0
      for await (place, outcome) in group {
        outcomes[place] = outcome
        finished += 1
        display.update(done: finished, total: prompts.count)
      }
      return outcomes
    }
    let duration = Clock.now() - start
    display.finish()
    let result = ServeResult(
      outcomes: outcomes, duration: duration, maxConcurrency: bench.maxConcurrency, goodput: goodput,
      metrics: bench.percentileMetrics, percentiles: bench.metricPercentiles)
    console.print(result.text)
    if let error = outcomes.compactMap(\.error).first { console.warn("the first failed request: \(error)") }
    if bench.savesResult || bench.savesDetails { try save(result, model: model) }
    if outcomes.allSatisfy({ $0.error != nil }) { throw CommandError(.internalError, "no request was answered.") }
  }

  // MARK: One request

  private func send(_ prompt: BenchPrompt, client: OpenAIClient, model: String) async -> ServeOutcome {
    var outcome = ServeOutcome()
    outcome.timing.promptTokens = prompt.promptTokens
    var chunks = RequestTiming()
    var counted: Int?
    let start = Clock.now()
    var last = 0.0
    do {
      try await client.stream(path, body: .object(body(prompt, model: model))) { event in
        let now = Clock.now() - start
        if let usage = event["usage"], !usage.isNull {
          counted = usage["completion_tokens"]?.int ?? counted
          outcome.timing.promptTokens = usage["prompt_tokens"]?.int ?? outcome.timing.promptTokens
        }
        guard let choice = event["choices"]?[0] else { return }
        let delta = choice["delta"] ?? choice
        let texts = ["content", "reasoning", "reasoning_content", "text"].compactMap { delta[$0]?.string }
        chunks.arrived(texts.contains { !$0.isEmpty } ? 1 : 0, now: now, last: &last)
      }
      if chunks.firstToken == nil, counted ?? 0 == 0 { outcome.error = "the answer had no token" }
    } catch {
      outcome.error = "\(error)"
    }
    outcome.timing.firstToken = chunks.firstToken
    outcome.timing.gaps = chunks.gaps
    outcome.timing.outputTokens = counted ?? chunks.outputTokens
    outcome.timing.total = Clock.now() - start
    return outcome
  }

  private func body(_ prompt: BenchPrompt, model: String) -> JSONObject {
    var body: JSONObject = ["model": .string(model)]
    switch prompt.content {
    case .text(let text) where isChat: body["messages"] = [["role": "user", "content": .string(text)]]
    case .text(let text): body["prompt"] = .string(text)
    case .tokens(let tokens): body["prompt"] = .array(tokens.map { .int(Int($0.rawValue)) })
    }
    body[isChat ? "max_completion_tokens" : "max_tokens"] = .int(prompt.outputTokens)
    body["stream"] = true
    body["stream_options"] = ["include_usage": true]
    body["temperature"] = .double(bench.temperature ?? 0)
    if let value = bench.topP { body["top_p"] = .double(value) }
    if let value = bench.topK { body["top_k"] = .int(value) }
    if bench.ignoreEos { body["ignore_eos"] = true }
    for (key, value) in bench.extraBody { body[key] = value }
    return body
  }

  // MARK: Preparation

  /// The model's name once the server answers.
  private func waitUntilReady(_ client: OpenAIClient) async throws -> String {
    let end = Clock.now() + bench.readyTimeout
    while true {
      do {
        let models = try await client.models()
        if let model = model ?? models.first { return model }
        throw CommandError(.usage, "the server lists no model; name one with --model.")
      } catch let error as RemoteError {
        guard case .unreachable = error, Clock.now() < end else { throw error }
        try await Task.sleep(for: .seconds(1))
      }
    }
  }

  /// The server's tokenizer and ids for random prompts, where it has `/tokenize`; else text prompts are sent.
  private func tokens(
    _ client: OpenAIClient, model: String
  ) async -> (((String) async throws -> [TokenID])?, [TokenID]) {
    func tokenize(_ text: String) async throws -> [TokenID] {
      let answer = try await client.json(
        .POST, "/tokenize",
        body: ["model": .string(model), "prompt": .string(text), "add_special_tokens": false])
      return (answer["tokens"]?.array ?? []).compactMap { $0.int }.compactMap { Int32(exactly: $0) }.map {
        TokenID(rawValue: $0)
      }
    }
    do {
      let vocabulary = Set(try await tokenize(FillerText.all)).sorted()
      return vocabulary.isEmpty ? (nil, []) : (tokenize, vocabulary)
    } catch {
      return (nil, [])
    }
  }

  private func schedule() throws(CommandError) -> ArrivalSchedule {
    var schedule = ArrivalSchedule()
    guard bench.requestRate > 0 else { throw CommandError(.usage, "--request-rate must be positive or inf.") }
    guard bench.burstiness > 0 else { throw CommandError(.usage, "--burstiness must be positive.") }
    schedule.rate = bench.requestRate
    schedule.burstiness = bench.burstiness
    if let kind = bench.rampUp.flatMap(ArrivalSchedule.RampUp.init) {
      guard let from = bench.rampUpStart, let to = bench.rampUpEnd, from > 0, to > 0 else {
        throw CommandError(.usage, "--ramp-up-strategy needs positive --ramp-up-start-rps and --ramp-up-end-rps.")
      }
      schedule.rampUp = (kind, from, to)
    }
    return schedule
  }

  private func targets() throws(CommandError) -> [String: Double] {
    var targets: [String: Double] = [:]
    for item in bench.goodput {
      let parts = item.split(separator: ":")
      guard parts.count == 2, ["ttft", "tpot", "e2el"].contains(String(parts[0])), let limit = Double(parts[1]),
        limit > 0
      else { throw CommandError(.usage, "--goodput takes ttft:MS, tpot:MS and e2el:MS, not \(item).") }
      targets[String(parts[0])] = limit
    }
    return targets
  }

  private func pair(_ text: String, flag: String) throws(CommandError) -> (String, String) {
    guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
      throw CommandError(.usage, "\(flag) takes NAME=VALUE, not \(text).")
    }
    return (String(text[..<equals]), String(text[text.index(after: equals)...]))
  }

  // MARK: Result file

  private func save(_ result: ServeResult, model: String) throws {
    let date = Self.date()
    var json: JSONObject = [
      "date": .string(date), "backend": .string(bench.backend), "model_id": .string(model),
      "num_prompts": .int(bench.promptCount),
      "request_rate": bench.requestRate.isFinite ? .double(bench.requestRate) : "inf",
      "burstiness": .double(bench.burstiness), "max_concurrency": bench.maxConcurrency.map { .int($0) } ?? .null,
    ]
    for item in bench.metadata {
      let (key, value) = try pair(item, flag: "--metadata")
      json[key] = .string(value)
    }
    for (key, value) in result.json(isDetailed: bench.savesDetails) { json[key] = value }
    let rate = bench.requestRate.isFinite ? FlagValue.double(bench.requestRate).text : "inf"
    let concurrency = bench.maxConcurrency.map { "-concurrency\($0)" } ?? ""
    let base = model.split(separator: "/").last.map(String.init) ?? "model"
    let name = bench.resultFile ?? "\(bench.backend)-\(rate)qps\(concurrency)-\(base)-\(date).json"
    let path = bench.resultFolder.map { "\($0)/\(name)" } ?? name
    try TextFile.write(JSON.object(json).text + "\n", to: path)
    console.print("result: \(path)")
  }

  /// `20260307-090502`, in UTC.
  private static func date() -> String {
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    var buffer = [CChar](repeating: 0, count: 32)
    let count = strftime(&buffer, buffer.count, "%Y%m%d-%H%M%S", &parts)
    return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
