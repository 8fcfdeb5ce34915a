import SwerveCore
import SwerveHardware
import Testing

@Suite struct LinearTests {
  struct Shape: Sendable, CustomStringConvertible {
    var rows: Int
    var inputs: Int
    var outputs: Int
    var segments = 1
    var description: String { "\(rows)x\(inputs)x\(outputs)/\(segments)" }
  }

  static let shapes: [Shape] = [
    Shape(rows: 1, inputs: 1, outputs: 1), Shape(rows: 1, inputs: 2, outputs: 15),
    Shape(rows: 2, inputs: 15, outputs: 16), Shape(rows: 3, inputs: 17, outputs: 17),
    Shape(rows: 5, inputs: 31, outputs: 127), Shape(rows: 7, inputs: 33, outputs: 40),
    Shape(rows: 16, inputs: 64, outputs: 130), Shape(rows: 17, inputs: 97, outputs: 48),
    Shape(rows: 33, inputs: 300, outputs: 64), Shape(rows: 211, inputs: 40, outputs: 33),
    Shape(rows: 4, inputs: 256, outputs: 50, segments: 8), Shape(rows: 37, inputs: 320, outputs: 96, segments: 2),
    Shape(rows: 1, inputs: 896, outputs: 200, segments: 4),
  ]

  @Test(arguments: setsAndTypes, shapes)
  func `A product agrees with double precision`(_ kernels: (KernelSet, ElementType), _ shape: Shape) throws {
    let (set, type) = kernels
    var random = Random(7)
    let device = try device(set, threads: 2)
    let x = Rows(
      random.floats(shape.rows * shape.inputs), type, rows: shape.rows, columns: shape.inputs, stride: shape.inputs + 3)
    let w = Rows(random.floats(shape.outputs * shape.inputs), type, rows: shape.outputs, columns: shape.inputs)
    let bias = Rows(random.floats(shape.outputs), .bfloat16, rows: 1, columns: shape.outputs)
    let packed = try device.pack([w.source], biases: [bias.source], type: type, segments: shape.segments)
    let wide = Rows(.float32, shape.rows, shape.outputs)
    let narrow = Rows(type, shape.rows, shape.outputs, stride: shape.outputs + 5)
    let residual = Rows(
      random.floats(shape.rows * shape.outputs), .float32, rows: shape.rows, columns: shape.outputs)
    let before = (0..<shape.rows).map { residual.row($0) }
    device.linear(x.tensor, packed, into: wide.tensor)
    device.linear(x.tensor, packed, into: narrow.tensor)
    device.linear(x.tensor, packed, epilogue: .accumulate, into: residual.tensor)
    let tolerance = Tolerance.of(type)
    for row in 0..<shape.rows {
      let xs = x.row(row).map(Double.init)
      for output in 0..<shape.outputs {
        let ws = w.row(output)
        var sum = Double(bias[0, output])
        var size = abs(sum)
        for k in 0..<shape.inputs {
          sum += xs[k] * Double(ws[k])
          size += abs(xs[k] * Double(ws[k]))
        }
        let allowed = tolerance.sum * size + 1e-30
        try #require(abs(Double(wide[row, output]) - sum) <= allowed, "row \(row) output \(output)")
        try #require(abs(Double(narrow[row, output]) - sum) <= allowed + tolerance.round * abs(sum) + tolerance.least)
        let old = Double(before[row][output])
        try #require(abs(Double(residual[row, output]) - sum - old) <= allowed + 1.2e-7 * (abs(old) + abs(sum)))
      }
    }
  }

  @Test(arguments: setsAndTypes, [(1, 64, 16), (3, 48, 40), (9, 33, 96), (20, 130, 17)])
  func `The gated product is silu of gate times up`(
    _ kernels: (KernelSet, ElementType), _ shape: (rows: Int, inputs: Int, outputs: Int)
  ) throws {
    let (set, type) = kernels
    var random = Random(11)
    let device = try device(set)
    let x = Rows(random.floats(shape.rows * shape.inputs), type, rows: shape.rows, columns: shape.inputs)
    let gate = Rows(random.floats(shape.outputs * shape.inputs), type, rows: shape.outputs, columns: shape.inputs)
    let up = Rows(random.floats(shape.outputs * shape.inputs), type, rows: shape.outputs, columns: shape.inputs)
    let bias = Rows(random.floats(shape.outputs), .float32, rows: 1, columns: shape.outputs)
    let packed = try device.pack(
      [gate.source, up.source], biases: [nil, bias.source], type: type, layout: .interleaved16)
    let y = Rows(type, shape.rows, shape.outputs)
    device.linear(x.tensor, packed, epilogue: .siluMultiply, into: y.tensor)
    for row in 0..<shape.rows {
      for output in 0..<shape.outputs {
        let g = dot(x.row(row), gate.row(output)), u = dot(x.row(row), up.row(output)) + Double(bias[0, output])
        let expected = g / (1 + exponential(-g)) * u
        let allowed = (Tolerance.of(type).round + 1e-5) * abs(expected) + 2e-5
        try #require(abs(Double(y[row, output]) - expected) <= allowed, "row \(row) output \(output)")
      }
    }
  }

  @Test(arguments: setsAndTypes)
  func `A row's bits depend on neither its neighbours nor the threads`(_ set: KernelSet, _ type: ElementType) throws {
    var random = Random(13)
    for (inputs, outputs, segments) in [(160, 72, 1), (256, 130, 4), (75, 33, 1)] {
      let x = Rows(random.floats(40 * inputs), type, rows: 40, columns: inputs)
      let w = Rows(random.floats(outputs * inputs), type, rows: outputs, columns: inputs)
      var alone: [[UInt8]] = []
      for threads in 1...3 {
        let device = try device(set, threads: threads)
        let packed = try device.pack([w.source], type: type, segments: segments)
        let one = Rows(.float32, 1, outputs)
        if threads == 1 {
          for row in 0..<40 {
            device.linear(x.tensor.rows(row..<row + 1), packed, into: one.tensor)
            alone.append(one.rowBits(0))
          }
        }
        for count in 1...40 {
          let first = (count * 7) % (41 - count)
          let y = Rows(.float32, count, outputs)
          device.linear(x.tensor.rows(first..<first + count), packed, into: y.tensor)
          for row in 0..<count {
            try #require(y.rowBits(row) == alone[first + row], "\(count) rows, \(threads) threads")
          }
        }
      }
    }
  }

  @Test(arguments: setsAndTypes)
  func `No rows is no work`(_ set: KernelSet, _ type: ElementType) throws {
    let device = try device(set)
    let packed = try device.packRandom(rows: [20], columns: 32, seed: 1, scale: 1, type: type)
    let x = Rows(type, 1, 32), y = Rows(.float32, 1, 20)
    device.linear(x.tensor.first(0), packed, into: y.tensor.first(0))
    #expect(y[0, 0].isNaN)
  }

  @Test(arguments: testedSets.filter { $0 == .amx || $0 == .amxEmulated })
  func `Tiles sum even and odd inputs apart, fused, and flush denormals`(_ set: KernelSet) throws {
    let device = try device(set)
    func product(_ x: [Float], _ w: [Float]) throws -> Float {
      let xs = Rows(x, .bfloat16, rows: 1, columns: x.count), ws = Rows(w, .bfloat16, rows: 1, columns: w.count)
      let y = Rows(.float32, 1, 1)
      device.linear(xs.tensor, try device.pack([ws.source], type: .bfloat16), into: y.tensor)
      return y[0, 0]
    }
    // In one order over k the first 1 would be lost beside 2^25.
    #expect(try product([0x1p25, 1, -0x1p25, 1], [1, 1, 1, 1]) == 2)
    // Across tiles of 32 the order is from first to last: 2^25, then + 1 is lost, then - 2^25.
    var x = [Float](repeating: 0, count: 96)
    x[0] = 0x1p25
    x[32] = 1
    x[64] = -0x1p25
    #expect(try product(x, [Float](repeating: 1, count: 96)) == 0)
    // A denormal factor is zero; so is a denormal product.
    #expect(try product([1, 1], [0x1p-130, 0x1p-130]) == 0)
    #expect(try product([0x1p-70, 0], [0x1p-70, 0]) == 0)
    // 2^24 + 1 + 2^-7 rounds once, upward; the product alone is exact.
    #expect(try product([0x1p24, 0, 1 + 0x1p-7, 0], [1, 0, 1, 0]) == 0x1p24 + 2)
  }

  @Test(arguments: setsAndTypes)
  func `Random shapes agree with the scalar set`(_ set: KernelSet, _ type: ElementType) throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = Random(seed)
    let one = try device(set, threads: 2), reference = try device(.scalar, threads: 2)
    for _ in 0..<12 {
      let rows = Int.random(in: 1...70, using: &random), inputs = Int.random(in: 1...400, using: &random)
      let outputs = Int.random(in: 1...150, using: &random)
      let x = Rows(random.floats(rows * inputs), type, rows: rows, columns: inputs)
      let a = try one.packRandom(rows: [outputs], columns: inputs, seed: seed, scale: 1, type: type, withBias: true)
      let y = Rows(.float32, rows, outputs), z = Rows(.float32, rows, outputs)
      one.linear(x.tensor, a, into: y.tensor)
      reference.linear(x.tensor, a, into: z.tensor)
      for row in 0..<rows {
        for output in 0..<outputs {
          let allowed = 4e-6 * Float(inputs + 2)
          try #require(abs(y[row, output] - z[row, output]) <= allowed, "seed \(seed), \(rows)x\(inputs)x\(outputs)")
        }
      }
    }
  }

  private func dot(_ a: [Float], _ b: [Float]) -> Double {
    zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) }
  }
}
