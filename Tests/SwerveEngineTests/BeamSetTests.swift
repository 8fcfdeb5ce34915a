import SwerveCore
import SwerveEngine
import Testing

@Suite struct BeamSetTests {
  /// A toy model: the log-probability of the next token depends on the tokens so far. Eight tokens, 7 ends.
  private func next(_ tokens: [TokenID]) -> [(token: TokenID, logprob: Float)] {
    var state: UInt32 = 0x9E37_79B9
    for token in tokens { state = (state ^ UInt32(token.rawValue + 1)) &* 0x85EB_CA6B ^ (state >> 13) }
    var weights: [Float] = []
    for _ in 0..<8 {
      state = state &* 1_664_525 &+ 1_013_904_223
      weights.append(Float(state >> 16 & 0xFF) + 1)
    }
    let total = weights.reduce(0, +)
    return weights.enumerated().map { (TokenID($0.offset), Self.logarithm($0.element / total)) }
      .sorted { ($1.logprob, $0.token) < ($0.logprob, $1.token) }
  }

  /// A monotone stand-in for the logarithm, exact enough to rank: 2(x−1)/(x+1) after scaling would do; use the series.
  private static func logarithm(_ x: Float) -> Float {
    var value = x
    var exponent: Float = 0
    while value < 0.5 {
      value *= 2
      exponent -= 1
    }
    let t = (value - 1) / (value + 1)
    return 2 * (t + t * t * t / 3 + t * t * t * t * t / 5) + exponent * 0.6931472
  }

  private func search(width: Int, maxTokens: Int, early: Bool, penalty: Float = 1) -> BeamSet {
    var beams = BeamSet(
      width: width, maxTokens: maxTokens, lengthPenalty: penalty, earlyStopping: early ? .whenFull : .whenUnlikely)
    while !beams.isDone {
      beams.advance(beams.running.map { next($0.tokens) }, endTokens: [7])
    }
    return beams
  }

  @Test func widthOneWithoutEndIsGreedy() {
    let beams = search(width: 1, maxTokens: 5, early: true)
    let best = beams.best(1)[0].beam
    var greedy: [TokenID] = []
    while greedy.count < best.tokens.count { greedy.append(next(greedy)[0].token) }
    #expect(best.tokens == greedy)
  }

  /// A beam as wide as the tree is exhaustive search.
  @Test func aWideEnoughBeamFindsTheBestSequence() {
    let beams = search(width: 512, maxTokens: 3, early: false)
    var best: (tokens: [TokenID], score: Float) = ([], -.infinity)
    func walk(_ tokens: [TokenID], _ sum: Float) {
      if tokens.last == 7 || tokens.count == 3 {
        let score = sum / Float(tokens.count)
        if score > best.score { best = (tokens, score) }
        return
      }
      for (token, logprob) in next(tokens) { walk(tokens + [token], sum + logprob) }
    }
    walk([], 0)
    #expect(beams.best(1)[0].beam.tokens == best.tokens)
    #expect(abs(beams.best(1)[0].score - best.score) < 1e-5)
  }

  @Test(arguments: [true, false], [Float(0), 1, 2])
  func resultsAreBestFirstEndWithTheirEndTokenAndKeepTheLimit(early: Bool, penalty: Float) {
    let beams = search(width: 4, maxTokens: 9, early: early, penalty: penalty)
    let best = beams.best(4)
    #expect(best.count == 4)
    for (earlier, later) in zip(best, best.dropFirst()) { #expect(earlier.score >= later.score) }
    for (beam, _) in best {
      #expect(beam.tokens.count <= 9)
      #expect(!beam.tokens.dropLast().contains(7))
      #expect((beam.endToken == 7) == (beam.tokens.last == 7))
    }
    #expect(Set(best.map(\.beam.tokens)).count == 4)
  }

  @Test func patienceNeverFindsAWorseBeam() {
    for width in 2...5 {
      var penalties: [Float] = [0.5, 1, 2]
      if width == 2 { penalties.append(-1) }
      for penalty in penalties {
        func best(_ stopping: EarlyStopping) -> (score: Float, length: Int) {
          var beams = BeamSet(width: width, maxTokens: 12, lengthPenalty: penalty, earlyStopping: stopping)
          var steps = 0
          while !beams.isDone {
            beams.advance(beams.running.map { next($0.tokens) }, endTokens: [7])
            steps += 1
          }
          return (beams.best(1)[0].score, steps)
        }
        let (eager, likely, patient) = (best(.whenFull), best(.whenUnlikely), best(.never))
        #expect(eager.score <= likely.score && likely.score <= patient.score)
        #expect(eager.length <= likely.length && likely.length <= patient.length)
      }
    }
  }

  /// Three tokens, two of which end: the best two of the first step end, and with patience too nothing can follow.
  @Test(arguments: [EarlyStopping.whenFull, .whenUnlikely, .never])
  func aSearchEndsWhereAllOfTheBestEnd(stopping: EarlyStopping) {
    var beams = BeamSet(width: 2, maxTokens: 9, lengthPenalty: 3, earlyStopping: stopping)
    beams.advance([[(6, -0.5), (7, -1), (0, -2)]], endTokens: [6, 7])
    #expect(beams.isDone)
    #expect(beams.best(2).map(\.beam.tokens) == [[6], [7]])
  }

  @Test func parentsAreThePlacesBeamsGoOnFrom() {
    var beams = BeamSet(width: 3, maxTokens: 6, lengthPenalty: 1, earlyStopping: .never)
    while !beams.isDone {
      let before = beams.running
      beams.advance(before.map { next($0.tokens) }, endTokens: [])
      for beam in beams.running { #expect(before[beam.parent].tokens == Array(beam.tokens.dropLast())) }
    }
  }
}
