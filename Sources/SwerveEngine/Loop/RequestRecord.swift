package import SwerveCore
package import SwerveText

/// A request as the publisher knows it: where its events go and what they need. Built by the front, owned by the
/// publisher thread from `register` on.
package struct RequestRecord: Sendable {
  package let id: RequestID
  /// The id that clients and logs see.
  package let name: String
  package let params: SamplingParams
  package let promptTokens: [TokenID]
  package let promptText: String?
  package let arrival: EngineInstant
  package let tenant: String?
  package let serviceClass: ServiceClass
  package let stream: AsyncThrowingStream<GenerationEvent, any Error>.Continuation
  package var choices: [ChoiceAssembly]
  /// Collected while the prompt is computed; `[0]` stays nil.
  package var promptLogprobs: [PositionLogprobs?]?

  /// `kv_transfer_params` of the answer.
  package var transferAnswer: JSONObject?
  /// The seed in use, drawn where the request has none.
  package var seed: Int?

  // Filled by the publisher.
  package var hasStarted = false
  package var openChoices: Int
  package var cachedTokens = 0
  package var preemptions = 0
  package var generatedTokens = 0
  package var firstScheduled: EngineInstant?
  package var firstToken: EngineInstant?
  package var lastToken: [EngineInstant?]
  package var finish = FinishReason.abort

  package init(
    id: RequestID, name: String, params: SamplingParams, promptTokens: [TokenID], promptText: String?,
    arrival: EngineInstant, tenant: String? = nil, serviceClass: ServiceClass = ServiceClass(name: "default"),
    stream: AsyncThrowingStream<GenerationEvent, any Error>.Continuation,
    tokenizer: Tokenizer?, endTokens: Set<TokenID>
  ) {
    self.id = id
    self.name = name
    self.params = params
    self.promptTokens = promptTokens
    self.promptText = promptText
    self.arrival = arrival
    self.tenant = tenant
    self.serviceClass = serviceClass
    self.stream = stream
    let choice = ChoiceAssembly(
      params: params, promptTokens: promptTokens, tokenizer: tokenizer, endTokens: endTokens)
    self.choices = Array(repeating: choice, count: params.n)
    self.openChoices = params.n
    self.lastToken = Array(repeating: nil, count: params.n)
    if params.promptLogprobs != nil { self.promptLogprobs = Array(repeating: nil, count: promptTokens.count) }
  }

  /// The life of the request in the shape that observers take.
  package func statistics(now: EngineInstant) -> RequestStatistics {
    var life = RequestStatistics(id: name)
    life.promptTokens = promptTokens.count
    life.cachedTokens = cachedTokens
    life.generationTokens = generatedTokens
    life.n = params.n
    life.maxTokens = params.maxTokens
    life.finish = finish
    life.tenant = tenant
    life.serviceClass = serviceClass.name
    life.preemptions = preemptions
    life.totalSeconds = now.seconds(since: arrival)
    life.queueSeconds = (firstScheduled ?? now).seconds(since: arrival)
    if let firstToken {
      life.firstTokenSeconds = firstToken.seconds(since: arrival)
      life.prefillSeconds = firstToken.seconds(since: firstScheduled ?? arrival)
      life.decodeSeconds = now.seconds(since: firstToken)
    }
    life.metTargets = metTargets(life)
    return life
  }

  /// Whether the request finished within what its class was promised. Time per token is the mean of a choice.
  private func metTargets(_ life: RequestStatistics) -> Bool {
    guard finish != .abort && finish != .error else { return false }
    if let target = serviceClass.ttftMilliseconds, (life.firstTokenSeconds ?? 0) * 1e3 > target { return false }
    let decoded = life.generationTokens / max(1, params.n) - 1
    guard let target = serviceClass.tpotMilliseconds, decoded > 0 else { return true }
    return life.decodeSeconds / Double(decoded) * 1e3 <= target
  }
}
