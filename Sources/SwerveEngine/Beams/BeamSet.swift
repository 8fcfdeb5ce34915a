// Beam search: a pure state machine (BeamSet), what the engine thread keeps of a search under way (BeamSearch), and how a
// request becomes one (Engine+BeamSearch). It must not touch blocks: tables fork in the scheduler. Start with BeamSet.

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
    /// Place, among those running before the last step, of the one it goes on from.
    package var parent = 0
    /// What is remembered of its tokens, where anything is.
    package var trace: BeamTrace?
  }

  package let width: Int
  package let maxTokens: Int
  package let lengthPenalty: Float
  package let earlyStopping: EarlyStopping
  package private(set) var running: [Beam]
  /// Finished beams with their scores, best first, at most `width`.
  package private(set) var finished: [(beam: Beam, score: Float)] = []
  package private(set) var isDone = false

  package init(width: Int, maxTokens: Int, lengthPenalty: Float, earlyStopping: EarlyStopping) {
    self.width = width
    self.maxTokens = maxTokens
    self.lengthPenalty = lengthPenalty
    self.earlyStopping = earlyStopping
    self.running = [Beam(tokens: [], sum: 0)]
  }

  package func score(_ sum: Float, tokens: Int) -> Float {
    // Exact for the common penalty of 1.
    lengthPenalty == 1 ? sum / Float(tokens) : sum / powf(Float(tokens), lengthPenalty)
  }

  /// Advances every running beam by one token. `continuations[i]` are the likeliest next tokens of `running[i]`
  /// (at least `2 × width` of them unless the vocabulary is smaller), with log-probabilities after processing. `record`
  /// answers what is to be remembered of a beam that goes on from a running one with a token.
  package mutating func advance(
    _ continuations: [[(token: TokenID, logprob: Float)]], endTokens: Set<TokenID>,
    record: (_ parent: Int, _ token: TokenID) -> BeamTrace? = { _, _ in nil }
  ) {
    var candidates: [(beam: Int, token: TokenID, sum: Float)] = []
    for (index, beam) in running.enumerated() {
      for next in continuations[index] { candidates.append((index, next.token, beam.sum + next.logprob)) }
    }
    // Ties: the earlier beam, then the lower id.
    candidates.sort { a, b in a.sum != b.sum ? a.sum > b.sum : (a.beam, a.token) < (b.beam, b.token) }
    let length = (running.first?.tokens.count ?? 0) + 1
    let isLast = length >= maxTokens
    var next: [Beam] = []
    var endings = 0
    for (rank, candidate) in candidates.prefix(2 * width).enumerated() {
      let ends = endTokens.contains(candidate.token)
      let isKept = ends || isLast ? rank < width : next.count < width
      guard isKept else { continue }
      if ends { endings += 1 }
      let beam = Beam(
        tokens: running[candidate.beam].tokens + [candidate.token], sum: candidate.sum,
        endToken: ends ? candidate.token : nil, parent: candidate.beam, trace: record(candidate.beam, candidate.token))
      if ends || isLast { keep(beam, length: length) } else { next.append(beam) }
    }
    running = next
    // Where all of the best end, what goes on is worse than each of them.
    isDone = isLast || running.isEmpty || endings == width || hasWon(length: length)
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

  private func hasWon(length: Int) -> Bool {
    guard finished.count == width, let worst = finished.last?.score else { return false }
    guard earlyStopping != .whenFull, let best = running.map(\.sum).max() else { return true }
    // Sums only fall; where length is rewarded, the longest beam would have the best score for its sum.
    let isPatient = earlyStopping == .never && lengthPenalty > 0
    return score(best, tokens: isPatient ? maxTokens : length) <= worst
  }
}

/// A beam's last token with its log-probability and alternatives, behind those of the tokens before it, which it shares
/// with its siblings. Kept only where the client wants to see them.
package final class BeamTrace: Sendable, Equatable {
  package let before: BeamTrace?
  package let chosen: TokenLogprob
  package let alternatives: [TokenLogprob]

  package init(before: BeamTrace?, chosen: TokenLogprob, alternatives: [TokenLogprob]) {
    self.before = before
    self.chosen = chosen
    self.alternatives = alternatives
  }

  package static func == (a: BeamTrace, b: BeamTrace) -> Bool { a === b }
}
