import SwerveCore

/// The body of `POST /v1/completions`, read and checked.
struct CompletionRequest {
  var prompts: [GenerationRequest.Prompt]
  var params: SamplingParams
  var options: RequestOptions
  var echo: Bool
  /// Choices returned per prompt; `params.n` (= `best_of`) are generated.
  var n: Int
  /// How log-probabilities are shown; nil = not asked for.
  var logprobs: LogprobStyle?
  var addSpecialTokens: Bool

  init(body: JSON, model: ModelInfo, configuration: ServerConfiguration) throws(RequestError) {
    let reader = try FieldReader(body: body)
    options = try RequestOptions(reader, configuration: configuration)
    try UnavailableFields.check(reader)
    if let suffix = try reader.string("suffix"), !suffix.isEmpty {
      throw .badRequest("suffix is not supported by this model", param: "suffix")
    }
    prompts = try Self.prompts(reader, most: configuration.maxCompletionPrompts)
    echo = try reader.bool("echo") ?? false
    addSpecialTokens = try reader.bool("add_special_tokens") ?? true
    let fields = SamplingFields(reader: reader, model: model)
    params = try fields.params(defaultMaxTokens: 16, allowsZeroTokens: echo)
    n = params.n
    let asked = try reader.int("logprobs")
    logprobs = asked.map { LogprobStyle(showsTokensAsIDs: options.showsTokensAsIDs, count: $0) }
    params.logprobs = asked
    params.promptLogprobs = options.promptLogprobs
    try fields.finish(&params)
    try readBestOf(reader, model)
    // A few bytes must not ask for memory without bound.
    let (choices, isTooMany) = params.n.multipliedReportingOverflow(by: prompts.count)
    if isTooMany || choices > max(model.limits.maxSequences, prompts.count) {
      throw .badRequest(
        "n (or best_of) times the number of prompts must be at most \(model.limits.maxSequences).", param: "n")
    }
    if echo, let asked {
      if params.useBeamSearch {
        throw .badRequest("echo with logprobs cannot be combined with use_beam_search.", param: "echo")
      }
      // A request may ask for both; the larger number serves both and each is cut down when written.
      params.promptLogprobs = Self.larger(asked, params.promptLogprobs)
    }
  }

  private mutating func readBestOf(_ reader: FieldReader, _ model: ModelInfo) throws(RequestError) {
    guard let bestOf = try reader.int("best_of") else { return }
    guard bestOf >= n, bestOf <= model.limits.maxSequences else {
      throw .badRequest(
        "best_of must be between n (\(n)) and \(model.limits.maxSequences), got \(bestOf).", param: "best_of")
    }
    guard bestOf > n else { return }
    if options.isStreaming { throw .badRequest("best_of is not available with stream: true.", param: "best_of") }
    if params.useBeamSearch {
      throw .badRequest("best_of cannot be combined with use_beam_search.", param: "best_of")
    }
    if params.isGreedy {
      throw .badRequest("best_of must be 1 when temperature is 0 (greedy), got \(bestOf).", param: "best_of")
    }
    params.n = bestOf
    // Choices are ranked by mean log-probability, so the engine must report it.
    params.logprobs = params.logprobs ?? 0
  }

  /// −1 = the whole vocabulary beats any number.
  private static func larger(_ a: Int, _ b: Int?) -> Int {
    guard let b else { return a }
    return a < 0 || b < 0 ? -1 : max(a, b)
  }

  // MARK: Prompts

  private static func prompts(_ reader: FieldReader, most: Int) throws(RequestError) -> [GenerationRequest.Prompt] {
    switch reader.value("prompt") {
    case nil:
      throw .badRequest("prompt is required: a string, a list of strings or token ids.", param: "prompt")
    case .string(let text)?:
      return [try prompt(text, "prompt")]
    case .array(let items)?:
      guard let first = items.first else { throw .badRequest("prompt must not be an empty list.", param: "prompt") }
      if first.int != nil { return [.tokens(try reader.tokens(items, "prompt"))] }
      guard items.count <= most else {
        throw .badRequest("prompt has \(items.count) entries and this server takes at most \(most).", param: "prompt")
      }
      var prompts: [GenerationRequest.Prompt] = []
      for (place, item) in items.enumerated() { prompts.append(try prompt(item, "prompt.\(place)", reader)) }
      return prompts
    case let value?:
      throw reader.mismatch("prompt", expected: "a string, a list of strings or token ids", got: value)
    }
  }

  private static func prompt(
    _ item: JSON, _ name: String, _ reader: FieldReader
  ) throws(RequestError) -> GenerationRequest.Prompt {
    switch item {
    case .string(let text): return try prompt(text, name)
    case .array(let ids):
      if ids.isEmpty { throw .badRequest("\(name) must not be an empty list.", param: name) }
      return .tokens(try reader.tokens(ids, name))
    default: throw reader.mismatch(name, expected: "a string or a list of token ids", got: item)
    }
  }

  private static func prompt(_ text: String, _ name: String) throws(RequestError) -> GenerationRequest.Prompt {
    if text.isEmpty { throw .badRequest("\(name) must not be empty.", param: name) }
    return .text(text)
  }

  // MARK: For the engine

  /// One engine request per prompt; with several, each id gets its place.
  func requests(id: String) -> [GenerationRequest] {
    prompts.enumerated().map { place, prompt in
      var request = GenerationRequest(
        id: prompts.count == 1 ? id : "\(id)-\(place)", prompt: prompt, params: params)
      request.addSpecialTokens = addSpecialTokens
      options.apply(to: &request)
      request.kvTransfer?.place = place
      return request
    }
  }
}

extension RequestOptions {
  func apply(to request: inout GenerationRequest) {
    request.truncatePromptTokens = truncatePromptTokens
    request.truncationSide = truncationSide
    request.priority = priority
    request.cacheSalt = cacheSalt
    request.tenant = tenant
    request.serviceTier = serviceTier
    request.idempotency = idempotency
    request.kvTransfer = kvTransfer
  }
}
