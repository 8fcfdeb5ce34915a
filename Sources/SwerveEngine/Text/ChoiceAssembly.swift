package import SwerveCore
package import SwerveText

/// One choice on its way to the client: tokens in, deltas out.
///
/// Text is whole characters, never taken back, and stops where a stop string begins. Tokens of a delta may have their
/// text in a later one (a partial character, a possible stop string): the concatenation is what counts.
package struct ChoiceAssembly: Sendable {
  package private(set) var tokenCount = 0
  package private(set) var isFinished = false
  private var detokenizer: IncrementalDetokenizer?
  private var stops: StopStrings
  private let params: SamplingParams
  private let endTokens: Set<TokenID>
  private var cumulativeLogprob: Float = 0

  /// - Parameters:
  ///   - endTokens: end-of-sequence ids; their stop reason is null and their text is never shown.
  package init(params: SamplingParams, promptTokens: [TokenID], tokenizer: Tokenizer?, endTokens: Set<TokenID>) {
    self.params = params
    self.endTokens = endTokens
    self.stops = StopStrings(params.stop, keepsMatch: params.includeStopStrInOutput)
    if let tokenizer, params.detokenize {
      self.detokenizer = IncrementalDetokenizer(
        tokenizer, promptIDs: promptTokens.suffix(64).map(\.rawValue), skipSpecialTokens: params.skipSpecialTokens,
        spacesBetweenSpecialTokens: params.spacesBetweenSpecialTokens)
    }
  }

  /// Adds one sampled token. `finish` is the scheduler's verdict; a stop string found here overrules it.
  package mutating func append(_ token: TokenID, logprobs: PositionLogprobs?, finish: FinishReason?) -> ChoiceDelta {
    tokenCount += 1
    var delta = ChoiceDelta(index: 0, tokens: [token])
    if let logprobs {
      delta.logprobs = [logprobs]
      cumulativeLogprob += logprobs.chosen.logprob
      delta.cumulativeLogprob = cumulativeLogprob
    }
    let isTerminator = finish == .stop
    if !isTerminator || showsTerminator(token) {
      let text = detokenizer?.append(token.rawValue) ?? ""
      if take(text, into: &delta) { return delta }
    }
    if let finish {
      if isTerminator && !endTokens.contains(token) { delta.stopReason = .token(token) }
      close(&delta, finish)
    }
    return delta
  }

  /// Takes over tokens that were delivered before; whether the choice goes on behind them.
  package mutating func resume(behind tokens: [TokenID]) -> Bool {
    for token in tokens where !isFinished { _ = append(token, logprobs: nil, finish: nil) }
    return !isFinished
  }

  /// Ends the choice without another token: prompt scoring, abort, failure of the step.
  package mutating func finish(_ reason: FinishReason) -> ChoiceDelta {
    var delta = ChoiceDelta(index: 0)
    close(&delta, reason)
    return delta
  }

  /// A stop id's text is shown only when asked for, and special tokens stay hidden as everywhere.
  private func showsTerminator(_ token: TokenID) -> Bool {
    params.includeStopStrInOutput && !endTokens.contains(token)
  }

  private mutating func close(_ delta: inout ChoiceDelta, _ reason: FinishReason) {
    if let rest = detokenizer?.flush(), !rest.isEmpty, take(rest, into: &delta) { return }
    delta.text += stops.flush()
    delta.finish = reason
    isFinished = true
  }

  /// Runs text past the stop strings; true when one of them ended the choice.
  private mutating func take(_ text: String, into delta: inout ChoiceDelta) -> Bool {
    if text.isEmpty { return false }
    let outcome = stops.append(text, isChecking: tokenCount > params.minTokens || params.minTokens == 0)
    delta.text += outcome.visible
    guard let match = outcome.match else { return false }
    delta.finish = .stop
    delta.stopReason = .string(match)
    isFinished = true
    return true
  }
}
