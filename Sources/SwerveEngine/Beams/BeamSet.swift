// Beam search as a pure state machine (BeamSet) and its driver over ordinary requests (Engine+BeamSearch).
// It must not touch blocks: shared prefixes are the prefix cache's business.

package import SwerveCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The hypotheses of one beam search. A score is the sum of log-probabilities ÷ (generated tokens, end token
/// included)^lengthPenalty, as in the reference implementation; at each step the `2 × width` best continuations of all
/// running beams are candidates, and one that ends the sequence is kept only if it ranks among the first `width`.
package struct BeamSet {
  package struct Beam: Equatable {
    package var tokens: [TokenID]
    /// Sum of the log-probabilities of `tokens`.
    package var sum: Float
    /// The token that ended it, when one did (it is the last of `tokens`).
    package var endToken: TokenID?
  }

  package let width: Int
  package let maxTokens: Int
  package let lengthPenalty: Float
  package let stopsEarly: Bool
  package private(set) var running: [Beam]
  /// Finished beams with their scores, best first, at most `width`.
  package private(set) var finished: [(beam: Beam, score: Float)] = []
  package private(set) var isDone = false

  package init(width: Int, maxTokens: Int, lengthPenalty: Float, stopsEarly: Bool) {
    self.width = width
    self.maxTokens = maxTokens
    self.lengthPenalty = lengthPenalty
    self.stopsEarly = stopsEarly
    self.running = [Beam(tokens: [], sum: 0)]
  }

  package func score(_ sum: Float, tokens: Int) -> Float {
    // Exact for the common penalty of 1.
    lengthPenalty == 1 ? sum / Float(tokens) : sum / powf(Float(tokens), lengthPenalty)
  }

  /// Advances every running beam by one token. `continuations[i]` are the likeliest next tokens of `running[i]`
  /// (at least `2 × width` of them unless the vocabulary is smaller), with log-probabilities after processing.
  package mutating func advance(_ continuations: [[(token: TokenID, logprob: Float)]], endTokens: Set<TokenID>) {
    var candidates: [(beam: Int, token: TokenID, sum: Float)] = []
    for (index, beam) in running.enumerated() {
      for next in continuations[index] { candidates.append((index, next.token, beam.sum + next.logprob)) }
    }
    // Ties: the earlier beam, then the lower id.
    candidates.sort { a, b in a.sum != b.sum ? a.sum > b.sum : (a.beam, a.token) < (b.beam, b.token) }
    let length = (running.first?.tokens.count ?? 0) + 1
    let isLast = length >= maxTokens
    var next: [Beam] = []
    for (rank, candidate) in candidates.prefix(2 * width).enumerated() {
      let ends = endTokens.contains(candidate.token)
      let beam = Beam(
        tokens: running[candidate.beam].tokens + [candidate.token], sum: candidate.sum,
        endToken: ends ? candidate.token : nil)
      if ends || isLast {
        if rank < width { keep(beam, length: length) }
      } else if next.count < width {
        next.append(beam)
      }
    }
    running = next
    isDone = isLast || running.isEmpty || hasWon(length: length)
  }

  /// The winners, best first: finished beams, then running ones where too few finished.
  package func best(_ count: Int) -> [(beam: Beam, score: Float)] {
    var all = finished
    if all.count < count {
      all += running.map { ($0, score($0.sum, tokens: max(1, $0.tokens.count))) }.sorted { $0.1 > $1.1 }
    }
    return Array(all.prefix(count))
  }

  private mutating func keep(_ beam: Beam, length: Int) {
    let score = score(beam.sum, tokens: length)
    let place = finished.firstIndex { $0.score < score } ?? finished.count
    finished.insert((beam, score), at: place)
    if finished.count > width { finished.removeLast() }
  }

  /// With early stopping the search ends at `width` finished beams; without, when the best running beam scored at its
  /// present length cannot beat the worst finished one.
  private func hasWon(length: Int) -> Bool {
    guard finished.count == width, let worst = finished.last?.score else { return false }
    if stopsEarly { return true }
    guard let best = running.map(\.sum).max() else { return true }
    return score(best, tokens: length) <= worst
  }
}
