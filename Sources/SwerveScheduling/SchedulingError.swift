package import SwerveCore

/// Why the scheduler does not take a request, or cannot be built. Nothing was changed when one is thrown.
package enum SchedulingError: Error, Hashable, CustomStringConvertible {
  case invalidConfiguration([String])
  case emptyPrompt
  case invalidChoiceCount(Int)
  case negativeMaxTokens(Int)
  case unknownServiceClass(Int)
  case duplicateRequest(RequestID)
  /// The prompt leaves no room for one output token.
  case promptTooLong(tokens: Int, limit: Int)
  /// Prompt + output need more blocks than the whole pool has.
  case exceedsPool(blocks: Int, available: Int, blockSize: Int)
  /// More hypotheses of a beam search than can be computed in one step.
  case beamsTooWide(width: Int, limit: Int)
  case searchWithoutTokens
  /// Without chunked prefill: prompt + output (recomputed whole after a preemption) exceed the budget of a step.
  case exceedsStep(tokens: Int, budget: Int)

  package var description: String {
    switch self {
    case .invalidConfiguration(let problems): problems.joined(separator: " ")
    case .emptyPrompt: "The prompt has no tokens; at least one is needed."
    case .invalidChoiceCount(let n): "n must be between 1 and \(Int32.max), got \(n)."
    case .negativeMaxTokens(let count): "max_tokens must not be negative, got \(count)."
    case .unknownServiceClass(let index): "There is no service class \(index)."
    case .duplicateRequest(let id): "Request \(id.rawValue) is already scheduled; ids must be unique."
    case .promptTooLong(let tokens, let limit):
      "The prompt has \(tokens) tokens and at most \(limit) fit this model's context with the requested output; "
        + "shorten the prompt."
    case .exceedsPool(let blocks, let available, let blockSize):
      "The request may need \(blocks) KV blocks of \(blockSize) tokens and the whole pool has \(available); reduce "
        + "max_tokens, shorten the prompt or give the KV cache more memory."
    case .beamsTooWide(let width, let limit):
      "A beam search of width \(width) needs as many sequences and tokens in one step, and there are \(limit); ask for "
        + "fewer beams, or raise --max-num-seqs (and --max-num-batched-tokens)."
    case .searchWithoutTokens: "A beam search needs max_tokens of at least 1, got 0."
    case .exceedsStep(let tokens, let budget):
      "The request may compute \(tokens) tokens at once and a step takes \(budget); enable chunked prefill, raise "
        + "--max-num-batched-tokens or reduce max_tokens."
    }
  }
}
