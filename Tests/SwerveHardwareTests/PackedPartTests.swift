import SwerveCore
import SwerveHardware
import Testing

/// Parts of packed matrices are what packing the parts gives.
@Suite struct PackedPartTests {
  private func bytes(_ packed: PackedWeight) -> ([UInt8], [UInt8]?) {
    packed.withBytes { (Array($0), $1.map { Array($0) }) }
  }

  static let formats: [WeightFormat] =
    [.plain(.float32), .plain(.bfloat16), .int8, .int4(group: 32), .int4(group: 64), .nf4(group: 32), .nf4(group: 128)]

  @Test(arguments: formats) func `a part is the bytes that packing it alone gives`(_ format: WeightFormat) throws {
    let device = try device(.scalar, threads: 2)
    let type: ElementType = if case .plain(let stored) = format { stored } else { .bfloat16 }
    let sizes = [64, 32, 32]
    let columns = 768
    // Query, key and value, half of the rows of each; all columns.
    func pack(_ rows: [MatrixPart], _ inputs: MatrixPart, _ layout: PackedLayout, _ segments: Int) throws
      -> PackedWeight
    {
      try device.packRandom(
        rows: rows, inputs: inputs, seed: 5, scale: 0.02, type: type, format: format, layout: layout,
        segments: segments, withBias: true)
    }
    let wide = MatrixPart(columns)
    let stacked = try pack(sizes.map { MatrixPart($0) }, wide, .stacked, 1)
    for rank in 0..<2 {
      let parts = sizes.map { MatrixPart($0 / 2 * rank..<$0 / 2 * (rank + 1), of: $0) }
      var first = 0
      let places = parts.map { part in
        defer { first += part.whole }
        return first + part.range.lowerBound..<first + part.range.upperBound
      }
      let found = try stacked.part(rows: places, segments: 1, device: device)
      let expected = try pack(parts, wide, .stacked, 1)
      #expect(found.shape == expected.shape && bytes(found) == bytes(expected), "rank \(rank), rows")
    }
    // Half, and a quarter, of the columns: an odd number of groups too.
    let cut = try pack([MatrixPart(48)], wide, .stacked, 2)
    for range in [0..<384, 384..<768, 128..<256, 640..<768] {
      let found = try cut.part(rows: [0..<48], inputs: range, segments: 1, device: device)
      let expected = try pack([MatrixPart(48)], MatrixPart(range, of: columns), .stacked, 1)
      #expect(found.shape == expected.shape && bytes(found).0 == bytes(expected).0, "columns \(range)")
      #expect(bytes(found).1 == bytes(cut).1, "the bias is of rows")
    }
    // Gate and up: views of the whole.
    let twins = try pack([wide, wide].map { _ in MatrixPart(64) }, wide, .interleaved16, 1)
    for range in [0..<32, 32..<64] {
      let before = device.memoryInUseBytes
      let found = try twins.part(rows: [range], segments: 1, device: device)
      #expect(device.memoryInUseBytes == before, "nothing is copied")
      let expected = try pack([range, range].map { MatrixPart($0, of: 64) }, wide, .interleaved16, 1)
      #expect(found.shape == expected.shape && bytes(found) == bytes(expected), "gate and up \(range)")
    }
  }

  @Test func `what would cut a block is refused`() throws {
    let device = try device(.scalar)
    let packed = try device.packRandom(
      rows: [64], columns: 256, seed: 1, scale: 1, type: .bfloat16, format: .int4(group: 64))
    for (rows, inputs) in [([0..<24], 0..<256), ([8..<64], 0..<256), ([0..<64], 0..<96), ([0..<80], 0..<256)] {
      #expect(throws: HardwareError.self, "\(rows) \(inputs)") {
        _ = try packed.part(rows: rows, inputs: inputs, segments: 1, device: device)
      }
    }
    let rounded = try device.packRandom(
      rows: [64], columns: 256, seed: 1, scale: 1, type: .bfloat16, format: .int8Dynamic)
    #expect {
      _ = try rounded.part(rows: [0..<64], inputs: 0..<128, segments: 1, device: device)
    } throws: {
      "\($0)".contains("use int8")
    }
  }
}
