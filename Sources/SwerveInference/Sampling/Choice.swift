import SwerveCore
import SwerveHardware

/// Which token a row of logits gives, once the stages that change logits have run: argmax, or min-p → top-k → top-p →
/// draw.
enum Choice {
  /// - Parameters:
  ///   - row: processed and divided by the temperature.
  ///   - statistics: of `row`; sums where `needsSums`.
  ///   - position: of the token in its sequence.
  static func token(
    _ row: RowScan, statistics: RowStatistics, slot: borrowing SamplerSlot, position: Int,
    candidates: inout Candidates, rejection: Rejection
  ) -> TokenID {
    let found = slot.isGreedy ? statistics.argmax : drawn(row, statistics, slot, position, &candidates, rejection)
    // Nothing is left where every token was banned (or no logit is a number): rather a token the request names than one
    // it excluded.
    return TokenID(found ?? statistics.argmax ?? slot.allowed?.first.map { Int($0.rawValue) } ?? 0)
  }

  /// Whether the choice takes the mass of the whole row into account.
  static func needsSums(_ params: SamplingParams, vocabularySize: Int) -> Bool {
    !params.isGreedy && params.minP <= 0 && !TopK.isActive(params.topK, vocabularySize: vocabularySize)
  }

  private static func drawn(
    _ row: RowScan, _ statistics: RowStatistics, _ slot: borrowing SamplerSlot, _ position: Int,
    _ candidates: inout Candidates, _ rejection: Rejection
  ) -> Int? {
    let maximum = statistics.maximum
    guard maximum.isFinite else { return nil }
    let params = slot.sampling.params
    let random = Philox(seed: slot.sampling.seed)
    let sequence = slot.sequence.index
    let floor = MinP.floor(params.minP, maximum: maximum)
    var kept: Int?
    if TopK.isActive(params.topK, vocabularySize: row.logits.count) {
      TopK.select(params.topK, from: row, statistics: statistics, floor: floor, into: &candidates)
      kept = params.topP < 1 ? nucleus(params.topP, of: candidates, maximum: maximum) : candidates.count
    } else if params.topP < 1, params.minP <= 0 {
      let total = statistics.totalMass(below: maximum)
      guard total.isFinite, total > 0 else { return nil }
      kept = TopP.select(
        params.topP, from: row, statistics: statistics, maximum: maximum, total: total, into: &candidates)
    }
    if let kept {
      let uniform = random.uniform(sequence: sequence, position: position)
      return Draw.token(uniform, of: candidates, count: kept, maximum: maximum)
    }
    return rejection.token(params.topP, of: row, statistics: statistics, floor: floor, maximum: maximum) {
      random.uniform(sequence: sequence, position: position, attempt: $0)
    }
  }

  /// Top-p over what earlier stages left, whose probabilities sum to one again.
  private static func nucleus(_ p: Float, of candidates: Candidates, maximum: Float) -> Int {
    TopP.select(p, of: candidates, maximum: maximum, total: candidates.mass(0..<candidates.count, maximum: maximum))
  }
}
