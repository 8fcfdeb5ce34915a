package import SwerveCore

/// A request as it is handed to the scheduler: tokens and numbers, no text.
package struct WaitingRequest: Sendable {
  package var request: RequestID
  /// The prompt, ≥ 1 token. Shared by the request's choices, never copied.
  package var promptTokens: [TokenID]
  /// Choices: sequences that continue the prompt independently. ≥ 1
  package var n: Int
  package var sampling: SamplingState
  /// Lower runs earlier, where the policy looks at it.
  package var priority: Int
  /// When the request came, in nanoseconds on the clock that `schedule(into:now:)` is told. Requests of one instant keep
  /// the order in which they were added.
  package var arrival: UInt64
  /// Mixed into the block hashes: requests share cached blocks only with requests of the same salt (tenant, adapter).
  package var prefixSalt: [UInt8]
  /// Compute every prompt token although it may be cached. What is computed is still cached for others.
  package var skipPrefixCacheRead: Bool
  /// Every prompt position must be computed once: the first choice does not read the prefix cache; the others may.
  /// A position can be reported more than once, with the same value: by other choices that compute the prompt's last
  /// tokens, and after a preemption in the middle of the prompt.
  package var wantsPromptLogprobs: Bool
  /// Whoever shares the machine with others, as a number; requests of one tenant have the same.
  package var tenant: UInt64 = 0
  /// Index into the scheduler's service rules; 0 without any.
  package var serviceClass: Int32 = 0
  /// Hypotheses of a beam search at most; nil = no search. ≥ 1, with `n` 1. The scheduler computes and keeps them, who
  /// owns the search chooses their tokens (`continueBeams`) and ends it (`endBeams`).
  package var beamWidth: Int?
  /// Output tokens that count as generated: the sequence goes on behind them. Fewer than its limit, and only with `n` 1 and
  /// without a search.
  package var generated: [TokenID] = []

  package init(
    request: RequestID, promptTokens: [TokenID], n: Int = 1, sampling: SamplingState, priority: Int = 0,
    arrival: UInt64 = 0, prefixSalt: [UInt8] = [], skipPrefixCacheRead: Bool = false, wantsPromptLogprobs: Bool = false
  ) {
    self.request = request
    self.promptTokens = promptTokens
    self.n = n
    self.sampling = sampling
    self.priority = priority
    self.arrival = arrival
    self.prefixSalt = prefixSalt
    self.skipPrefixCacheRead = skipPrefixCacheRead
    self.wantsPromptLogprobs = wantsPromptLogprobs
  }
}
