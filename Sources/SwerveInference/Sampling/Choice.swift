import SwerveCore

/// Which token a row of logits gives, once the stages that change logits have run: argmax, or min-p → top-k → top-p →
/// draw.
enum Choice {
  /// - Parameters:
  ///   - logits: processed and divided by the temperature.
  ///   - statistics: of `logits`.
  ///   - position: of the token in its sequence.
  static func token(
    _ logits: LogitsRow, statistics: RowStatistics, slot: borrowing SamplerSlot, position: Int,
    candidates: inout Candidates
  ) -> TokenID {
    let found = slot.isGreedy ? statistics.argmax : drawn(logits, statistics, slot, position, &candidates)
    // Nothing is left where every token was banned (or no logit is a number): rather a token the request names than one
    // it excluded.
    return TokenID(found ?? statistics.argmax ?? slot.allowed?.first.map { Int($0.rawValue) } ?? 0)
  }

  private static func drawn(
    _ logits: LogitsRow, _ statistics: RowStatistics, _ slot: borrowing SamplerSlot, _ position: Int,
    _ candidates: inout Candidates
  ) -> Int? {
    let maximum = statistics.maximum
    guard maximum.isFinite else { return nil }
    let params = slot.sampling.params
    let uniform = Philox(seed: slot.sampling.seed).uniform(sequence: slot.sequence.index, position: position)
    let floor = MinP.floor(params.minP, maximum: maximum)
    let hasTopP = params.topP < 1
    let kept: Int
    if TopK.isActive(params.topK, vocabularySize: logits.count) {
      TopK.select(params.topK, from: logits, statistics: statistics, floor: floor, into: &candidates)
      kept = hasTopP ? nucleus(params.topP, of: candidates, maximum: maximum) : candidates.count
    } else if params.minP > 0 {
      candidates.gather(logits, floor: floor)
      kept = hasTopP ? nucleus(params.topP, of: candidates, maximum: maximum) : candidates.count
    } else if hasTopP {
      kept = TopP.select(params.topP, from: logits, statistics: statistics, maximum: maximum, into: &candidates)
    } else {
      return Draw.token(uniform, of: logits, statistics: statistics, maximum: maximum)
    }
    return Draw.token(uniform, of: candidates, count: kept, maximum: maximum)
  }

  /// Top-p over what earlier stages left, whose probabilities sum to one again.
  private static func nucleus(_ p: Float, of candidates: Candidates, maximum: Float) -> Int {
    TopP.select(p, of: candidates, maximum: maximum, total: candidates.mass(0..<candidates.count, maximum: maximum))
  }
}
