import SwerveCore

/// Sampling fields shared by every generating endpoint (HTTP API §3), read in this order: the request's value, the
/// server's default (`generation_config.json`), the field's own default.
struct SamplingFields {
  let reader: FieldReader
  let model: ModelInfo

  /// Reads and range-checks everything but the log-probability fields, which each endpoint spells its own way.
  ///
  /// - Parameter defaultMaxTokens: what applies when neither request nor server says; nil = rest of the context.
  /// - Parameter allowsZeroTokens: whether `max_tokens: 0` is meaningful (completions that echo and score the prompt).
  func params(defaultMaxTokens: Int?, allowsZeroTokens: Bool) throws(RequestError) -> SamplingParams {
    var params = SamplingParams()
    params.temperature = try float("temperature") ?? 1
    params.topP = try float("top_p") ?? 1
    params.topK = try int("top_k") ?? 0
    params.minP = try float("min_p") ?? 0
    params.presencePenalty = try float("presence_penalty") ?? 0
    params.frequencyPenalty = try float("frequency_penalty") ?? 0
    params.repetitionPenalty = try float("repetition_penalty") ?? 1
    params.seed = try int("seed").flatMap { $0 == -1 ? nil : $0 }
    params.n = try int("n") ?? 1
    params.stop = try stopStrings()
    params.stopTokenIds = try reader.tokens("stop_token_ids") ?? serverTokens("stop_token_ids")
    params.includeStopStrInOutput = try reader.bool("include_stop_str_in_output") ?? false
    params.ignoreEos = try reader.bool("ignore_eos") ?? false
    params.maxTokens = try maxTokens(default: defaultMaxTokens, allowsZero: allowsZeroTokens)
    params.minTokens = try int("min_tokens") ?? 0
    params.logitBias = try logitBias()
    params.allowedTokenIds = try reader.tokens("allowed_token_ids")
    params.badWords = try reader.strings("bad_words") ?? []
    params.logprobTokenIds = try reader.tokens("logprob_token_ids")
    params.skipSpecialTokens = try reader.bool("skip_special_tokens") ?? true
    params.spacesBetweenSpecialTokens = try reader.bool("spaces_between_special_tokens") ?? true
    params.detokenize = try reader.bool("detokenize") ?? true
    params.skipReadingPrefixCache = try reader.bool("skip_reading_prefix_cache")
    params.useBeamSearch = try reader.bool("use_beam_search") ?? false
    if let width = try reader.int("num_beams", in: 1...Int(Int32.max)), width > 1 {
      params.useBeamSearch = true
      params.beamWidth = width
    }
    params.lengthPenalty = try reader.float("length_penalty") ?? 1
    params.earlyStopping = try earlyStopping()
    return params
  }

  /// Applies the rules between fields and the model's limits; the last step before a request goes to the engine.
  func finish(_ params: inout SamplingParams) throws(RequestError) {
    try params.validate(limits: model.limits)
    if params.useBeamSearch, params.logprobTokenIds != nil {
      throw .badRequest("logprob_token_ids cannot be combined with use_beam_search.", param: "logprob_token_ids")
    }
    if params.isGreedy {
      params.topP = 1
      params.topK = 0
      params.minP = 0
    } else if params.temperature < 0.01 {
      params.temperature = 0.01
    }
  }

  // MARK: One field each

  private func float(_ name: String) throws(RequestError) -> Float? {
    if let value = try reader.float(name) { return value }
    return model.defaults[name]?.double.map { Float($0) }
  }

  private func int(_ name: String) throws(RequestError) -> Int? {
    if let value = try reader.int(name) { return value }
    return model.defaults[name]?.int
  }

  private func serverTokens(_ name: String) -> [TokenID] {
    (model.defaults[name]?.array ?? []).compactMap { $0.int }.compactMap { Int32(exactly: $0) }
      .map { TokenID(rawValue: $0) }
  }

  private func stopStrings() throws(RequestError) -> [String] {
    switch reader.value("stop") {
    case nil: return []
    case .string(let string)?: return [string]
    case .array?: return try reader.strings("stop") ?? []
    case let value?: throw reader.mismatch("stop", expected: "a string or a list of strings", got: value)
    }
  }

  /// `max_completion_tokens` wins over `max_tokens`; the engine clamps to what the context holds.
  private func maxTokens(default defaultValue: Int?, allowsZero: Bool) throws(RequestError) -> Int? {
    let older = try reader.int("max_tokens")
    let newer = try reader.int("max_completion_tokens")
    for (value, name) in [(older, "max_tokens"), (newer, "max_completion_tokens")] {
      guard let value, value < (allowsZero ? 0 : 1) else { continue }
      throw .badRequest("\(name) must be at least \(allowsZero ? 0 : 1), got \(value).", param: name)
    }
    return newer ?? older ?? model.defaults["max_new_tokens"]?.int ?? defaultValue
  }

  private func earlyStopping() throws(RequestError) -> EarlyStopping {
    if case .string("never")? = reader.value("early_stopping") { return .never }
    return try reader.bool("early_stopping") == true ? .whenFull : .whenUnlikely
  }

  /// Keys are token ids written as strings; values are clamped to −100…100.
  private func logitBias() throws(RequestError) -> [TokenID: Float] {
    guard let object = try reader.object("logit_bias") else { return [:] }
    var bias: [TokenID: Float] = [:]
    var badKeys: [String] = []
    let inner = FieldReader(object, path: reader.path(of: "logit_bias"))
    for (key, _) in object {
      guard let id = Int32(key), id >= 0, Int(id) < model.vocabularySize else {
        badKeys.append(key)
        continue
      }
      guard let value = try inner.number(key) else { continue }
      bias[TokenID(rawValue: id)] = Float(min(100, max(-100, value)))
    }
    if !badKeys.isEmpty {
      let shown = badKeys.prefix(10).map { String($0.prefix(40)) }.joined(separator: ", ")
      throw .badRequest(
        "logit_bias keys must be token ids inside the vocabulary of \(model.vocabularySize): \(shown).",
        param: "logit_bias")
    }
    return bias
  }
}
