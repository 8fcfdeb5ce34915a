/// How the tokens of one request are chosen. Names and defaults follow the vLLM class of the same name, so that scripts
/// can be carried over; `validate` reports the first rule that a value breaks.
///
/// Order of operations on logits: allowed ids → logit bias → bad words and `minTokens` masks → penalties → temperature →
/// min-p → top-k → top-p → draw. Greedy takes the argmax after penalties and masks.
public struct SamplingParams: Sendable, Hashable {
  /// Choices per prompt, 1…16384; must be 1 when greedy.
  public var n = 1
  /// −2…2, generated tokens only.
  public var presencePenalty: Float = 0
  /// −2…2, generated tokens only, times the count.
  public var frequencyPenalty: Float = 0
  /// > 0; prompt and generated tokens. 1 = off.
  public var repetitionPenalty: Float = 1
  /// 0…2; 0 = greedy. Values in (0, 0.01) are raised to 0.01.
  public var temperature: Float = 1
  /// (0, 1]
  public var topP: Float = 1
  /// ≥ −1; 0 and −1 = off.
  public var topK = 0
  /// [0, 1]
  public var minP: Float = 0
  /// Same seed and request give the same tokens whatever else runs. nil = drawn once per request.
  public var seed: Int?
  public var stop: [String] = []
  public var stopTokenIds: [TokenID] = []
  public var ignoreEos = false
  public var includeStopStrInOutput = false
  /// ≥ 1 (0 only for scoring a prompt); nil = as much as the context holds.
  public var maxTokens: Int? = 16
  /// 0…maxTokens: end-of-sequence and stop ids are masked, stop strings not checked, until reached.
  public var minTokens = 0
  /// Number of alternatives reported per generated token; −1 = whole vocabulary; nil = none.
  public var logprobs: Int?
  /// The same per prompt position.
  public var promptLogprobs: Int?
  /// Report exactly these tokens instead of the most likely ones. At most 128.
  public var logprobTokenIds: [TokenID]?
  public var detokenize = true
  public var skipSpecialTokens = true
  public var spacesBetweenSpecialTokens = true
  /// Token → added to its logit, clamped to −100…100; −100 bans.
  public var logitBias: [TokenID: Float] = [:]
  /// Only these tokens may be chosen.
  public var allowedTokenIds: [TokenID]?
  /// Words that must not appear, in their bare and space-prefixed forms.
  public var badWords: [String] = []
  /// nil = true, except with `promptLogprobs` (every position must be computed).
  public var skipReadingPrefixCache: Bool?
  /// Beam search instead of sampling; the `n` best hypotheses are returned.
  public var useBeamSearch = false
  /// Hypotheses that a beam search keeps, ≥ `n`; nil = `n`.
  public var beamWidth: Int?
  /// Beam score = log-probability ÷ length^penalty.
  public var lengthPenalty: Float = 1
  /// When a beam search with enough finished hypotheses ends; `true` and `false` can be written for the first two.
  public var earlyStopping = EarlyStopping.whenUnlikely

  public init() {}

  /// The fields most callers set; everything else has its default and can be assigned.
  public init(
    n: Int = 1, temperature: Float = 1, topP: Float = 1, topK: Int = 0, minP: Float = 0, seed: Int? = nil,
    stop: [String] = [], maxTokens: Int? = 16, logprobs: Int? = nil, promptLogprobs: Int? = nil
  ) {
    self.n = n
    self.temperature = temperature
    self.topP = topP
    self.topK = topK
    self.minP = minP
    self.seed = seed
    self.stop = stop
    self.maxTokens = maxTokens
    self.logprobs = logprobs
    self.promptLogprobs = promptLogprobs
  }

  public var isGreedy: Bool { temperature == 0 }
}

/// When a beam search ends that has as many finished hypotheses as it keeps.
public enum EarlyStopping: Sendable, Hashable, ExpressibleByBooleanLiteral {
  /// At once (`true`).
  case whenFull
  /// When the best running hypothesis, at its present length, scores no better than the worst finished one (`false`).
  case whenUnlikely
  /// When no running hypothesis can come to a better score (`"never"`).
  case never

  public init(booleanLiteral value: Bool) { self = value ? .whenFull : .whenUnlikely }
}

extension SamplingParams {
  /// Limits that come from the server rather than from the field's nature.
  public struct Limits: Sendable {
    public var vocabularySize: Int
    /// `--max-logprobs`; −1 = vocabulary.
    public var maxLogprobs = 20
    /// `VLLM_MAX_N_SEQUENCES`
    public var maxSequences = 16384
    /// `VLLM_MAX_STOP_STRINGS`
    public var maxStopStrings = 4
    /// `VLLM_MAX_NUM_BAD_WORDS`
    public var maxBadWords = 128

    public init(vocabularySize: Int) { self.vocabularySize = vocabularySize }
  }

  /// Throws a 400 with the field's wire name when a value is out of its range.
  public func validate(limits: Limits) throws(RequestError) {
    func require(_ holds: Bool, _ field: String, _ message: @autoclosure () -> String) throws(RequestError) {
      if !holds { throw .badRequest(message(), param: field) }
    }
    try require((1...limits.maxSequences).contains(n), "n", "n must be between 1 and \(limits.maxSequences), got \(n).")
    try require(
      (-2...2).contains(presencePenalty), "presence_penalty",
      "presence_penalty must be between -2 and 2, got \(presencePenalty).")
    try require(
      (-2...2).contains(frequencyPenalty), "frequency_penalty",
      "frequency_penalty must be between -2 and 2, got \(frequencyPenalty).")
    try require(
      repetitionPenalty > 0 && repetitionPenalty.isFinite, "repetition_penalty",
      "repetition_penalty must be greater than 0, got \(repetitionPenalty).")
    try require(
      (0...2).contains(temperature), "temperature", "temperature must be between 0 and 2, got \(temperature).")
    try require(topP > 0 && topP <= 1, "top_p", "top_p must be greater than 0 and at most 1, got \(topP).")
    try require(topK >= -1, "top_k", "top_k must be -1 or more (0 and -1 turn it off), got \(topK).")
    try require((0...1).contains(minP), "min_p", "min_p must be between 0 and 1, got \(minP).")
    try require(
      stop.count <= limits.maxStopStrings, "stop",
      "stop takes at most \(limits.maxStopStrings) strings, got \(stop.count).")
    try require(!stop.contains(""), "stop", "stop must not contain an empty string.")
    try require(stop.isEmpty || detokenize, "stop", "stop strings need detokenize to be true.")
    if let maxTokens { try require(maxTokens >= 0, "max_tokens", "max_tokens must be at least 1, got \(maxTokens).") }
    try require(
      minTokens >= 0 && minTokens <= maxTokens ?? .max, "min_tokens",
      "min_tokens must be between 0 and max_tokens, got \(minTokens).")
    try validateTokens(limits: limits)
    if useBeamSearch, let beamWidth {
      try require(
        (n...max(n, limits.maxSequences)).contains(beamWidth), "num_beams",
        "num_beams must be between n (\(n)) and \(limits.maxSequences), got \(beamWidth).")
    }
    if isGreedy && !useBeamSearch {
      try require(n == 1, "n", "n must be 1 when temperature is 0 (greedy), got \(n).")
    }
  }

  private func validateTokens(limits: Limits) throws(RequestError) {
    let vocabulary = limits.vocabularySize
    func check(_ ids: some Sequence<TokenID>, _ field: String) throws(RequestError) {
      let bad = ids.filter { $0.rawValue < 0 || Int($0.rawValue) >= vocabulary }.map(\.rawValue).sorted()
      if !bad.isEmpty {
        let shown = bad.prefix(10).map(String.init).joined(separator: ", ")
        throw .badRequest("\(field) has token ids outside the vocabulary of \(vocabulary): \(shown).", param: field)
      }
    }
    let most = limits.maxLogprobs < 0 ? vocabulary : limits.maxLogprobs
    for (value, field) in [(logprobs, "logprobs"), (promptLogprobs, "prompt_logprobs")] {
      guard let value else { continue }
      if value < -1 { throw .badRequest("\(field) must be -1 or more, got \(value).", param: field) }
      if (value == -1 ? vocabulary : value) > most {
        throw .badRequest(
          "\(field) asks for \(value == -1 ? "the whole vocabulary" : String(value)) alternatives and this server "
            + "returns at most \(most); start it with a larger --max-logprobs.", param: field)
      }
    }
    try check(stopTokenIds, "stop_token_ids")
    try check(logitBias.keys, "logit_bias")
    if let allowedTokenIds {
      if allowedTokenIds.isEmpty {
        throw .badRequest("allowed_token_ids must not be empty.", param: "allowed_token_ids")
      }
      try check(allowedTokenIds, "allowed_token_ids")
    }
    if let logprobTokenIds {
      if logprobTokenIds.count > 128 {
        throw .badRequest(
          "logprob_token_ids takes at most 128 ids, got \(logprobTokenIds.count).", param: "logprob_token_ids")
      }
      if logprobs == nil { throw .badRequest("logprob_token_ids needs logprobs.", param: "logprob_token_ids") }
      try check(logprobTokenIds, "logprob_token_ids")
    }
    if badWords.count > limits.maxBadWords {
      throw .badRequest(
        "bad_words takes at most \(limits.maxBadWords) words, got \(badWords.count).", param: "bad_words")
    }
    if badWords.contains("") { throw .badRequest("bad_words must not contain an empty string.", param: "bad_words") }
  }
}
