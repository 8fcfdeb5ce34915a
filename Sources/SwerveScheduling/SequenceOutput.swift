package import SwerveCore

/// What one step did to one sequence. A plain value; text, streams and log-probabilities are others' business.
package struct SequenceOutput: Sendable, Hashable {
  package var sequence: SequenceID
  /// The sampled token; nil when the step only computed a part of the prompt, or nothing was to be sampled.
  package var token: TokenID?
  /// Index into `StepResult.samples` (log-probabilities, alternatives); −1 without a token.
  package var sampleIndex: Int32 = -1
  /// Index into `StepPlan.sequences`, which prompt log-probabilities refer to.
  package var sequenceIndex: Int32
  /// `stop` (a terminator, the token), `length` (max tokens or the context is full), `error` (the step failed or
  /// brought no sample). nil = goes on. The sequence is gone from the scheduler when set.
  package var finish: FinishReason?
  /// Whether this is the sequence's first step ever: its time in the queue ended when the step was scheduled.
  package var isFirstScheduled: Bool
  /// Prompt tokens that came from the prefix cache when the sequence was first admitted.
  package var cachedTokens: Int32
  /// How often the sequence was preempted so far.
  package var preemptions: Int32
  /// Whether it read keys and values that went through a lower precision.
  package var hasReadLossy = false
}
