import SwerveCore
import SwerveText

/// A request as the publisher knows it: where its events go and what they need. Built by the front, owned by the
/// publisher thread from `register` on.
struct RequestRecord: Sendable {
  let id: RequestID
  /// The id that clients and logs see.
  let name: String
  let params: SamplingParams
  let promptTokens: [TokenID]
  let promptText: String?
  let arrival: EngineInstant
  let stream: AsyncThrowingStream<GenerationEvent, any Error>.Continuation
  var choices: [ChoiceAssembly]
  /// Collected while the prompt is computed; `[0]` stays nil.
  var promptLogprobs: [PositionLogprobs?]?

  // Filled by the publisher.
  var hasStarted = false
  var openChoices: Int
  var cachedTokens = 0
  var preemptions = 0
  var generatedTokens = 0
  var firstScheduled: EngineInstant?
  var firstToken: EngineInstant?
  var lastToken: [EngineInstant?]
  var finish = FinishReason.abort

  init(
    id: RequestID, name: String, params: SamplingParams, promptTokens: [TokenID], promptText: String?,
    arrival: EngineInstant, stream: AsyncThrowingStream<GenerationEvent, any Error>.Continuation,
    tokenizer: Tokenizer?, endTokens: Set<TokenID>
  ) {
    self.id = id
    self.name = name
    self.params = params
    self.promptTokens = promptTokens
    self.promptText = promptText
    self.arrival = arrival
    self.stream = stream
    let choice = ChoiceAssembly(
      params: params, promptTokens: promptTokens, tokenizer: tokenizer, endTokens: endTokens)
    self.choices = Array(repeating: choice, count: params.n)
    self.openChoices = params.n
    self.lastToken = Array(repeating: nil, count: params.n)
    if params.promptLogprobs != nil { self.promptLogprobs = Array(repeating: nil, count: promptTokens.count) }
  }

  /// The life of the request in the shape that observers take.
  func statistics(now: EngineInstant) -> RequestStatistics {
    var life = RequestStatistics(id: name)
    life.promptTokens = promptTokens.count
    life.cachedTokens = cachedTokens
    life.generationTokens = generatedTokens
    life.n = params.n
    life.maxTokens = params.maxTokens
    life.finish = finish
    life.preemptions = preemptions
    life.totalSeconds = now.seconds(since: arrival)
    life.queueSeconds = (firstScheduled ?? now).seconds(since: arrival)
    if let firstToken {
      life.firstTokenSeconds = firstToken.seconds(since: arrival)
      life.prefillSeconds = firstToken.seconds(since: firstScheduled ?? arrival)
      life.decodeSeconds = now.seconds(since: firstToken)
    }
    return life
  }
}
