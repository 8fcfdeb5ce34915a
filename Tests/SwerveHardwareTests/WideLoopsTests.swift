import SwerveCore
import SwerveHardware
import Testing

/// The 256-bit set is the scalar one in wider registers: whatever both compute has the same bits.
@Suite struct WideLoopsTests {
  static let isHere = KernelSet.available.contains(.avx2)

  @Test(.enabled(if: isHere), arguments: allTypes, [nil] + quantizedFormats.map { Optional($0) })
  func `Products have the bits of the scalar set`(_ type: ElementType, _ format: WeightFormat?) throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = Random(seed)
    let wide = try device(.avx2, threads: 2), scalar = try device(.scalar, threads: 2)
    for _ in 0..<8 {
      let rows = Int.random(in: 1...40, using: &random), outputs = Int.random(in: 1...150, using: &random)
      // A pair of pieces that rows are widened in, and a rest.
      let inputs =
        format?.group == nil ? Int.random(in: 1...700, using: &random) : 128 * Int.random(in: 1...5, using: &random)
      let x = Rows(random.floats(rows * inputs), type, rows: rows, columns: inputs)
      let w = Rows(random.floats(outputs * inputs), type, rows: outputs, columns: inputs)
      func product(_ device: CPUDevice) throws -> Rows {
        let packed =
          try format.map { try device.pack([w.source], type: type, format: $0) } ?? device.pack([w.source], type: type)
        let y = Rows(.float32, rows, outputs)
        let room = try RoundedRows(device: device, rows: rows, inputs: inputs)
        device.linear(x.tensor, packed, rounded: room, into: y.tensor)
        return y
      }
      let (ours, reference) = (try product(wide), try product(scalar))
      for row in 0..<rows {
        try #require(ours.rowBits(row) == reference.rowBits(row), "seed \(seed), \(rows)x\(inputs)x\(outputs)")
      }
    }
  }

  @Test(.enabled(if: isHere), arguments: allTypes, KVType.allCases)
  func `Attention has the bits of the scalar set`(_ type: ElementType, _ kvType: KVType) throws {
    for test in AttentionTests.cases {
      let wide = try AttentionTests.Scene(test, .init(set: .avx2, type: type, kvType: kvType), threads: 2)
      let scalar = try AttentionTests.Scene(test, .init(set: .scalar, type: type, kvType: kvType), threads: 2)
      let (ours, reference) = (wide.run(), scalar.run())
      for row in 0..<ours.tensor.rows { try #require(ours.rowBits(row) == reference.rowBits(row), "\(test)") }
    }
  }
}
