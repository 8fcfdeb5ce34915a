import SwerveInference
import Testing

@Suite struct PhiloxTests {
  /// The published known answers of Philox 4×32-10 (Random123, kat_vectors).
  @Test(
    arguments: [
      (0, [0, 0, 0, 0], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
      (
        0xffff_ffff_ffff_ffff, [0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff],
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
      ),
      (
        0x299f_31d0_a409_3822, [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
      ),
    ] as [(UInt64, [UInt32], [UInt32])])
  func `the published vectors are met`(seed: UInt64, counter: [UInt32], expected: [UInt32]) {
    let block = Philox(seed: seed).block(SIMD4(counter[0], counter[1], counter[2], counter[3]))
    #expect(block == SIMD4(expected[0], expected[1], expected[2], expected[3]))
  }

  @Test func `a number depends on seed, sequence and position, and on nothing else`() {
    let number = Philox(seed: 7).uniform(sequence: 3, position: 100)
    #expect(number == Philox(seed: 7).uniform(sequence: 3, position: 100))
    #expect(number != Philox(seed: 8).uniform(sequence: 3, position: 100))
    #expect(number != Philox(seed: 7).uniform(sequence: 4, position: 100))
    #expect(number != Philox(seed: 7).uniform(sequence: 3, position: 101))
  }

  @Test func `numbers fill the unit interval evenly`() {
    let philox = Philox(seed: 42)
    var bins = [Double](repeating: 0, count: 64)
    for position in 0..<64_000 { bins[Int(philox.uniform(sequence: 0, position: position) * 64)] += 1 }
    let chiSquare = bins.reduce(0) { $0 + ($1 - 1000) * ($1 - 1000) / 1000 }
    // 63 degrees of freedom: mean 63, deviation 11.2. The seed is fixed, so this is a fact and not a chance.
    #expect(chiSquare > 30 && chiSquare < 110)
  }
}
