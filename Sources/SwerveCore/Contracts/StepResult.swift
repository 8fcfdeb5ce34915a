/// What a step produced. Flat and reused like the plan.
package struct StepResult: Sendable {
  /// One entry per sampled row, in the plan's order: for a sequence with `samples` one, and one more per draft. An entry
  /// holds only while all drafts before it equal the tokens sampled for them; the others are noise.
  package var samples: [Sample] = []
  /// Alternatives of sampled tokens: entry ranges are in `Sample`. Most likely first.
  package var alternatives: [TokenLogprob] = []
  /// Prompt log-probabilities computed in this step, one entry per row that asked for them.
  package var promptLogprobs: [PromptLogprob] = []
  /// Indices into `StepPlan.sequences`, ascending: sequences of which a block could not be read. They have no samples,
  /// and nothing that the step wrote for them counts.
  package var incomplete: [Int32] = []

  package init() {}

  package mutating func removeAll() {
    samples.removeAll(keepingCapacity: true)
    alternatives.removeAll(keepingCapacity: true)
    promptLogprobs.removeAll(keepingCapacity: true)
    incomplete.removeAll(keepingCapacity: true)
  }
}

package struct Sample: Sendable, Hashable {
  /// Index into `StepPlan.sequences`.
  package var sequenceIndex: Int32
  package var token: TokenID
  /// Natural logarithm of the raw model probability of `token`; 0 when no log-probabilities were asked for.
  package var logprob: Float
  /// 1 = most likely. 0 when no log-probabilities were asked for.
  package var rank: Int32
  /// Range in `StepResult.alternatives`.
  package var firstAlternative: Int32
  package var alternativeCount: Int32

  package init(
    sequenceIndex: Int32, token: TokenID, logprob: Float = 0, rank: Int32 = 0, firstAlternative: Int32 = 0,
    alternativeCount: Int32 = 0
  ) {
    self.sequenceIndex = sequenceIndex
    self.token = token
    self.logprob = logprob
    self.rank = rank
    self.firstAlternative = firstAlternative
    self.alternativeCount = alternativeCount
  }
}

/// One token with its log-probability.
@frozen public struct TokenLogprob: Sendable, Hashable {
  public var token: TokenID
  public var logprob: Float
  /// 1 = most likely.
  public var rank: Int32

  @inlinable public init(token: TokenID, logprob: Float, rank: Int32) {
    self.token = token
    self.logprob = logprob
    self.rank = rank
  }
}

/// Log-probability of the prompt token at `position` (≥ 1) given those before it.
package struct PromptLogprob: Sendable, Hashable {
  /// Index into `StepPlan.sequences`.
  package var sequenceIndex: Int32
  package var position: Int32
  package var chosen: TokenLogprob
  /// Range in `StepResult.alternatives`.
  package var firstAlternative: Int32
  package var alternativeCount: Int32

  package init(
    sequenceIndex: Int32, position: Int32, chosen: TokenLogprob, firstAlternative: Int32, alternativeCount: Int32
  ) {
    self.sequenceIndex = sequenceIndex
    self.position = position
    self.chosen = chosen
    self.firstAlternative = firstAlternative
    self.alternativeCount = alternativeCount
  }
}
