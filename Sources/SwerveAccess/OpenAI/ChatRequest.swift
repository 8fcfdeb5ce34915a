import SwerveCore

/// The body of `POST /v1/chat/completions`, read and checked.
struct ChatRequest {
  var prompt: ChatPrompt
  var params: SamplingParams
  var options: RequestOptions
  /// How log-probabilities are shown; nil = not asked for.
  var logprobs: LogprobStyle?
  /// Put in front of the answer: the last message's text, when `echo` asks for it and the role is the answer's.
  var echoedText: String
  var returnsPromptText: Bool
  var addSpecialTokens: Bool

  init(body: JSON, model: ModelInfo, configuration: ServerConfiguration) throws(RequestError) {
    let reader = try FieldReader(body: body)
    options = try RequestOptions(reader, configuration: configuration)
    try UnavailableFields.check(reader)
    prompt = try ChatFields(reader: reader, configuration: configuration).prompt()
    addSpecialTokens = try reader.bool("add_special_tokens") ?? false
    returnsPromptText = try reader.bool("return_prompt_text") ?? false
    _ = try reader.bool("include_reasoning")

    let fields = SamplingFields(reader: reader, model: model)
    params = try fields.params(defaultMaxTokens: nil, allowsZeroTokens: false)
    let wantsLogprobs = try reader.bool("logprobs") ?? false
    let top = try reader.int("top_logprobs") ?? 0
    if top != 0, !wantsLogprobs {
      throw .badRequest("top_logprobs needs logprobs: true.", param: "top_logprobs")
    }
    params.logprobs = wantsLogprobs ? top : nil
    params.promptLogprobs = options.promptLogprobs
    do {
      try fields.finish(&params)
    } catch {
      // The shared rule calls the number of alternatives `logprobs`; here that is a boolean.
      guard error.param == "logprobs" else { throw error }
      var renamed = error
      renamed.param = "top_logprobs"
      renamed.message = "top_\(error.message)"
      throw renamed
    }
    logprobs = wantsLogprobs ? LogprobStyle(showsTokensAsIDs: options.showsTokensAsIDs, count: top) : nil
    echoedText = ""
    if try reader.bool("echo") ?? false, let last = prompt.messages.last,
      last["role"]?.string == configuration.responseRole
    {
      echoedText = ChatFields.text(of: last)
    }
  }

  func request(id: String) -> GenerationRequest {
    var request = GenerationRequest(id: id, prompt: .chat(prompt), params: params)
    request.addSpecialTokens = addSpecialTokens
    options.apply(to: &request)
    return request
  }
}

/// The conversation part of a body: messages, tools and template variables. Shared by chat and `/tokenize`.
struct ChatFields {
  let reader: FieldReader
  let configuration: ServerConfiguration

  func prompt() throws(RequestError) -> ChatPrompt {
    var prompt = ChatPrompt(messages: try messages())
    prompt.tools = try tools()
    prompt.documents = try documents()
    prompt.continueFinalMessage = try reader.bool("continue_final_message") ?? false
    let addsPrompt = try reader.bool("add_generation_prompt")
    if prompt.continueFinalMessage, addsPrompt == true {
      throw .badRequest(
        "continue_final_message and add_generation_prompt cannot both be true.", param: "continue_final_message")
    }
    prompt.addGenerationPrompt = addsPrompt ?? !prompt.continueFinalMessage
    prompt.templateArguments = try reader.object("chat_template_kwargs") ?? JSONObject()
    try readReasoningEffort(&prompt)
    if let template = try reader.string("chat_template") {
      guard configuration.trustsRequestChatTemplate else {
        throw .badRequest(
          "chat_template needs a server started with --trust-request-chat-template.", param: "chat_template")
      }
      prompt.template = template
    }
    for name in ["mm_processor_kwargs", "media_io_kwargs"] where reader.has(name) {
      throw .badRequest("\(name) is not supported by this server: it serves text only.", param: name)
    }
    return prompt
  }

  private func readReasoningEffort(_ prompt: inout ChatPrompt) throws(RequestError) {
    guard let effort = try reader.string("reasoning_effort") else { return }
    guard ["none", "minimal", "low", "medium", "high", "xhigh", "max"].contains(effort) else {
      throw .badRequest(
        "reasoning_effort must be none, minimal, low, medium, high, xhigh or max.", param: "reasoning_effort")
    }
    prompt.templateArguments["reasoning_effort"] = .string(effort)
    if effort == "none", prompt.templateArguments["enable_thinking"] == nil {
      prompt.templateArguments["enable_thinking"] = false
    }
  }

  private func documents() throws(RequestError) -> [JSON]? {
    guard let documents = try reader.array("documents") else { return nil }
    for (place, document) in documents.enumerated() where document.object == nil {
      throw reader.mismatch("documents.\(place)", expected: "an object", got: document)
    }
    return documents
  }
}
