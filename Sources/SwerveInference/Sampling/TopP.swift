/// Keeps the fewest most likely tokens whose probabilities sum to at least p (nucleus sampling, Holtzman et al. 2019,
/// arXiv 1904.09751). The token that reaches p is kept, so at least one is.
enum TopP {
  /// Number of leading `candidates` (sorted) to keep when the whole distribution has `total` mass relative to `maximum`;
  /// nil where the candidates together do not reach p.
  static func count(_ p: Float, of candidates: Candidates, maximum: Float, total: Double) -> Int? {
    let needed = Double(p) * total
    var sum = 0.0
    for place in 0..<candidates.count {
      sum += exponential(Double(candidates[place].logit) - Double(maximum))
      if sum >= needed { return place + 1 }
    }
    return nil
  }

  /// Leaves the nucleus' tokens first in `candidates` and answers how many they are, for a row whose total mass is known.
  /// Looks at a few hundred tokens and at eight times as many until they are enough.
  static func select(
    _ p: Float, from logits: LogitsRow, maximum: Float, total: Double, into candidates: inout Candidates
  ) -> Int {
    var wanted = 256
    while true {
      candidates.selectLargest(logits, wanted: wanted)
      if let count = count(p, of: candidates, maximum: maximum, total: total) { return count }
      if candidates.count < wanted || wanted >= logits.count { return candidates.count }
      wanted *= 8
    }
  }
}
