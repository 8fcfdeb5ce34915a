import SwerveCore
import SwerveHardware
import Testing

/// Shares of a product's inputs, as tensor-parallel ranks have them, against the product of one rank.
@Suite struct SumsTests {
  static let formats: [WeightFormat?] = [nil, .int8, .int4(group: 32), .nf4(group: 64)]

  private func bits(_ rows: Rows) -> [UInt32] {
    (0..<rows.tensor.rows).flatMap { rows.row($0).map(\.bitPattern) }
  }

  @Test(arguments: setsAndTypes, formats)
  func `Shares of the inputs joined in the tree are the bits of one product`(
    _ kernels: (KernelSet, ElementType), _ format: WeightFormat?
  ) throws {
    let (set, type) = kernels
    let device = try device(set, threads: 2)
    let inputs = 1024
    let segments = 8
    for (rows, outputs) in [(1, 48), (3, 40), (17, 64), (130, 33)] {
      var random = Random(UInt64(rows))
      let x = Rows(random.floats(rows * inputs), type, rows: rows, columns: inputs)
      let w = Rows(random.floats(outputs * inputs), .float32, rows: outputs, columns: inputs)
      let bias = Rows(random.floats(outputs), .float32, rows: 1, columns: outputs)
      let start = random.floats(rows * outputs)
      let whole = try device.pack(
        [w.source], biases: [bias.source], type: type, format: format, segments: segments)
      let expected = Rows(start, .float32, rows: rows, columns: outputs)
      device.linear(x.tensor, whole, epilogue: .accumulate, into: expected.tensor)
      for ranks in [2, 4, 8] {
        let width = inputs / ranks
        var shares: [(weight: PackedWeight, sums: Rows)] = []
        for rank in 0..<ranks {
          let range = rank * width..<(rank + 1) * width
          let part = try device.pack(
            [w.source], biases: [bias.source], type: type, format: format, inputs: range, segments: segments / ranks)
          let sums = Rows(.float32, rows, outputs)
          device.linear(x.tensor.columns(range), part, epilogue: .sums, into: sums.tensor)
          shares.append((part, sums))
        }
        var distance = 1
        while distance < ranks {
          for rank in stride(from: 0, to: ranks, by: 2 * distance) {
            device.add(shares[rank + distance].sums.tensor, to: shares[rank].sums.tensor)
          }
          distance *= 2
        }
        let y = Rows(start, .float32, rows: rows, columns: outputs)
        device.accumulate(shares[0].sums.tensor, of: shares[0].weight, into: y.tensor)
        #expect(bits(y) == bits(expected), "\(rows) x \(outputs) over \(ranks) ranks")
      }
    }
  }

  @Test(arguments: [nil, WeightFormat.int8, .int4(group: 32)])
  func `A part of a random matrix has the whole one's numbers`(_ format: WeightFormat?) throws {
    let device = try device(.best)
    let whole = try device.packRandom(
      rows: [96, 32, 32], columns: 128, seed: 3, scale: 0.1, type: .bfloat16, format: format, withBias: true)
    let part = try device.packRandom(
      rows: [MatrixPart(48..<96, of: 96), MatrixPart(16..<32, of: 32), MatrixPart(16..<32, of: 32)],
      inputs: MatrixPart(128), seed: 3, scale: 0.1, type: .bfloat16, format: format, withBias: true)
    let all = unpacked(whole, device)
    let some = unpacked(part, device)
    let rows = Array(48..<96) + Array(112..<128) + Array(144..<160)
    for (row, source) in rows.enumerated() { #expect(some.row(row) == all.row(source), "row \(row)") }

    let x = Rows([Float](repeating: 0, count: 128), .bfloat16, rows: 1, columns: 128)
    let wide = Rows(.float32, 1, 160)
    let narrow = Rows(.float32, 1, 80)
    device.linear(x.tensor, whole, into: wide.tensor)
    device.linear(x.tensor, part, into: narrow.tensor)
    #expect(narrow.row(0) == rows.map { wide[0, $0] }, "biases")
    #expect(Set(narrow.row(0)).count > 40)

    let columns = try device.packRandom(
      rows: [MatrixPart(160)], inputs: MatrixPart(64..<128, of: 128), seed: 3, scale: 0.1, type: .bfloat16,
      format: format)
    let one = try device.packRandom(rows: [160], columns: 128, seed: 3, scale: 0.1, type: .bfloat16, format: format)
    let left = unpacked(columns, device)
    let right = unpacked(one, device)
    for row in 0..<160 { #expect(left.row(row) == Array(right.row(row)[64...]), "row \(row)") }
  }

  @Test func `A gated part of a random matrix has the whole one's numbers and biases`() throws {
    let device = try device(.best)
    let whole = try device.packRandom(
      rows: [64, 64], columns: 32, seed: 5, scale: 0.5, type: .float32, layout: .interleaved16, withBias: true)
    var random = Random(1)
    let x = Rows(random.floats(2 * 32), .float32, rows: 2, columns: 32)
    let expected = Rows(.float32, 2, 64)
    device.linear(x.tensor, whole, epilogue: .siluMultiply, into: expected.tensor)
    for rank in 0..<2 {
      let range = MatrixPart(rank * 32..<(rank + 1) * 32, of: 64)
      let part = try device.packRandom(
        rows: [range, range], inputs: MatrixPart(32), seed: 5, scale: 0.5, type: .float32, layout: .interleaved16,
        withBias: true)
      let y = Rows(.float32, 2, 32)
      device.linear(x.tensor, part, epilogue: .siluMultiply, into: y.tensor)
      for row in 0..<2 { #expect(y.row(row) == Array(expected.row(row)[range.range])) }
    }
  }

  @Test func `A product against rows of int8 cannot be split over its inputs`() throws {
    let device = try device(.best)
    let w = Rows([Float](repeating: 1, count: 16 * 128), .float32, rows: 16, columns: 128)
    #expect {
      try device.pack([w.source], type: .bfloat16, format: .int8Dynamic, inputs: 0..<64)
    } throws: {
      "\($0)".contains("use int8")
    }
  }
}
