import SwerveCore
import SwerveText

extension Engine {
  /// Beam search of width `n`: each step asks for one token of every running beam with enough alternatives. The beams'
  /// common prefixes are found in the prefix cache, so a step computes little more than one token a beam.
  ///
  /// The stream carries the winners when they are decided, best first, one delta each.
  func beamSearch(
    _ request: GenerationRequest
  ) throws(RequestError) -> AsyncThrowingStream<GenerationEvent, any Error> {
    if request.params.logprobTokenIds != nil {
      throw .badRequest("logprob_token_ids cannot be combined with use_beam_search.", param: "logprob_token_ids")
    }
    if request.params.promptLogprobs != nil {
      throw .badRequest("prompt_logprobs cannot be combined with use_beam_search.", param: "prompt_logprobs")
    }
    try refuseMasks(request.params)
    let prepared = try preparation.prepare(request, fallbackSeed: 0)
    let (stream, continuation) = AsyncThrowingStream.makeStream(of: GenerationEvent.self)
    let task = Task {
      do {
        try await self.searchBeams(prepared, request: request, into: continuation)
        continuation.finish()
      } catch {
        continuation.finish(throwing: error)
      }
    }
    continuation.onTermination = { _ in task.cancel() }
    return stream
  }

  /// A beam chooses among the likeliest tokens of the model's own distribution, which no mask has touched: such a field
  /// would be ignored without a word.
  private func refuseMasks(_ params: SamplingParams) throws(RequestError) {
    let masks = [
      ("allowed_token_ids", params.allowedTokenIds != nil), ("logit_bias", !params.logitBias.isEmpty),
      ("bad_words", !params.badWords.isEmpty),
    ]
    for (name, isAsked) in masks where isAsked {
      throw .badRequest("\(name) cannot be combined with use_beam_search.", param: name)
    }
  }

  private func searchBeams(
    _ prepared: Preparation.Prepared, request: GenerationRequest,
    into continuation: AsyncThrowingStream<GenerationEvent, any Error>.Continuation
  ) async throws {
    let params = prepared.params
    let endTokens = Set(prepared.sampling.terminators)
    var beams = BeamSet(
      width: params.n, maxTokens: params.maxTokens ?? 1, lengthPenalty: params.lengthPenalty,
      stopsEarly: params.earlyStopping)
    var cachedTokens: Int?
    while !beams.isDone && params.maxTokens != 0 {
      try Task.checkCancellation()
      // Until `minTokens` is reached no beam may end, nor carry an end token in its middle.
      let masked = params.minTokens > beams.running[0].tokens.count ? endTokens : []
      let (continuations, cached) = try await step(beams, masked: masked, prepared, request)
      if cachedTokens == nil { cachedTokens = cached }
      beams.advance(continuations, endTokens: endTokens)
    }
    continuation.yield(
      .started(
        PromptInfo(
          promptTokens: prepared.tokens, promptText: prepared.text, cachedTokens: cachedTokens ?? 0,
          promptLogprobs: nil)))
    let winners = beams.best(params.n)
    for (index, winner) in winners.enumerated() {
      var delta = delta(winner.beam, index: index, prepared)
      if params.logprobs != nil, !delta.tokens.isEmpty {
        delta.logprobs = try await logprobs(of: delta.tokens, prepared, request)
      }
      continuation.yield(.delta(delta))
    }
    // Fewer hypotheses than choices: nothing was generated, or the width is larger than the vocabulary.
    for index in winners.count..<max(winners.count, params.n) {
      continuation.yield(.delta(ChoiceDelta(index: index, finish: .length)))
    }
  }

  /// What the client asked to see of a winner's tokens: the winner scored as a prompt. Cheaper than keeping the
  /// alternatives of every hypothesis, most of which lose.
  private func logprobs(
    of tokens: [TokenID], _ prepared: Preparation.Prepared, _ request: GenerationRequest
  ) async throws -> [PositionLogprobs] {
    var params = SamplingParams(temperature: 0, maxTokens: 0)
    params.detokenize = false
    params.promptLogprobs = prepared.params.logprobs
    params.skipReadingPrefixCache = true
    let scoring = Preparation.Prepared(
      tokens: prepared.tokens + tokens, text: nil, params: params,
      sampling: SamplingState(params: params, seed: 0, badWordTokens: [], terminators: []))
    var positions: [PositionLogprobs?] = []
    for try await event in try submit(scoring, id: nextID(), request: request, isContinuation: true) {
      if case .started(let info) = event { positions = info.promptLogprobs ?? [] }
    }
    let known = positions.suffix(tokens.count).compactMap(\.self)
    if known.count != tokens.count { throw RequestError(.internalError, "A beam could not be scored.") }
    return known
  }

  /// One token further for every running beam, all submitted together so that they share a step.
  private func step(
    _ beams: BeamSet, masked: Set<TokenID>, _ prepared: Preparation.Prepared, _ request: GenerationRequest
  ) async throws -> ([[(token: TokenID, logprob: Float)]], cachedTokens: Int) {
    var streams: [(AsyncThrowingStream<GenerationEvent, any Error>, [TokenID])] = []
    for beam in beams.running {
      let history = prepared.tokens + beam.tokens
      // The search was let in as a whole: neither a full queue nor draining ends it half-way.
      let one = oneToken(after: history, alternatives: 2 * beams.width + masked.count, prepared)
      streams.append((try submit(one, id: nextID(), request: request, isContinuation: true), history))
    }
    var continuations: [[(token: TokenID, logprob: Float)]] = []
    var cachedTokens = 0
    for (stream, history) in streams {
      var next: [(token: TokenID, logprob: Float)] = []
      for try await event in stream {
        switch event {
        case .started(let info): cachedTokens = max(cachedTokens, info.cachedTokens)
        case .delta(let delta):
          for position in delta.logprobs {
            next += position.alternatives.map { ($0.token, $0.logprob) }.filter { !masked.contains($0.0) }
          }
        }
      }
      if next.isEmpty { throw RequestError(.internalError, "A beam ended without a continuation.") }
      continuations.append(penalise(next, history: history, prepared.params))
    }
    return (continuations, cachedTokens)
  }

  /// The request behind one beam's next token. Tokens of the history may fall by the repetition penalty, so as many
  /// alternatives more are asked for as the history has distinct tokens.
  private func oneToken(
    after history: [TokenID], alternatives: Int, _ prepared: Preparation.Prepared
  ) -> Preparation.Prepared {
    var params = SamplingParams(temperature: 0, maxTokens: 1)
    params.ignoreEos = true
    params.detokenize = false
    let penalised = prepared.params.repetitionPenalty == 1 ? 0 : Set(history).count
    params.logprobs = min(model.vocabularySize, alternatives + penalised)
    return Preparation.Prepared(
      tokens: history, text: nil, params: params,
      sampling: SamplingState(params: params, seed: 0, badWordTokens: [], terminators: []))
  }

  /// The repetition penalty applies to log-probabilities here: below 1 in probability, hence negative, hence multiplied.
  private func penalise(
    _ next: [(token: TokenID, logprob: Float)], history: [TokenID], _ params: SamplingParams
  ) -> [(token: TokenID, logprob: Float)] {
    guard params.repetitionPenalty != 1 else { return next }
    let seen = Set(history)
    return next.map { ($0.token, seen.contains($0.token) ? $0.logprob * params.repetitionPenalty : $0.logprob) }
  }

  private func delta(_ beam: BeamSet.Beam, index: Int, _ prepared: Preparation.Prepared) -> ChoiceDelta {
    var choice = ChoiceAssembly(
      params: prepared.params, promptTokens: prepared.tokens, tokenizer: preparation.tokenizer,
      endTokens: preparation.endTokens)
    var whole = ChoiceDelta(index: index)
    for (place, token) in beam.tokens.enumerated() where !choice.isFinished {
      let isLast = place == beam.tokens.count - 1
      let finish: FinishReason? = isLast ? (beam.endToken == nil ? .length : .stop) : nil
      let piece = choice.append(token, logprobs: nil, finish: finish)
      whole.text += piece.text
      whole.tokens += piece.tokens
      whole.finish = piece.finish
      whole.stopReason = piece.stopReason
    }
    if beam.tokens.isEmpty { whole.finish = .length }
    whole.cumulativeLogprob = beam.sum
    return whole
  }
}
