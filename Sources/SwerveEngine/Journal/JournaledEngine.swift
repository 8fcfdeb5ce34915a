package import SwerveCore

/// An engine whose requests can be taken up again: by a client that lost its connection, and after this process was killed.
///
/// A client that names its request (`GenerationRequest.idempotency`) and asks again gets what it was given before, token
/// for token, and what follows. What follows is computed behind the tokens that are known; where log-probabilities or
/// several choices were asked for, from the beginning with the same seed, which gives the same tokens.
package final class JournaledEngine: EngineClient {
  private let engine: any EngineClient
  private let journal: Journal

  package init(_ engine: any EngineClient, journal: Journal) {
    self.engine = engine
    self.journal = journal
  }

  package func generate(
    _ request: GenerationRequest
  ) async throws(RequestError) -> AsyncThrowingStream<GenerationEvent, any Error> {
    // Keys and values that are handed over are gone when a request is asked for again.
    guard let idempotency = request.idempotency, request.kvTransfer == nil else {
      return try await engine.generate(request)
    }
    let asked = request.params.seed == -1 ? nil : request.params.seed
    let standing = journal.begin(
      JournalKey(owner: idempotency.owner, id: request.id), digest: idempotency.digest,
      isRepeat: idempotency.isNamed, seed: asked)
    switch standing {
    case .differs:
      throw RequestError(
        .unprocessable,
        "The Idempotency-Key was used for another request; repeat that one unchanged, or take another key.",
        code: "idempotency_key_reused")
    case .runs:
      throw RequestError(
        .conflict,
        "The request of this Idempotency-Key is being answered on another connection; try again when that ended.",
        code: "idempotency_key_in_use", retryAfter: 1)
    case .isFinished(let events): return Self.replay(events)
    case .begins(let run, let events): return try await go(on: run, behind: events, request)
    }
  }

  private static func replay(_ events: [GenerationEvent]) -> AsyncThrowingStream<GenerationEvent, any Error> {
    let (stream, continuation) = AsyncThrowingStream.makeStream(of: GenerationEvent.self)
    for event in events { continuation.yield(event) }
    continuation.finish()
    return stream
  }

  private func go(
    on run: Journal.Run, behind events: [GenerationEvent], _ request: GenerationRequest
  ) async throws(RequestError) -> AsyncThrowingStream<GenerationEvent, any Error> {
    var request = request
    if let seed = run.seed { request.params.seed = seed }
    request.continuation = Self.tokens(events, of: request.params)
    let isResumed = !request.continuation.isEmpty
    let inner: AsyncThrowingStream<GenerationEvent, any Error>
    do {
      inner = try await engine.generate(request)
    } catch {
      journal.release(run)
      throw error
    }
    journal.start(run, keepsEvents: isResumed)
    let (stream, continuation) = AsyncThrowingStream.makeStream(of: GenerationEvent.self)
    let choices = request.params.n
    let journal = journal
    let task = Task {
      var finished = 0
      do {
        if isResumed { for event in events { continuation.yield(event) } }
        for try await event in inner {
          // The client was told of the prompt.
          if isResumed, case .started = event { continue }
          if case .delta(let delta) = event, let finish = delta.finish {
            // What an engine could not end is no answer: whoever asks again has it gone on with.
            if finish == .error || finish == .abort {
              continuation.yield(event)
              continue
            }
            finished += 1
          }
          journal.append(event, to: run)
          continuation.yield(event)
        }
        // A stream that was cancelled ends as well.
        if finished == choices { journal.finish(run) } else { journal.release(run) }
        continuation.finish()
      } catch {
        journal.release(run)
        continuation.finish(throwing: error)
      }
    }
    continuation.onTermination = { if case .cancelled = $0 { task.cancel() } }
    return stream
  }

  /// Tokens that the request can go on behind; none where it begins anew.
  private static func tokens(_ events: [GenerationEvent], of params: SamplingParams) -> [TokenID] {
    guard params.n == 1, params.logprobs == nil, params.promptLogprobs == nil, !params.useBeamSearch else { return [] }
    var tokens: [TokenID] = []
    for case .delta(let delta) in events { tokens += delta.tokens }
    return tokens.count < params.maxTokens ?? .max ? tokens : []
  }

  // MARK: The engine's own

  package var isJournaled: Bool { true }
  package var transferDescription: JSONObject? { engine.transferDescription }
  package var model: ModelInfo { engine.model }
  package var health: EngineHealth { engine.health }

  package var statistics: EngineStatistics {
    var all = engine.statistics
    all.journal = journal.statistics
    return all
  }

  package func tokenize(
    _ prompt: GenerationRequest.Prompt, addSpecialTokens: Bool
  ) async throws(RequestError) -> TokenizedPrompt {
    try await engine.tokenize(prompt, addSpecialTokens: addSpecialTokens)
  }

  package func detokenize(_ tokens: [TokenID]) async throws(RequestError) -> String {
    try await engine.detokenize(tokens)
  }

  package func tokenString(_ token: TokenID) -> String? { engine.tokenString(token) }
  package func resetPrefixCache() async -> Bool { await engine.resetPrefixCache() }
  package func change(_ change: DataWorkerChange) async throws(RequestError) -> String {
    try await engine.change(change)
  }
}
