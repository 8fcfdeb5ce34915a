import SwerveCore

extension Engine {
  /// Queues a beam search. It is one request to everybody: the scheduler forks and frees its hypotheses, the engine thread
  /// chooses their tokens. The stream carries the winners when they are decided, best first, one delta each.
  func searchBeams(
    _ request: GenerationRequest, id: RequestID
  ) throws(RequestError) -> AsyncThrowingStream<GenerationEvent, any Error> {
    try refuseCombinations(request.params)
    let prepared = try preparation.prepare(request, fallbackSeed: 0)
    // Nothing to search: the choices end like those of a prompt that is only scored.
    guard let maxTokens = prepared.params.maxTokens, maxTokens > 0 else {
      return try submit(prepared, id: id, request: request)
    }
    let settings = BeamSettings(prepared.params, endTokens: Set(prepared.sampling.terminators))
    // A hypothesis samples nothing that counts: it reports the likeliest tokens of the model's own distribution.
    var params = SamplingParams(temperature: 0)
    params.ignoreEos = true
    // What the context holds may be more than the pool does for all hypotheses; only what was asked for must fit.
    params.maxTokens = request.params.maxTokens == nil ? nil : maxTokens
    params.logprobs = settings.alternatives(
      promptTokens: prepared.tokens, maxTokens: maxTokens, vocabularySize: model.vocabularySize)
    let state = SamplingState(params: params, seed: 0, badWordTokens: [], terminators: [])
    return try submit(prepared, id: id, request: request, search: (settings, state))
  }

  private func refuseCombinations(_ params: SamplingParams) throws(RequestError) {
    let fields = [
      ("logprob_token_ids", params.logprobTokenIds != nil), ("prompt_logprobs", params.promptLogprobs != nil),
      // A beam chooses among the likeliest tokens of the model's own distribution, which no mask has touched: such a field
      // would be ignored without a word.
      ("allowed_token_ids", params.allowedTokenIds != nil), ("logit_bias", !params.logitBias.isEmpty),
      ("bad_words", !params.badWords.isEmpty),
    ]
    for (name, isAsked) in fields where isAsked {
      throw .badRequest("\(name) cannot be combined with use_beam_search.", param: name)
    }
  }
}
