import SwerveCore
import SwerveHardware

/// Log-probabilities of the model itself: log-softmax of the raw logits, before any processing. Ranks and alternatives
/// follow the exact order of `Candidates`: larger logit first, lower token among equals.
enum Logprobs {
  static func of(_ token: TokenID, in row: RowScan, statistics: RowStatistics) -> TokenLogprob {
    let place = Int(token.rawValue)
    return TokenLogprob(
      token: token, logprob: Float(Double(row.logits[place]) - statistics.logSumExp),
      rank: Int32(row.count(before: row.bound(of: place)) + 1))
  }

  /// Writes the most likely tokens, as many as `out` holds and the row has. Answers how many.
  static func mostLikely(
    _ row: RowScan, statistics: RowStatistics, candidates: inout Candidates,
    into out: UnsafeMutableBufferPointer<TokenLogprob>
  ) -> Int {
    guard !out.isEmpty else { return 0 }
    let logSumExp = statistics.logSumExp
    candidates.selectLargest(row, statistics: statistics, wanted: out.count)
    for place in 0..<candidates.count {
      let (token, logit) = candidates[place]
      out[place] = TokenLogprob(
        token: TokenID(token), logprob: Float(Double(logit) - logSumExp), rank: Int32(place + 1))
    }
    return candidates.count
  }

  /// Writes exactly the `tokens`, sorted from the most likely.
  static func listed(
    _ tokens: [TokenID], _ row: RowScan, statistics: RowStatistics, candidates: inout Candidates,
    into out: UnsafeMutableBufferPointer<TokenLogprob>
  ) -> Int {
    let logSumExp = statistics.logSumExp
    candidates.take(tokens, from: row.logits)
    for place in 0..<candidates.count {
      let (token, logit) = candidates[place]
      out[place] = TokenLogprob(token: TokenID(token), logprob: Float(Double(logit) - logSumExp), rank: 0)
    }
    candidates.fillRanks(row) { place, rank in out[place].rank = rank }
    return candidates.count
  }
}
