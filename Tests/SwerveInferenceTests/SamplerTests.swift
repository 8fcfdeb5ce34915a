import SwerveCore
import SwerveHardware
import SwerveInference
import Testing

@Suite struct SamplerTests {
  private static func row(_ count: Int, _ random: inout Randomness, spread: Float = 4) -> [Float] {
    (0..<count).map { _ in
      // Sums of uniforms: most logits in the middle, few at the ends, as a model's are.
      (0..<4).reduce(Float(0)) { sum, _ in sum + Float.random(in: -spread...spread, using: &random) }
    }
  }

  private static func greedy(_ change: (inout SamplingParams) -> Void = { _ in }) -> SamplingParams {
    Harness.greedy(change)
  }

  // MARK: Stages before temperature, seen through greedy choices

  @Test func `greedy takes the largest logit and the lowest token among equals`() throws {
    let harness = try SamplerHarness(vocabularySize: 3000)
    var row = [Float](repeating: -3, count: 3000)
    row[700] = 2
    row[2100] = 2
    #expect(harness.token(row, Self.greedy()) == 700)
    row[2999] = 2.0000002
    #expect(harness.token(row, Self.greedy()) == 2999)
  }

  @Test func `not-a-number is never chosen`() throws {
    let harness = try SamplerHarness(vocabularySize: 10)
    var row: [Float] = [0, .nan, 1, .nan, -1, 0, 0, 0, 0, 0]
    #expect(harness.token(row, Self.greedy()) == 2)
    #expect(harness.token(row, SamplingParams(topK: 1)) == 2)
    #expect((0..<10).contains(Int(harness.token(row, SamplingParams(topP: 0.5)).rawValue)))
    row = [Float](repeating: .nan, count: 10)
    for params in [Self.greedy(), SamplingParams(), SamplingParams(topP: 0.5), SamplingParams(topK: 3)] {
      #expect((0..<10).contains(Int(harness.token(row, params).rawValue)))
    }
  }

  @Test func `allowed ids, bias and bans change the argmax in their order`() throws {
    let harness = try SamplerHarness(vocabularySize: 6)
    let row: [Float] = [5, 4, 3, 2, 1, 0]
    #expect(harness.token(row, Self.greedy { $0.allowedTokenIds = [4, 3, 3] }) == 3)
    #expect(harness.token(row, Self.greedy { $0.logitBias = [5: 5.5] }) == 5)
    #expect(harness.token(row, Self.greedy { $0.logitBias = [0: -100] }) == 1)
    #expect(harness.token(row, Self.greedy { $0.logitBias = [5: 1e9, 4: 99.5] }) == 4)
    // A bias does not bring back what is not allowed.
    #expect(
      harness.token(
        row,
        Self.greedy {
          $0.allowedTokenIds = [2, 4]
          $0.logitBias = [0: 100, 4: 2.5]
        }) == 4)
  }

  @Test func `a request that bans everything gets a token it named`() throws {
    let harness = try SamplerHarness(vocabularySize: 6)
    let params = Self.greedy {
      $0.allowedTokenIds = [4]
      $0.minTokens = 1
      $0.maxTokens = 5
    }
    #expect(harness.token([1, 2, 3, 4, 5, 6], params, terminators: [4]) == 4)
  }

  @Test func `terminators are banned until min_tokens were generated`() throws {
    let harness = try SamplerHarness(vocabularySize: 4)
    let params = Self.greedy { $0.minTokens = 2 }
    let row: [Float] = [0, 3, 1, 2]
    #expect(harness.token(row, params, terminators: [1, 3]) == 2)
    #expect(harness.token(row, params, generated: [0], terminators: [1, 3]) == 2)
    #expect(harness.token(row, params, generated: [0, 0], terminators: [1, 3]) == 1)
  }

  @Test func `a bad word is banned where its beginning was just generated`() throws {
    let harness = try SamplerHarness(vocabularySize: 8)
    let row: [Float] = [0, 1, 2, 3, 4, 5, 6, 7]
    let words: [[TokenID]] = [[7], [2, 6], [1, 2, 5]]
    #expect(harness.token(row, Self.greedy(), badWords: words) == 6)
    #expect(harness.token(row, Self.greedy(), generated: [2], badWords: words) == 5)
    #expect(harness.token(row, Self.greedy(), generated: [1, 2], badWords: words) == 4)
    #expect(harness.token(row, Self.greedy(), generated: [2, 1], badWords: words) == 6)
    #expect(harness.token(row, Self.greedy(), prompt: [1, 2], badWords: words) == 6)
    // The slot follows what it chooses itself.
    harness.admit(0, Self.greedy(), generated: [1], badWords: words)
    var wantsTwo = row
    wantsTwo[2] = 9
    #expect(harness.sample([wantsTwo], slots: [0]).samples[0].token == 2)
    #expect(harness.sample([row], slots: [0]).samples[0].token == 4)
  }

  @Test func `penalties equal a naive count over random histories`() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = Randomness(seed: seed)
    let size = 300
    let harness = try SamplerHarness(vocabularySize: size)
    for _ in 0..<200 {
      let row = Self.row(size, &random)
      let prompt = (0..<Int.random(in: 1...80, using: &random)).map { _ in
        TokenID(Int.random(in: 0..<size, using: &random))
      }
      let generated = (0..<Int.random(in: 0...80, using: &random)).map { _ in
        TokenID(Int.random(in: 0..<40, using: &random))
      }
      let params = Self.greedy {
        $0.repetitionPenalty = Float.random(in: 0.5...2, using: &random)
        $0.frequencyPenalty = Float.random(in: -2...2, using: &random)
        $0.presencePenalty = Float.random(in: -2...2, using: &random)
      }
      var expected = row
      for token in 0..<size {
        let count = generated.count { $0 == TokenID(token) }
        if count > 0 || prompt.contains(TokenID(token)) {
          expected[token] =
            expected[token] > 0
            ? expected[token] / params.repetitionPenalty : expected[token] * params.repetitionPenalty
        }
        if count > 0 { expected[token] -= params.frequencyPenalty * Float(count) + params.presencePenalty }
      }
      let best = expected.indices.min { (-expected[$0], $0) < (-expected[$1], $1) }
      #expect(Int(harness.token(row, params, prompt: prompt, generated: generated).rawValue) == best, "seed \(seed)")
    }
  }

  // MARK: Truncation and draw

  /// Draws of every strategy against the naive distribution: never a token outside it, and frequencies as they should be.
  @Test(arguments: [
    SamplingParams(), SamplingParams(temperature: 0.3), SamplingParams(temperature: 2), SamplingParams(topK: 1),
    SamplingParams(topK: 7), SamplingParams(topP: 0.5), SamplingParams(topP: 0.95), SamplingParams(topP: 1e-6),
    SamplingParams(minP: 0.2), SamplingParams(minP: 1), SamplingParams(temperature: 0.7, topP: 0.9, topK: 30),
    SamplingParams(topP: 0.8, minP: 0.01), SamplingParams(topK: 12, minP: 0.05),
    SamplingParams(temperature: 1.3, topP: 0.7, topK: 40, minP: 0.02), SamplingParams(temperature: 0.001),
    SamplingParams(topK: 5000), SamplingParams(topK: -1),
    // So flat that the nucleus is most of the row: drawn by rejection.
    SamplingParams(temperature: 20, topP: 0.9), SamplingParams(temperature: 20, topP: 0.3),
    SamplingParams(temperature: 4, topP: 0.6, minP: 0.3), SamplingParams(temperature: 20, minP: 0.9),
  ])
  func `draws follow the distribution that the rules leave`(params: SamplingParams) throws {
    var random = Randomness(seed: 11)
    let size = 1500
    let harness = try SamplerHarness(vocabularySize: size)
    var row = Self.row(size, &random, spread: 1.5)
    // Ties at every place that a cut can fall on.
    for token in stride(from: 0, to: size, by: 3) { row[token] = (row[token] * 2).rounded() / 2 }
    let expected = NaiveSampler.distribution(row, params)
    let draws = 4000
    var counts = [Int: Double]()
    for position in 0..<draws {
      harness.admit(0, params, prompt: [TokenID](repeating: 1, count: position % 1000), seed: UInt64(position / 1000))
      counts[Int(harness.sample([row], slots: [0]).samples[0].token.rawValue), default: 0] += 1
    }
    let possible = Set(expected.map(\.token))
    #expect(counts.keys.allSatisfy { possible.contains($0) })
    // Chi-square over the tokens expected at least eight times, the rest as one.
    var statistic = 0.0
    var cells = 0
    var restExpected = 0.0
    var restCount = 0.0
    for entry in expected {
      let mean = entry.probability * Double(draws)
      let count = counts[entry.token] ?? 0
      if mean >= 8 {
        statistic += (count - mean) * (count - mean) / mean
        cells += 1
      } else {
        restExpected += mean
        restCount += count
      }
    }
    if restExpected >= 8 {
      statistic += (restCount - restExpected) * (restCount - restExpected) / restExpected
      cells += 1
    }
    // The addresses are fixed, so this is a fact; the bound is five deviations above the mean.
    let freedom = Double(max(cells - 1, 1))
    #expect(statistic < freedom + 5 * (2 * freedom).squareRoot(), "\(statistic) with \(freedom) degrees of freedom")
  }

  @Test func `the cut of top-k and top-p falls exactly where the naive one does`() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = Randomness(seed: seed)
    var covered = 0
    for size in [5, 1000, 1025, 20_000] {
      let harness = try SamplerHarness(vocabularySize: size)
      for _ in 0..<30 {
        var row = Self.row(size, &random)
        if Bool.random(using: &random) { row = row.map { ($0 * 4).rounded() / 4 } }
        var params = SamplingParams()
        if Bool.random(using: &random) { params.topK = Int.random(in: 1...size, using: &random) }
        if Bool.random(using: &random) { params.topP = Float.random(in: 0.01...0.999, using: &random) }
        if Bool.random(using: &random) { params.minP = Float.random(in: 0.001...0.5, using: &random) }
        let expected = NaiveSampler.distribution(row, params)
        let kept = Set(expected.map(\.token))
        // Where few tokens are kept and none is rare, all of them must occur: 600 draws miss one with odds of 10⁻⁷.
        let isCovered = kept.count <= 8 && expected.allSatisfy { $0.probability >= 0.03 } && size < 20_000
        var seen = Set<Int>()
        for position in 0..<(isCovered ? 600 : 20) {
          harness.admit(0, params, prompt: [TokenID](repeating: 1, count: position), seed: seed)
          seen.insert(Int(harness.sample([row], slots: [0]).samples[0].token.rawValue))
        }
        #expect(isCovered ? seen == kept : seen.isSubset(of: kept), "seed \(seed)")
        covered += isCovered ? 1 : 0
      }
    }
    #expect(covered > 0, "seed \(seed): no case was small enough to be covered")
  }

  @Test func `a draw depends on its address and not on its neighbours, its slot or the threads`() throws {
    var random = Randomness(seed: 5)
    let size = 2000
    let rows = (0..<12).map { _ in Self.row(size, &random) }
    let params = (0..<12).map { index in
      SamplingParams(
        temperature: 1.2, topP: index % 2 == 0 ? 1 : 0.9, topK: index % 3 == 0 ? 50 : 0,
        minP: index % 5 == 0 ? 0.01 : 0,
        logprobs: index % 4 == 0 ? 5 : nil)
    }
    let alone = try rows.indices.map { index in
      try SamplerHarness(vocabularySize: size).token(
        rows[index], params[index], seed: UInt64(index), index: Int32(index % 3))
    }
    for threads in [1, 2, 3] {
      let harness = try SamplerHarness(vocabularySize: size, threads: threads)
      let slots = Array(rows.indices).shuffled(using: &random)
      for index in rows.indices {
        harness.admit(slots[index], params[index], seed: UInt64(index), index: Int32(index % 3))
      }
      #expect(harness.sample(rows, slots: slots).samples.map(\.token) == alone)
    }
  }

  @Test func `the same seed gives the same tokens and the sequences of a request differ`() throws {
    var random = Randomness(seed: 6)
    let harness = try SamplerHarness(vocabularySize: 500)
    let row = Self.row(500, &random, spread: 0.5)
    func draws(seed: UInt64, index: Int32) -> [TokenID] {
      harness.admit(0, SamplingParams(), seed: seed, index: index)
      return (0..<20).map { _ in harness.sample([row], slots: [0]).samples[0].token }
    }
    #expect(draws(seed: 1, index: 0) == draws(seed: 1, index: 0))
    #expect(draws(seed: 1, index: 0) != draws(seed: 1, index: 1))
    #expect(draws(seed: 1, index: 0) != draws(seed: 2, index: 0))
  }

  // MARK: Log-probabilities

  @Test(arguments: [1, 2]) func `log-probabilities are those of the raw logits`(threads: Int) throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = Randomness(seed: seed)
    let size = 5000
    let harness = try SamplerHarness(vocabularySize: size, threads: threads)
    let listed: [TokenID] = [17, 4999, 0, 3000, 17]
    let wanted = [0, 1, 20, -1, 300, 3]
    let rows = wanted.map { _ in Self.row(size, &random).map { ($0 * 8).rounded() / 8 } }
    for (slot, count) in wanted.enumerated() {
      var params = SamplingParams(temperature: 0.5, topK: 10, logprobs: count)
      params.repetitionPenalty = 1.5
      params.logitBias = [3: 4, 100: -100]
      if slot == 5 { params.logprobTokenIds = listed }
      harness.admit(slot, params, prompt: [1, 2, 3], seed: seed)
    }
    let result = harness.sample(rows, slots: Array(wanted.indices))
    for (index, row) in rows.enumerated() {
      let order = row.indices.sorted { (-row[$0], $0) < (-row[$1], $1) }
      let largest = Double(row[order[0]])
      let logSum = largest + naturalLogarithm(row.reduce(0) { $0 + exponential(Double($1) - largest) })
      func entry(_ token: Int) -> (Int, Double, Int) {
        (token, Double(row[token]) - logSum, (order.firstIndex(of: token) ?? -1) + 1)
      }
      func agrees(_ got: TokenLogprob, _ want: (Int, Double, Int)) -> Bool {
        Int(got.token.rawValue) == want.0 && abs(Double(got.logprob) - want.1) < 1e-4 && Int(got.rank) == want.2
      }
      let sample = result.samples[index]
      let chosen = TokenLogprob(token: sample.token, logprob: sample.logprob, rank: sample.rank)
      #expect(agrees(chosen, entry(Int(sample.token.rawValue))), "seed \(seed)")
      let first = Int(sample.firstAlternative)
      let got = Array(result.alternatives[first..<first + Int(sample.alternativeCount)])
      let want =
        index == 5
        ? listed.map { Int($0.rawValue) }.sorted { (-row[$0], $0) < (-row[$1], $1) }
        : Array(order.prefix(wanted[index] < 0 ? size : wanted[index]))
      #expect(got.count == want.count)
      #expect(zip(got, want).allSatisfy { agrees($0, entry($1)) }, "seed \(seed) row \(index)")
    }
  }
}
