import SwerveCore
import SwerveInference
import Testing

@Suite struct RotaryTests {
  private func row(_ configuration: RotaryConfiguration, position: Int, promptTokens: Int = 1) -> [Float] {
    var rotary = RotaryEmbedding(configuration)
    var row = [Float](repeating: .nan, count: 2 * rotary.pairCount)
    row.withUnsafeMutableBufferPointer { row in
      guard let base = row.baseAddress else { return }
      rotary.row(position: position, promptTokens: promptTokens, cosines: base, sines: base + rotary.pairCount)
    }
    return row
  }

  @Test func `position zero does not rotate`() {
    #expect(row(RotaryConfiguration(theta: 10_000, dimensions: 8), position: 0) == [1, 1, 1, 1, 0, 0, 0, 0])
  }

  @Test func `the first pair turns by one radian a position and the others ever slower`() {
    let row = row(RotaryConfiguration(theta: 10_000, dimensions: 4), position: 3)
    let expected: [Float] = [-0.9899925, 0.99955004, 0.14112, 0.0299955]
    #expect(zip(row, expected).allSatisfy { abs($0 - $1) < 1e-6 })
  }

  @Test func `linear scaling divides positions`() {
    let plain = RotaryConfiguration(theta: 100, dimensions: 8)
    let linear = RotaryConfiguration(theta: 100, dimensions: 8, scaling: .linear(factor: 4))
    #expect(row(linear, position: 40) == row(plain, position: 10))
  }

  @Test func `dynamic scaling is that of the whole prompt for its tokens and of each later token itself`() {
    let dynamic = RotaryConfiguration(
      theta: 10_000, dimensions: 8, scaling: .dynamic(factor: 2, originalTokens: 16))
    let plain = RotaryConfiguration(theta: 10_000, dimensions: 8)
    #expect(row(dynamic, position: 9, promptTokens: 16) == row(plain, position: 9))
    #expect(row(dynamic, position: 9, promptTokens: 17) != row(plain, position: 9))
    #expect(row(dynamic, position: 9, promptTokens: 40) != row(dynamic, position: 9, promptTokens: 41))
    #expect(row(dynamic, position: 50, promptTokens: 20) == row(dynamic, position: 50, promptTokens: 51))
    // One value keeps the length between calls; it must not remember a longer one.
    var rotary = RotaryEmbedding(dynamic)
    var rows = [Float](repeating: 0, count: 16)
    rows.withUnsafeMutableBufferPointer { rows in
      guard let base = rows.baseAddress else { return }
      rotary.row(position: 99, promptTokens: 1, cosines: base, sines: base + 4)
      rotary.row(position: 9, promptTokens: 17, cosines: base, sines: base + 4)
    }
    #expect(Array(rows[..<8]) == row(dynamic, position: 9, promptTokens: 17))
    #expect(!RotaryEmbedding.prefixDependsOnPromptLength(16, dynamic))
    #expect(RotaryEmbedding.prefixDependsOnPromptLength(17, dynamic))
    #expect(!RotaryEmbedding.prefixDependsOnPromptLength(17, plain))
  }

  @Test func `yarn's attention factor multiplies cosine and sine`() {
    let yarn = RotaryConfiguration(
      theta: 10_000, dimensions: 8,
      scaling: .yarn(
        factor: 4, originalTokens: 64, betaFast: 32, betaSlow: 1, attentionFactor: 1.5, truncates: true))
    #expect(row(yarn, position: 0) == [1.5, 1.5, 1.5, 1.5, 0, 0, 0, 0])
  }

  @Test func `yarn's default attention factor and mscale follow their formulas`() throws {
    func factor(_ more: JSONObject) throws -> Double {
      var scaling: JSONObject = ["rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 64]
      for (key, value) in more { scaling[key] = value }
      let configuration = try ModelConfiguration(
        Fixture.files("llama_yarn_mlpbias"), overrides: ["rope_scaling": .object(scaling)])
      guard case .yarn(_, _, _, _, let factor, _) = configuration.rotary.scaling else { return .nan }
      return factor
    }
    #expect(abs(try factor([:]) - 1.3688879454) < 1e-9)
    #expect(try factor(["mscale": 0.707, "mscale_all_dim": 0.707]) == 1)
    #expect(abs(try factor(["mscale": 2, "mscale_all_dim": 1]) - 1.7377758908 / 1.3688879454) < 1e-9)
    #expect(try factor(["attention_factor": 2]) == 2)
  }
}
