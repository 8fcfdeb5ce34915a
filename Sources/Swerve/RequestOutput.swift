public import SwerveCore

/// What came of one prompt: its `n` outputs and what is known of the prompt itself.
public struct RequestOutput: Sendable {
  public var requestId: String
  /// The prompt as text, where there is a tokenizer.
  public var prompt: String?
  public var promptTokenIds: [TokenID] = []
  /// One entry per prompt position, the first nil; nil when not asked for.
  public var promptLogprobs: [PositionLogprobs?]?
  public var outputs: [CompletionOutput]
  /// Whether every output has ended.
  public var finished = false
  /// Prompt tokens whose keys and values came from the prefix cache.
  public var numCachedTokens = 0

  init(requestId: String, n: Int) {
    self.requestId = requestId
    self.outputs = (0..<n).map { CompletionOutput(index: $0) }
  }

  mutating func apply(_ event: GenerationEvent) {
    switch event {
    case .started(let info):
      prompt = info.promptText
      promptTokenIds = info.promptTokens
      promptLogprobs = info.promptLogprobs
      numCachedTokens = info.cachedTokens
    case .delta(let delta):
      outputs[delta.index].apply(delta)
      if delta.finish != nil { finished = outputs.allSatisfy { $0.finishReason != nil } }
    }
  }
}

/// One generated continuation.
public struct CompletionOutput: Sendable {
  /// 0 ..< n
  public var index: Int
  public var text = ""
  public var tokenIds: [TokenID] = []
  /// Sum of the raw log-probabilities of all tokens; nil when log-probabilities were not asked for.
  public var cumulativeLogprob: Float?
  /// One entry per token; nil when not asked for.
  public var logprobs: [PositionLogprobs]?
  /// nil while tokens are still coming.
  public var finishReason: FinishReason?
  /// The stop string or stop token that ended it; nil at the end-of-sequence token.
  public var stopReason: StopReason?

  init(index: Int) { self.index = index }

  mutating func apply(_ delta: ChoiceDelta) {
    text += delta.text
    tokenIds += delta.tokens
    if !delta.logprobs.isEmpty { logprobs = (logprobs ?? []) + delta.logprobs }
    cumulativeLogprob = delta.cumulativeLogprob ?? cumulativeLogprob
    finishReason = delta.finish
    stopReason = delta.stopReason
  }
}
