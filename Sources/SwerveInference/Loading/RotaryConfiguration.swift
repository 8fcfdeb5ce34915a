import SwerveCore

/// How positions are turned into rotations: the base, the share of a head that rotates and the scaling for contexts
/// longer than those seen in training. Decoded from `rope_parameters`, or from `rope_theta` and `rope_scaling`.
package struct RotaryConfiguration: Sendable, Hashable {
  package var theta: Double
  /// Elements of a head that rotate, even, ≤ head size.
  package var dimensions: Int
  package var scaling: Scaling

  package enum Scaling: Sendable, Hashable {
    case none
    /// Positions divided by the factor.
    case linear(factor: Double)
    /// Neural-tangent-kernel scaling whose base grows with the sequence once it is longer than `originalTokens`.
    case dynamic(factor: Double, originalTokens: Int)
    /// Long wavelengths stretched, short ones kept, a ramp between (Llama 3.1).
    case llama3(factor: Double, lowFrequency: Double, highFrequency: Double, originalTokens: Int)
    /// YaRN (Peng et al. 2023, arXiv 2309.00071): a ramp over dimensions and a factor on cosine and sine.
    case yarn(
      factor: Double, originalTokens: Int, betaFast: Double, betaSlow: Double, attentionFactor: Double, truncates: Bool)
  }

  package init(theta: Double, dimensions: Int, scaling: Scaling = .none) {
    self.theta = theta
    self.dimensions = dimensions
    self.scaling = scaling
  }
}

extension RotaryConfiguration {
  private static let factors = 1e-3...1e6
  private static let lengths = 1...(1 << 30)

  /// Decodes from the top of config.json. `contextTokens` is its `max_position_embeddings`.
  init(
    _ top: ConfigurationReader, headDim: Int, contextTokens: Int, defaultTheta: Double
  ) throws(ModelFileError) {
    let parameters = try Self.parameters(of: top)
    var theta = try top.number("rope_theta", in: 1...1e12, default: defaultTheta)
    var share = try top.number("partial_rotary_factor", in: 0...1, default: 1)
    if let parameters {
      theta = try parameters.number("rope_theta", in: 1...1e12, default: theta)
      share = try parameters.number("partial_rotary_factor", in: 0...1, default: share)
    }
    let dimensions = Int((Double(headDim) * share).rounded(.down))
    guard dimensions > 0, dimensions % 2 == 0 else {
      throw top.fail(
        "partial_rotary_factor", "leaves \(dimensions) rotating elements of a head; it must be an even number")
    }
    self.init(theta: theta, dimensions: dimensions)
    if let parameters {
      scaling = try Self.scaling(parameters, theta: theta, dimensions: dimensions, contextTokens: contextTokens)
    }
  }

  /// `rope_parameters` (newer) or `rope_scaling`; where the former is given per kind of layer, all kinds must agree.
  private static func parameters(of top: ConfigurationReader) throws(ModelFileError) -> ConfigurationReader? {
    guard let parameters = try top.nested("rope_parameters") else { return try top.nested("rope_scaling") }
    let kinds = parameters.object.keys.filter { $0.hasSuffix("_attention") }
    guard let first = kinds.first else { return parameters }
    for kind in kinds where parameters.object[kind] != parameters.object[first] {
      throw top.fail("rope_parameters", "differs between \(first) and \(kind), which no supported family does")
    }
    return try parameters.nested(first)
  }

  private static func scaling(
    _ reader: ConfigurationReader, theta: Double, dimensions: Int, contextTokens: Int
  ) throws(ModelFileError) -> Scaling {
    let newer = try reader.string("rope_type")
    let older = try reader.string("type")
    guard let kind = newer ?? older else { return .none }
    func original() throws(ModelFileError) -> Int {
      try reader.integer("original_max_position_embeddings", in: lengths, default: contextTokens)
    }
    switch kind {
    case "default": return .none
    case "linear": return .linear(factor: try reader.number("factor", in: factors))
    case "dynamic":
      guard dimensions > 2 else {
        throw reader.fail("rope_type", "dynamic needs more than two rotating elements a head")
      }
      return .dynamic(factor: try reader.number("factor", in: 1...1e6), originalTokens: contextTokens)
    case "llama3":
      let low = try reader.number("low_freq_factor", in: factors)
      let high = try reader.number("high_freq_factor", in: factors)
      guard high > low else { throw reader.fail("high_freq_factor", "must be greater than low_freq_factor") }
      return .llama3(
        factor: try reader.number("factor", in: factors), lowFrequency: low, highFrequency: high,
        originalTokens: try original())
    case "yarn":
      guard theta > 1 else { throw reader.fail("rope_theta", "must be greater than 1 for yarn") }
      let length = try original()
      let factor = try reader.number(
        "factor", in: factors, default: max(1e-3, Double(contextTokens) / Double(length)))
      return .yarn(
        factor: factor, originalTokens: length,
        betaFast: try reader.number("beta_fast", in: factors, default: 32),
        betaSlow: try reader.number("beta_slow", in: factors, default: 1),
        attentionFactor: try attentionFactor(reader, factor: factor),
        truncates: try reader.flag("truncate", default: true))
    default:
      throw reader.fail(
        newer == nil ? "type" : "rope_type",
        "is \(quoted(kind)); supported are default, linear, dynamic, llama3 and yarn")
    }
  }

  /// YaRN's factor on cosine and sine: given, or from `mscale` ÷ `mscale_all_dim`, or 0.1 ln(factor) + 1.
  private static func attentionFactor(
    _ reader: ConfigurationReader, factor: Double
  ) throws(ModelFileError) -> Double {
    if let given = try reader.optionalNumber("attention_factor", in: factors) { return given }
    func scale(_ weight: Double) -> Double { factor <= 1 ? 1 : 0.1 * weight * logarithm(factor) + 1 }
    let mscale = try reader.optionalNumber("mscale", in: 0...1e6) ?? 0
    let allDimensions = try reader.optionalNumber("mscale_all_dim", in: 0...1e6) ?? 0
    return mscale > 0 && allDimensions > 0 ? scale(mscale) / scale(allDimensions) : scale(1)
  }

  /// Tokens that a sequence may have by this scaling, where the trained length is `contextTokens`.
  func contextTokens(trained contextTokens: Int) -> Int {
    func scaled(_ tokens: Int, _ factor: Double) -> Int {
      Int(min(Double(1 << 30), (Double(tokens) * factor).rounded(.down)))
    }
    switch scaling {
    case .none, .llama3: return contextTokens
    case .linear(let factor): return max(1, scaled(contextTokens, factor))
    case .dynamic(let factor, let original): return scaled(original, factor)
    case .yarn(let factor, let original, _, _, _, _): return max(1, scaled(original, factor))
    }
  }
}
