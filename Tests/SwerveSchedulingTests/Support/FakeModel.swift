import SwerveCore

/// A "model" whose every key, value and token depends on all tokens before: one wrong, stale or missing cell in the KV
/// store changes all that follows.
enum FakeModel {
  static let vocabulary: UInt64 = 61

  static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
    var x = (a ^ 0x9E37_79B9_7F4A_7C15) &* 0xBF58_476D_1CE4_E5B9 &+ b
    x ^= x >> 29
    x = (x &+ a) &* 0x94D0_49BB_1331_11EB
    return x ^ x >> 32
  }

  /// What a forward pass starts from: the adapter, which is what a salt stands for here.
  static func start(salt: [UInt8]) -> UInt64 { salt.reduce(7) { mix($0, UInt64($1)) } }

  /// The key and value of a token at a position, given everything before.
  static func cell(_ before: UInt64, _ token: TokenID, _ position: Int) -> UInt64 {
    mix(mix(before, UInt64(truncatingIfNeeded: token.rawValue)), UInt64(position))
  }

  /// The next token, drawn by (seed, choice, position). Terminators are masked until `minTokens` tokens exist. `topK`
  /// leaves so many tokens: with few, a sequence says the same again and again.
  static func sample(_ state: UInt64, _ sampling: SamplingState, choice: Int32, generated: Int) -> TokenID {
    var draw = mix(mix(mix(state, sampling.seed), UInt64(choice)), UInt64(generated))
    let topK = UInt64(max(sampling.params.topK, 0))
    while true {
      let token = TokenID(draw % (topK == 0 ? vocabulary : topK))
      if generated >= sampling.params.minTokens || !sampling.terminators.contains(token) { return token }
      draw = mix(draw, 1)
    }
  }

  /// The tokens and the end of a choice computed alone, without blocks, cache, budget or limit but its own.
  static func reference(
    prompt: [TokenID], salt: [UInt8], sampling: SamplingState, choice: Int32, contextLimit: Int
  ) -> (tokens: [TokenID], finish: FinishReason) {
    var state = start(salt: salt)
    for (position, token) in prompt.enumerated() { state = mix(state, cell(state, token, position)) }
    let limit = min(sampling.params.maxTokens ?? .max, contextLimit - prompt.count)
    var output: [TokenID] = []
    while output.count < limit {
      let token = sample(state, sampling, choice: choice, generated: output.count)
      if sampling.terminators.contains(token) && output.count >= sampling.params.minTokens {
        return (output + [token], .stop)
      }
      state = mix(state, cell(state, token, prompt.count + output.count))
      output.append(token)
    }
    return (output, .length)
  }
}

/// SplitMix64, so that a seed names a run.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  mutating func chance(_ percent: Double) -> Bool { Double.random(in: 0..<100, using: &self) < percent }
}
