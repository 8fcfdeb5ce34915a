import SwerveCore
import SwerveHardware
import Testing

@Suite struct QuantizedPackingTests {
  @Test func `Formats have stable names`() {
    let all = quantizedFormats + allTypes.map { .plain($0) }
    for format in all { #expect(WeightFormat(name: format.name) == format) }
    #expect(Set(all.map(\.name)).count == all.count)
    #expect(WeightFormat.int4(group: 128).name == "int4-g128")
    #expect(WeightFormat(name: "int8-dynamic") == .int8Dynamic)
    #expect(WeightFormat(name: "int4-g16") == nil && WeightFormat(name: "INT8") == nil)
  }

  @Test(arguments: allTypes, [WeightFormat.int8, .int8Dynamic, .nf4(group: 32), .nf4(group: 64), .nf4(group: 128)])
  func `Numbers become their nearest levels`(_ from: ElementType, _ format: WeightFormat) throws {
    var random = Random(91)
    let device = try device(.scalar, threads: 2)
    let shapes = [(1, 128), (17, 384), (50, 640)] + (format.group == nil ? [(1, 1), (33, 700), (16, 37)] : [])
    for (rows, columns) in shapes {
      let w = Rows(random.floats(rows * columns, scale: 0.1), from, rows: rows, columns: columns)
      let packed = try device.pack([w.source], type: .float32, format: format)
      let out = unpacked(packed, device), levels = Levels(w, format, type: .float32)
      for row in 0..<rows {
        for column in 0..<columns {
          let expected = levels[row, column]
          try #require(abs(Double(out[row, column]) - expected) <= 2e-7 * abs(expected), "row \(row) column \(column)")
        }
      }
    }
  }

  @Test(arguments: [32, 64, 128])
  func `The scale of int4 is no worse than the largest magnitude over 7`(_ group: Int) throws {
    var random = Random(97)
    let device = try device(.scalar, threads: 2)
    let rows = 40, columns = 512
    let w = Rows(random.floats(rows * columns), .float32, rows: rows, columns: columns)
    let out = unpacked(try device.pack([w.source], type: .bfloat16, format: .int4(group: group)), device)
    for row in 0..<rows {
      let values = w.row(row), got = out.row(row)
      for first in stride(from: 0, to: columns, by: group) {
        let range = first..<first + group
        let largest = values[range].reduce(0) { max($0, abs($1)) }
        let scale = rounded(largest / 7, to: .float16)
        var plain = 0.0, chosen = 0.0
        for k in range {
          plain += squared(Double(values[k]) - Double((values[k] / scale).rounded() * scale))
          chosen += squared(Double(values[k]) - Double(got[k]))
        }
        try #require(chosen <= plain * 1.0001, "row \(row) inputs \(range)")
        // No more than 16 levels, all multiples of one scale.
        try #require(Set(got[range]).count <= 16)
      }
    }
  }

  /// Loops for a CPU's instructions round as plain C does, scales that are chosen by a sum of errors included: a file packed
  /// on one machine is that of any other. Sums were made by the plain loops.
  @Test(arguments: zip(quantizedFormats, packedSums))
  func `Levels and scales are the same numbers on every machine`(_ format: WeightFormat, _ sum: UInt64) throws {
    let device = try device(.scalar, threads: 2)
    let out = unpacked(
      try device.packRandom(rows: [40], columns: 512, seed: 11, scale: 0.03, type: .float32, format: format), device)
    var found: UInt64 = 0xcbf2_9ce4_8422_2325
    for row in 0..<40 {
      for value in out.row(row) { found = (found ^ UInt64(value.bitPattern)) &* 0x100_0000_01b3 }
    }
    #expect(found == sum, "\(format.name) \(found)")
  }

  static let packedSums: [UInt64] = [
    12_425_542_990_245_070_983, 12_425_542_990_245_070_983, 9_833_949_444_063_961_893, 3_442_560_897_145_817_499,
    9_833_949_444_063_961_893, 14_660_380_213_697_247_013, 16_423_250_029_511_667_798, 14_660_380_213_697_247_013,
    1_015_877_144_292_778_789, 13_897_794_356_271_337_584, 1_015_877_144_292_778_789,
  ]

  @Test func `More bits and smaller groups lose less`() throws {
    var random = Random(101)
    let device = try device(.scalar, threads: 2)
    let rows = 64, columns = 1024
    // As weights are: bell-shaped.
    let values = (0..<rows * columns).map { _ in
      (0..<12).reduce(Float(-6)) { sum, _ in sum + Float.random(in: 0..<1, using: &random) } * 0.02
    }
    let w = Rows(values, .float32, rows: rows, columns: columns)
    func error(_ format: WeightFormat) throws -> Double {
      let out = unpacked(try device.pack([w.source], type: .bfloat16, format: format), device)
      var error = 0.0, size = 0.0
      for row in 0..<rows {
        for (value, got) in zip(w.row(row), out.row(row)) {
          error += squared(Double(value) - Double(got))
          size += squared(Double(value))
        }
      }
      return (error / size).squareRoot()
    }
    let int8 = try error(.int8), nf4 = try error(.nf4(group: 64)), int4 = try error(.int4(group: 64))
    #expect(int8 < 0.01)
    #expect(try error(.int8Dynamic) == int8)
    #expect(int8 < nf4 / 5 && nf4 < 0.1)
    #expect(int8 < int4 / 5 && int4 < 0.1)
    #expect(try error(.nf4(group: 32)) < nf4)
    #expect(try nf4 < error(.nf4(group: 128)))
    #expect(try error(.int4(group: 32)) < int4)
    #expect(try int4 < error(.int4(group: 128)))
  }

  @Test(arguments: quantizedFormats)
  func `Stacked and interleaved sources keep their own scales`(_ format: WeightFormat) throws {
    var random = Random(103)
    let device = try device(.scalar, threads: 3)
    let columns = 256
    let parts = [24, 8, 8, 33].map { Rows(random.floats($0 * columns), .bfloat16, rows: $0, columns: columns) }
    var dropped = 0
    let packed = try device.pack(parts.map(\.source), type: .bfloat16, format: format) { _ in dropped += 1 }
    #expect(dropped == parts.count)
    let out = unpacked(packed, device)
    var row = 0
    for part in parts {
      let alone = unpacked(try device.pack([part.source], type: .bfloat16, format: format), device)
      for r in 0..<part.tensor.rows {
        #expect(out.row(row) == alone.row(r))
        row += 1
      }
    }
    #expect(
      packed.byteCount == PackedWeight.byteCount(outputs: packed.outputs, inputs: columns, format: format))
  }

  @Test(arguments: quantizedFormats)
  func `Random weights are the plain format's noise, rounded`(_ format: WeightFormat) throws {
    let device = try device(.scalar, threads: 2)
    func random(_ format: WeightFormat) throws -> Rows {
      unpacked(
        try device.packRandom(rows: [20, 12], columns: 256, seed: 5, scale: 0.02, type: .float32, format: format),
        device)
    }
    let plain = try random(.plain(.float32)), quantized = try random(format)
    let packed = try device.pack([plain.source], type: .float32, format: format)
    let again = unpacked(packed, device)
    for row in 0..<32 { #expect(quantized.row(row) == again.row(row)) }
  }

  @Test(arguments: quantizedFormats)
  func `A matrix that is not finite stays so, and zeros stay zeros`(_ format: WeightFormat) throws {
    let device = try device(.scalar)
    let w = Rows([Float](repeating: 0, count: 3 * 128), .float32, rows: 3, columns: 128)
    w.set(1, 4, .nan)
    w.set(2, 4, .infinity)
    let out = unpacked(try device.pack([w.source], type: .float32, format: format), device)
    #expect(out.row(0).allSatisfy { $0 == 0 })
    #expect(out[1, 4].isNaN && out[2, 4].isNaN)
  }

  @Test func `Shapes that a format cannot hold are refused with a sentence`() throws {
    let device = try device(.scalar)
    func refusal(_ columns: Int, _ format: WeightFormat, segments: Int = 1) -> String {
      do {
        _ = try device.packRandom(
          rows: [4], columns: columns, seed: 1, scale: 1, type: .bfloat16, format: format, segments: segments)
        return ""
      } catch { return "\(error)" }
    }
    #expect(refusal(100, .int4(group: 32)).contains("whole groups of 32"))
    #expect(refusal(128, .nf4(group: 128), segments: 2).contains("whole groups of 128"))
    #expect(refusal(128, .int4(group: 16)).contains("32, 64 or 128"))
    #expect(refusal(96, .int4Dynamic(group: 64)).contains("whole groups of 64"))
    #expect(refusal(200_000, .int8Dynamic).contains("too many"))
    #expect(refusal(64, .plain(.float32)).contains("use one type"))
    #expect(refusal(96, .int8, segments: 2).contains("segments"))
  }

  private func squared(_ x: Double) -> Double { x * x }
}
