/// Counter-based random numbers: Philox 4×32 with ten rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as
/// easy as 1, 2, 3", SC 2011). A number is a pure function of its address, so it does not matter which step, batch,
/// thread or machine asks for it, or how often.
package struct Philox: Sendable {
  private var key: SIMD2<UInt32>

  package init(seed: UInt64) { key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)) }

  /// The block of four words at `counter`.
  package func block(_ counter: SIMD4<UInt32>) -> SIMD4<UInt32> {
    var c = counter
    var k = key
    for _ in 0..<10 {
      let first = UInt64(c[0]) &* 0xD251_1F53
      let second = UInt64(c[2]) &* 0xCD9E_8D57
      c = SIMD4(
        UInt32(truncatingIfNeeded: second >> 32) ^ c[1] ^ k[0], UInt32(truncatingIfNeeded: second),
        UInt32(truncatingIfNeeded: first >> 32) ^ c[3] ^ k[1], UInt32(truncatingIfNeeded: first))
      k = k &+ SIMD2(0x9E37_79B9, 0xBB67_AE85)
    }
    return c
  }

  /// Uniform in [0, 1) with 53 bits, for the token at `position` of the request's sequence `index`; draws that may be
  /// rejected are numbered by `attempt`.
  package func uniform(sequence index: Int32, position: Int, attempt: UInt32 = 0) -> Double {
    let place = UInt64(truncatingIfNeeded: position)
    let words = block(
      SIMD4(
        UInt32(truncatingIfNeeded: place), UInt32(truncatingIfNeeded: place >> 32), UInt32(bitPattern: index), attempt))
    let bits = UInt64(words[0]) << 32 | UInt64(words[1])
    return Double(bits >> 11) * 0x1p-53
  }
}
