import SwerveCore
import SwerveText

/// Everything that happens to a request before it is queued, off the engine thread: template, tokens, truncation, limits
/// and the parameters in the sampler's form. Immutable and shared by all requests.
struct Preparation: Sendable {
  let model: ModelInfo
  let tokenizer: Tokenizer?
  let template: ModelChatTemplate?
  let defaultTemplateArguments: JSONObject
  let templateTimeout: Double
  /// End-of-sequence ids of the model.
  let endTokens: Set<TokenID>
  let wallClock: @Sendable () -> Int

  struct Prepared: Sendable {
    var tokens: [TokenID]
    var text: String?
    var params: SamplingParams
    var sampling: SamplingState
  }

  /// The request in tokens and validated parameters; a 400 says which field to change.
  func prepare(_ request: GenerationRequest, fallbackSeed: UInt64) throws(RequestError) -> Prepared {
    var params = request.params
    try params.validate(limits: model.limits)
    // There is no text to match them against: ignoring them would run past where the client wanted the end.
    if !params.stop.isEmpty { _ = try requireTokenizer("stop", param: "stop") }
    // A prompt that is to be truncated may be of any length.
    var (tokens, text) = try tokens(
      of: request.prompt, addSpecialTokens: request.addSpecialTokens,
      limit: request.truncatePromptTokens == nil ? model.maxModelLength : nil)
    if let keep = request.truncatePromptTokens {
      let kept = try truncate(tokens, keep: keep, side: request.truncationSide, params: params)
      // The prompt's text is what the model reads: an echo must agree with its tokens.
      if kept.count < tokens.count { text = tokenizer?.decode(kept, skipSpecialTokens: false) }
      tokens = kept
    }
    try check(tokens, params: params)
    let room = model.maxModelLength - tokens.count
    params.maxTokens = min(params.maxTokens ?? room, room)
    params.minTokens = min(params.minTokens, params.maxTokens ?? 0)
    if params.temperature > 0 && params.temperature < 0.01 { params.temperature = 0.01 }
    if params.topK == -1 { params.topK = 0 }
    return Prepared(
      tokens: tokens, text: text, params: params,
      sampling: SamplingState(
        params: params, seed: seed(params, fallback: fallbackSeed), badWordTokens: try badWords(params.badWords),
        terminators: terminators(params)))
  }

  /// A prompt of any kind in tokens, with its text where there is one. A text that must have more than `limit` tokens is
  /// refused before it is tokenised.
  func tokens(
    of prompt: GenerationRequest.Prompt, addSpecialTokens: Bool, limit: Int? = nil
  ) throws(RequestError) -> (tokens: [TokenID], text: String?) {
    switch prompt {
    case .tokens(let tokens):
      return (tokens, tokenizer?.decode(tokens, skipSpecialTokens: false))
    case .text(let text):
      return (try encode(text, with: requireTokenizer("a text prompt"), addSpecialTokens, limit), text)
    case .chat(let chat):
      let text = try render(chat)
      return (try encode(text, with: requireTokenizer("a conversation"), addSpecialTokens, limit), text)
    }
  }

  private func encode(
    _ text: String, with tokenizer: Tokenizer, _ addSpecialTokens: Bool, _ limit: Int?
  ) throws(RequestError) -> [TokenID] {
    if let limit {
      let least = text.utf8.count / tokenizer.mostBytesPerToken
      if least > limit { throw tooLong("at least \(least)") }
    }
    return tokenizer.encode(text, addSpecialTokens: addSpecialTokens)
  }

  private func tooLong(_ tokens: String) -> RequestError {
    .badRequest(
      "The prompt has \(tokens) tokens and this model takes at most \(model.maxModelLength) for prompt and "
        + "output together; shorten it or set truncate_prompt_tokens.", param: "prompt")
  }

  func requireTokenizer(_ what: String, param: String = "prompt") throws(RequestError) -> Tokenizer {
    guard let tokenizer else {
      throw .badRequest(
        "\(what) needs a tokenizer and this server was started without one; send token ids.", param: param)
    }
    return tokenizer
  }

  /// The conversation as the model's chat template writes it.
  func render(_ chat: SwerveCore.ChatPrompt) throws(RequestError) -> String {
    let templates = try templates(for: chat)
    // Special tokens first, then the server's arguments, then the request's: later ones win.
    var variables = templates.specialTokens
    for arguments in [defaultTemplateArguments, chat.templateArguments] {
      for (key, value) in arguments { variables[key] = value }
    }
    let template = templates.template(withTools: chat.tools != nil)
    var conversation = Conversation(
      messages: MessageAdaptation.adapt(chat.messages, to: template.contentFormat), tools: chat.tools,
      documents: chat.documents,
      addGenerationPrompt: chat.addGenerationPrompt,
      continueFinalMessage: chat.continueFinalMessage ? .content : nil, variables: variables)
    let now = TemplateDate(epoch: wallClock())
    let limits = TemplateLimits(seconds: templateTimeout)
    do {
      return try conversation.render(template, now: now, limits: limits)
    } catch {
      // Templates written for tool calls test for a null content, simpler ones join it to text and fail: those get "".
      let spoken = MessageAdaptation.fillingNullContent(
        conversation.messages, format: template.contentFormat, keepsLast: chat.continueFinalMessage)
      if spoken != conversation.messages {
        conversation.messages = spoken
        if let text = try? conversation.render(template, now: now, limits: limits) { return text }
      }
      throw .badRequest("The chat template refuses this conversation: \(error)", param: "messages")
    }
  }

  private func templates(for chat: SwerveCore.ChatPrompt) throws(RequestError) -> ModelChatTemplate {
    if let source = chat.template {
      do {
        return ModelChatTemplate(
          template: try ChatTemplate(source: source), specialTokens: template?.specialTokens ?? JSONObject())
      } catch {
        throw .badRequest("chat_template is not a template: \(error)", param: "chat_template")
      }
    }
    guard let template else {
      throw .badRequest(
        "This model has no chat template; use /v1/completions, or start the server with --chat-template.",
        param: "messages")
    }
    return template
  }

  // MARK: Limits

  private func truncate(
    _ tokens: [TokenID], keep: Int, side: GenerationRequest.TruncationSide, params: SamplingParams
  ) throws(RequestError) -> [TokenID] {
    guard keep >= -1 else {
      throw .badRequest("truncate_prompt_tokens must be -1 or more, got \(keep).", param: "truncate_prompt_tokens")
    }
    guard keep <= model.maxModelLength else {
      throw .badRequest(
        "truncate_prompt_tokens (\(keep)) is larger than the model's maximum length of \(model.maxModelLength).",
        param: "truncate_prompt_tokens")
    }
    let limit = keep == -1 ? model.maxModelLength - (params.maxTokens == 0 ? 0 : 1) : keep
    guard tokens.count > limit else { return tokens }
    return side == .left ? Array(tokens.suffix(limit)) : Array(tokens.prefix(limit))
  }

  private func check(_ tokens: [TokenID], params: SamplingParams) throws(RequestError) {
    if tokens.isEmpty { throw .badRequest("The prompt is empty; send at least one token.", param: "prompt") }
    if let bad = tokens.first(where: { $0.rawValue < 0 || Int($0.rawValue) >= model.vocabularySize }) {
      throw .badRequest(
        "Token id \(bad) is outside the vocabulary of \(model.vocabularySize) tokens.", param: "prompt")
    }
    let needed = params.maxTokens == 0 ? tokens.count : tokens.count + 1
    if needed > model.maxModelLength {
      throw tooLong("\(tokens.count)")
    }
    if let wanted = params.promptLogprobs {
      let width = wanted < 0 ? model.vocabularySize : min(wanted, model.vocabularySize)
      if width > Self.mostPromptAlternatives / tokens.count {
        throw .badRequest(
          "prompt_logprobs of \(width) alternatives at \(tokens.count) prompt tokens would be more than the "
            + "\(Self.mostPromptAlternatives) entries one answer can carry; ask for fewer or shorten the prompt.",
          param: "prompt_logprobs")
      }
    }
  }

  /// They are held until the whole prompt is computed and answered in one piece: about 100 bytes each here, as much
  /// again on the wire.
  private static let mostPromptAlternatives = 1 << 22

  // MARK: Parameters

  private func seed(_ params: SamplingParams, fallback: UInt64) -> UInt64 {
    guard let seed = params.seed, seed != -1 else { return fallback }
    return UInt64(bitPattern: Int64(seed))
  }

  private func terminators(_ params: SamplingParams) -> [TokenID] {
    var all = Set(params.stopTokenIds)
    if !params.ignoreEos { all.formUnion(endTokens) }
    return all.sorted()
  }

  /// Every word bare and after a space: both spellings occur inside a text.
  private func badWords(_ words: [String]) throws(RequestError) -> [[TokenID]] {
    var sequences: [[TokenID]] = []
    for word in words {
      let tokenizer = try requireTokenizer("bad_words", param: "bad_words")
      let bare = word.drop { $0 == " " }
      for form in [String(bare), " " + bare] {
        let tokens = tokenizer.encode(form, addSpecialTokens: false)
        if tokens.isEmpty { throw .badRequest("bad_words: '\(word)' has no tokens.", param: "bad_words") }
        if !sequences.contains(tokens) { sequences.append(tokens) }
      }
    }
    return sequences
  }
}
