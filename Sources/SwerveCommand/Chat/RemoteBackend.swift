package import SwerveCore

/// Answers from a server.
package struct RemoteBackend: ChatBackend {
  package let modelName: String
  private let client: OpenAIClient
  private let settings: ChatSettings

  package init(client: OpenAIClient, modelName: String, settings: ChatSettings) {
    self.client = client
    self.modelName = modelName
    self.settings = settings
  }

  package func chat(_ messages: [JSON], onPiece: (AnswerPiece) -> Void) async throws {
    var body = body()
    body["messages"] = .array(messages)
    try await run("/v1/chat/completions", body, onPiece: onPiece)
  }

  package func complete(_ prompt: String, onPiece: (AnswerPiece) -> Void) async throws {
    var body = body()
    body["prompt"] = .string(prompt)
    try await run("/v1/completions", body, onPiece: onPiece)
  }

  private func body() -> JSONObject {
    var body: JSONObject = [
      "model": .string(modelName), "stream": true, "stream_options": ["include_usage": true],
    ]
    if let value = settings.maxTokens { body["max_tokens"] = .int(value) }
    if let value = settings.temperature { body["temperature"] = .double(value) }
    if let value = settings.topP { body["top_p"] = .double(value) }
    if let value = settings.topK { body["top_k"] = .int(value) }
    if let value = settings.seed { body["seed"] = .int(value) }
    return body
  }

  private func run(_ path: String, _ body: JSONObject, onPiece: (AnswerPiece) -> Void) async throws {
    var usage = AnswerUsage()
    try await client.stream(path, body: .object(body)) { event in
      if let counts = event["usage"], !counts.isNull {
        usage.promptTokens = counts["prompt_tokens"]?.int ?? 0
        usage.outputTokens = counts["completion_tokens"]?.int ?? 0
      }
      guard let choice = event["choices"]?[0] else { return }
      if let finish = choice["finish_reason"]?.string { usage.finish = finish }
      let delta = choice["delta"] ?? choice["message"] ?? choice
      let reasoning = delta["reasoning"]?.string ?? delta["reasoning_content"]?.string
      if let reasoning, !reasoning.isEmpty { onPiece(.reasoning(reasoning)) }
      if let text = delta["content"]?.string ?? choice["text"]?.string, !text.isEmpty { onPiece(.text(text)) }
    }
    onPiece(.finished(usage))
    try Task.checkCancellation()
  }
}
