package import SwerveCore

/// Answers from an engine in this process.
package struct EngineBackend: ChatBackend {
  package let modelName: String
  private let client: any EngineClient
  private let settings: ChatSettings

  package init(client: any EngineClient, modelName: String, settings: ChatSettings) {
    self.client = client
    self.modelName = modelName
    self.settings = settings
  }

  package func chat(_ messages: [JSON], onPiece: (AnswerPiece) -> Void) async throws {
    var request = GenerationRequest(id: "chat", prompt: .chat(ChatPrompt(messages: messages)), params: params())
    request.addSpecialTokens = false  // the template writes them
    try await run(request, onPiece: onPiece)
  }

  package func complete(_ prompt: String, onPiece: (AnswerPiece) -> Void) async throws {
    try await run(GenerationRequest(id: "complete", prompt: .text(prompt), params: params()), onPiece: onPiece)
  }

  /// What the flags say over what the model's files say over the defaults.
  private func params() -> SamplingParams {
    let defaults = client.model.defaults
    func number(_ flag: Double?, _ key: String) -> Double? { flag ?? defaults[key]?.double }
    var params = SamplingParams()
    if let value = number(settings.temperature, "temperature") { params.temperature = Float(value) }
    if let value = number(settings.topP, "top_p") { params.topP = Float(value) }
    if let value = settings.topK ?? defaults["top_k"]?.int { params.topK = value }
    if let value = defaults["min_p"]?.double { params.minP = Float(value) }
    if let value = defaults["repetition_penalty"]?.double { params.repetitionPenalty = Float(value) }
    params.seed = settings.seed
    params.maxTokens = settings.maxTokens ?? defaults["max_new_tokens"]?.int
    return params
  }

  private func run(_ request: GenerationRequest, onPiece: (AnswerPiece) -> Void) async throws {
    var usage = AnswerUsage()
    for try await event in try await client.generate(request) {
      switch event {
      case .started(let info): usage.promptTokens = info.promptTokens.count
      case .delta(let delta):
        usage.outputTokens += delta.tokens.count
        if !delta.text.isEmpty { onPiece(.text(delta.text)) }
        if let finish = delta.finish { usage.finish = finish.rawValue }
      }
    }
    onPiece(.finished(usage))
    try Task.checkCancellation()
  }
}
