// Layers that are not one operation of the device: here, the angles of the rotary position embedding.
// This room computes small tables on the host; it must not touch activations. Start here.

import SwerveCore

/// Cosines and sines of the rotary position embedding (Su et al. 2021, arXiv 2104.09864) for any position, with the
/// scalings of `RotaryConfiguration`. Angles are single-precision products of position and inverse frequency, as the
/// reference computes them: a more exact product would rotate differently from what the model was trained with.
///
/// Computed per step and not kept in a table: a table of 131,072 positions is 64 MiB, and a step needs a few rows.
package struct RotaryEmbedding: Sendable {
  private let configuration: RotaryConfiguration
  /// [dimensions / 2] for the length in `dynamicTokens`.
  private var inverseFrequencies: [Float]
  /// Length that `inverseFrequencies` belongs to, where it depends on one.
  private var dynamicTokens: Int
  /// On cosine and sine (YaRN's attention factor).
  private let factor: Float

  package var pairCount: Int { configuration.dimensions / 2 }

  package init(_ configuration: RotaryConfiguration) {
    self.configuration = configuration
    self.inverseFrequencies = [Float](repeating: 0, count: configuration.dimensions / 2)
    self.dynamicTokens = 0
    if case .yarn(_, _, _, _, let attention, _) = configuration.scaling {
      self.factor = Float(attention)
    } else {
      self.factor = 1
    }
    Self.fill(&inverseFrequencies, theta: configuration.theta, configuration)
  }

  /// Whether keys of a prompt of this length differ from those of the same tokens in a shorter prompt, so that a prefix
  /// cache must keep them apart (dynamic scaling beyond the trained length).
  package static func prefixDependsOnPromptLength(
    _ promptTokens: Int, _ configuration: RotaryConfiguration
  ) -> Bool {
    if case .dynamic(_, let original) = configuration.scaling { return promptTokens > original }
    return false
  }

  /// Writes the row of one position: `pairCount` cosines and as many sines. No allocation.
  ///
  /// With dynamic scaling the base is that of max(promptTokens, position + 1) tokens: a prompt's rows all use the whole
  /// prompt's length however it is cut into chunks, and a generated token uses its own position, so that recomputing a
  /// sequence after preemption gives the same keys.
  package mutating func row(
    position: Int, promptTokens: Int, cosines: UnsafeMutablePointer<Float>, sines: UnsafeMutablePointer<Float>
  ) {
    if case .dynamic(let scale, let original) = configuration.scaling {
      let tokens = max(promptTokens, position + 1, original)
      if tokens != dynamicTokens {
        let dimensions = Double(configuration.dimensions)
        let growth = scale * Double(tokens) / Double(original) - (scale - 1)
        let theta = configuration.theta * power(growth, dimensions / (dimensions - 2))
        Self.fill(&inverseFrequencies, theta: theta, configuration)
        dynamicTokens = tokens
      }
    }
    let place = Float(position)
    for pair in inverseFrequencies.indices {
      let angle = place * inverseFrequencies[pair]
      cosines[pair] = cosine(angle) * factor
      sines[pair] = sine(angle) * factor
    }
  }

  /// θ^(−2i/d), then the static scalings.
  private static func fill(_ frequencies: inout [Float], theta: Double, _ configuration: RotaryConfiguration) {
    let dimensions = Double(configuration.dimensions)
    for pair in frequencies.indices {
      let exponent = Float(2 * pair) / Float(dimensions)
      let period = Float(power(theta, Double(exponent)))
      frequencies[pair] = scaled(1 / period, pair: pair, theta: theta, configuration)
    }
  }

  private static func scaled(
    _ frequency: Float, pair: Int, theta: Double, _ configuration: RotaryConfiguration
  ) -> Float {
    switch configuration.scaling {
    case .none, .dynamic: return frequency
    case .linear(let factor): return frequency / Float(factor)
    case .llama3(let factor, let low, let high, let original):
      let wavelength = 2 * Float.pi / frequency
      let length = Float(original)
      if wavelength > length / Float(low) { return frequency / Float(factor) }
      if wavelength < length / Float(high) { return frequency }
      let smooth = (length / wavelength - Float(low)) / Float(high - low)
      return (1 - smooth) * frequency / Float(factor) + smooth * frequency
    case .yarn(let factor, let original, let fast, let slow, _, let truncates):
      let dimensions = Double(configuration.dimensions)
      func dimension(_ rotations: Double) -> Double {
        dimensions * logarithm(Double(original) / (rotations * 2 * .pi)) / (2 * logarithm(theta))
      }
      var first = dimension(fast)
      var last = dimension(slow)
      if truncates {
        first.round(.down)
        last.round(.up)
      }
      first = max(first, 0)
      last = min(last, dimensions - 1)
      if first == last { last += 0.001 }
      let ramp = Float(min(max((Double(pair) - first) / (last - first), 0), 1))
      return frequency / Float(factor) * ramp + frequency * (1 - ramp)
    }
  }
}
