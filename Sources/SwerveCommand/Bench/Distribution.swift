// Benchmarks: loads, measured times, reports. Figures are printed for people and written as JSON with vLLM's keys.
// This folder must not parse flags. Start with the file named after the benchmark.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Measured values and their statistics.
package struct Distribution: Sendable {
  private let sorted: [Double]

  package init(_ values: [Double]) { sorted = values.sorted() }

  package var count: Int { sorted.count }

  /// 0 without values.
  package var mean: Double { sorted.isEmpty ? 0 : sorted.reduce(0, +) / Double(sorted.count) }
  package var median: Double { percentile(50) }

  /// Of the whole population; 0 without values.
  package var standardDeviation: Double {
    if sorted.isEmpty { return 0 }
    let mean = mean
    return (sorted.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(sorted.count)).squareRoot()
  }

  /// Linear between the two nearest ranks, as NumPy's default. `rank` 0…100. 0 without values.
  package func percentile(_ rank: Double) -> Double {
    guard let last = sorted.last else { return 0 }
    let place = max(0, min(1, rank / 100)) * Double(sorted.count - 1)
    let below = Int(place)
    if below + 1 >= sorted.count { return last }
    return sorted[below] + (sorted[below + 1] - sorted[below]) * (place - Double(below))
  }
}

/// Repeatable randomness: SplitMix64 (Steele, Lea, Flood 2014).
package struct SeededGenerator: RandomNumberGenerator, Sendable {
  private var state: UInt64

  package init(seed: Int) { state = UInt64(bitPattern: Int64(seed)) }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Gamma-distributed with this shape and mean 1 (Marsaglia, Tsang 2000). `shape` > 0.
  package mutating func gamma(shape: Double) -> Double {
    if shape < 1 {
      // A draw of shape + 1 pulled towards zero by a power of a uniform one; the mean of the raw draw is `shape`.
      let raw =
        gamma(shape: shape + 1) * (shape + 1) * pow(Double.random(in: Double.ulpOfOne..<1, using: &self), 1 / shape)
      return raw / shape
    }
    let d = shape - 1.0 / 3
    let c = 1 / (9 * d).squareRoot()
    while true {
      let x = normal()
      let v = 1 + c * x
      guard v > 0 else { continue }
      let cube = v * v * v
      let u = Double.random(in: Double.ulpOfOne..<1, using: &self)
      if log(u) < 0.5 * x * x + d - d * cube + d * log(cube) { return d * cube / shape }
    }
  }

  /// Standard normal (Box, Muller 1958).
  private mutating func normal() -> Double {
    let u = Double.random(in: Double.ulpOfOne..<1, using: &self)
    let v = Double.random(in: 0..<1, using: &self)
    return (-2 * log(u)).squareRoot() * cos(2 * .pi * v)
  }
}
