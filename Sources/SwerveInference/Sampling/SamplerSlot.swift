package import SwerveCore

/// What the sampler remembers of one running sequence. Built when the sequence is admitted; a decode step then only
/// counts up, without allocation.
package struct SamplerSlot {
  package let sequence: SequenceID
  package let sampling: SamplingState
  package let promptTokens: Int
  /// Tokens known: prompt and generated. The position of the next one.
  package private(set) var tokenCount: Int
  /// The client's prompt, where its log-probabilities were asked for; else empty.
  let prompt: [TokenID]
  /// Generated tokens, where bad words need them; else empty.
  private(set) var generated: [TokenID] = []
  /// Occurrences, where a penalty needs them.
  private(set) var counts: TokenCounts?
  /// Sorted by token, inside the vocabulary; values clamped.
  let bias: [BiasedToken]
  /// Sorted, unique, inside the vocabulary; nil = all are allowed.
  let allowed: [TokenID]?
  /// Tokens whose log-probabilities are reported instead of the most likely ones; inside the vocabulary.
  let listed: [TokenID]?
  let isGreedy: Bool
  /// Whether any stage before temperature can change a logit.
  let changesLogits: Bool
  private let keepsGenerated: Bool

  struct BiasedToken {
    var token: TokenID
    var value: Float
  }

  /// - Parameter contextTokens: longest sequence; bounds what is reserved.
  init(_ admission: Admission, vocabularySize: Int, contextTokens: Int) {
    let params = admission.sampling.params
    sequence = admission.sequence
    sampling = admission.sampling
    promptTokens = min(max(admission.promptTokens, 0), admission.tokens.count)
    tokenCount = admission.tokens.count
    isGreedy = params.isGreedy
    let vocabulary = 0..<Int32(clamping: vocabularySize)
    bias = params.logitBias.filter { vocabulary.contains($0.key.rawValue) }
      .map { BiasedToken(token: $0.key, value: min(max($0.value, -100), 100)) }
      .sorted { $0.token < $1.token }
    allowed = params.allowedTokenIds.map { ids in Set(ids.filter { vocabulary.contains($0.rawValue) }).sorted() }
    listed = params.logprobTokenIds.map { ids in ids.filter { vocabulary.contains($0.rawValue) } }

    let penalised = params.repetitionPenalty != 1 || params.presencePenalty != 0 || params.frequencyPenalty != 0
    changesLogits =
      penalised || allowed != nil || !bias.isEmpty || !admission.sampling.badWordTokens.isEmpty || params.minTokens > 0
    let output = admission.tokens[promptTokens...]
    let room = max(0, min(contextTokens - promptTokens, params.maxTokens ?? contextTokens))
    keepsGenerated = !admission.sampling.badWordTokens.isEmpty
    if keepsGenerated {
      generated.reserveCapacity(max(room, output.count))
      generated.append(contentsOf: output)
    }
    prompt = params.promptLogprobs == nil ? [] : Array(admission.tokens[..<promptTokens])
    precondition(prompt.allSatisfy { vocabulary.contains($0.rawValue) }, "a prompt token outside the vocabulary")
    if penalised {
      var counts = TokenCounts(capacity: promptTokens + max(room, output.count))
      for token in admission.tokens[..<promptTokens] where vocabulary.contains(token.rawValue) {
        counts.add(token, isGenerated: false)
      }
      for token in output where vocabulary.contains(token.rawValue) { counts.add(token, isGenerated: true) }
      self.counts = counts
    }
  }

  package var generatedTokens: Int { tokenCount - promptTokens }

  /// Notes a token that was chosen.
  mutating func append(_ token: TokenID) {
    tokenCount += 1
    if keepsGenerated { generated.append(token) }
    counts?.add(token, isGenerated: true)
  }
}
