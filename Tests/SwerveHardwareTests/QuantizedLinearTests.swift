import SwerveCore
import SwerveHardware
import Testing

@Suite struct QuantizedLinearTests {
  struct Shape: Sendable {
    var rows: Int
    var inputs: Int
    var outputs: Int
    var segments = 1
  }

  /// Whole groups of every size.
  static let wholeShapes: [Shape] = [
    Shape(rows: 1, inputs: 128, outputs: 1), Shape(rows: 2, inputs: 384, outputs: 130),
    Shape(rows: 3, inputs: 128, outputs: 17), Shape(rows: 6, inputs: 256, outputs: 72),
    Shape(rows: 7, inputs: 640, outputs: 48), Shape(rows: 1, inputs: 512, outputs: 200, segments: 4),
    Shape(rows: 33, inputs: 512, outputs: 66, segments: 2), Shape(rows: 201, inputs: 128, outputs: 33),
  ]
  /// For formats with one scale a row.
  static let oddShapes: [Shape] = [
    Shape(rows: 1, inputs: 1, outputs: 1), Shape(rows: 2, inputs: 3, outputs: 15),
    Shape(rows: 5, inputs: 33, outputs: 127), Shape(rows: 9, inputs: 97, outputs: 40),
    Shape(rows: 2, inputs: 130, outputs: 131), Shape(rows: 20, inputs: 63, outputs: 16),
  ]

  private static func shapes(_ format: WeightFormat) -> [Shape] {
    format.group == nil ? wholeShapes + oddShapes : wholeShapes
  }

  @Test(arguments: quantizedCases.filter { !$0.format.roundsRows })
  func `A product is x times levels times scales`(
    _ item: (set: KernelSet, type: ElementType, format: WeightFormat)
  ) throws {
    let (set, type, format) = item
    let device = try device(set, threads: 2)
    var random = Random(71)
    for shape in Self.shapes(format) {
      let x = Rows(
        random.floats(shape.rows * shape.inputs), type, rows: shape.rows, columns: shape.inputs,
        stride: shape.inputs + 3)
      let w = Rows(random.floats(shape.outputs * shape.inputs), type, rows: shape.outputs, columns: shape.inputs)
      let bias = Rows(random.floats(shape.outputs), .float32, rows: 1, columns: shape.outputs)
      let packed = try device.pack(
        [w.source], biases: [bias.source], type: type, format: format, segments: shape.segments)
      #expect(packed.format == format)
      let y = Rows(.float32, shape.rows, shape.outputs),
        residual = Rows(
          [Float](repeating: 2, count: shape.rows * shape.outputs), .float32, rows: shape.rows, columns: shape.outputs)
      device.linear(x.tensor, packed, into: y.tensor)
      device.linear(x.tensor, packed, epilogue: .accumulate, into: residual.tensor)
      let weights = reference(packed, w, format, type, device)
      for row in 0..<shape.rows {
        let xs = x.row(row).map(Double.init)
        for output in 0..<shape.outputs {
          var sum = Double(bias[0, output]), size = abs(sum)
          for k in 0..<shape.inputs {
            let term = xs[k] * weights[output * shape.inputs + k]
            sum += term
            size += abs(term)
          }
          try #require(
            abs(Double(y[row, output]) - sum) <= 4e-6 * size + 1e-7, "\(shape) row \(row) output \(output)")
          try #require(abs(Double(residual[row, output]) - sum - 2) <= 4e-6 * size + 1e-6)
        }
      }
    }
  }

  /// Rounded here, but for int4, whose scales are a choice: there what was packed, which PackingTests hold to account.
  private func reference(
    _ packed: PackedWeight, _ w: Rows, _ format: WeightFormat, _ type: ElementType, _ device: CPUDevice
  ) -> [Double] {
    if case .int4 = format {
      let rows = unpacked(packed, device)
      return (0..<packed.outputs).flatMap { rows.row($0).map(Double.init) }
    }
    let levels = Levels(w, format, type: type)
    return (0..<packed.outputs).flatMap { row in (0..<packed.inputs).map { levels[row, $0] } }
  }

  @Test(arguments: setsAndTypes)
  func `Rows rounded to int8 give exact sums, the same in every set`(_ set: KernelSet, _ type: ElementType) throws {
    let device = try device(set, threads: 2)
    var random = Random(73)
    for shape in Self.wholeShapes + Self.oddShapes {
      let x = Rows(
        random.floats(shape.rows * shape.inputs, scale: 3), type, rows: shape.rows, columns: shape.inputs,
        stride: shape.inputs + 1)
      let w = Rows(random.floats(shape.outputs * shape.inputs), .float32, rows: shape.outputs, columns: shape.inputs)
      let packed = try device.pack([w.source], type: type, format: .int8Dynamic, segments: shape.segments)
      let room = try RoundedRows(device: device, rows: shape.rows, inputs: shape.inputs)
      let y = Rows(.float32, shape.rows, shape.outputs)
      device.linear(x.tensor, packed, rounded: room, into: y.tensor)
      let a = Levels(x, .int8Dynamic, type: type), b = Levels(w, .int8Dynamic, type: type)
      for row in 0..<shape.rows {
        for output in 0..<shape.outputs {
          var sum = 0
          for k in 0..<shape.inputs {
            sum += Int(a.numbers[row * shape.inputs + k]) * Int(b.numbers[output * shape.inputs + k])
          }
          try #require(y[row, output] == Float(sum) * a.scales[row] * b.scales[output], "\(shape) \(row) \(output)")
        }
      }
    }
  }

  @Test(arguments: setsAndTypes, [32, 64, 128])
  func `Rows rounded to int8 meet levels of four bits a group at a time`(
    _ kernels: (KernelSet, ElementType), _ group: Int
  ) throws {
    let (set, type) = kernels
    let device = try device(set, threads: 2)
    var random = Random(74)
    for shape in Self.wholeShapes {
      let x = Rows(
        random.floats(shape.rows * shape.inputs, scale: 3), type, rows: shape.rows, columns: shape.inputs,
        stride: shape.inputs + 1)
      let w = Rows(random.floats(shape.outputs * shape.inputs), .float32, rows: shape.outputs, columns: shape.inputs)
      let packed = try device.pack([w.source], type: type, format: .int4Dynamic(group: group), segments: shape.segments)
      let room = try RoundedRows(device: device, rows: shape.rows, inputs: shape.inputs)
      let y = Rows(.float32, shape.rows, shape.outputs)
      device.linear(x.tensor, packed, rounded: room, into: y.tensor)
      // The levels are those of int4, rows those of int8-dynamic.
      let levels = unpacked(packed, device)
      let plain = unpacked(try device.pack([w.source], type: type, format: .int4(group: group)), device)
      let a = Levels(x, .int8Dynamic, type: type)
      for output in 0..<shape.outputs {
        try #require(levels.row(output) == plain.row(output))
        let weights = levels.row(output).map(Double.init)
        for row in 0..<shape.rows {
          var sum = 0.0, size = 0.0
          for k in 0..<shape.inputs {
            let term = a[row, k] * weights[k]
            sum += term
            size += abs(term)
          }
          try #require(abs(Double(y[row, output]) - sum) <= 1e-6 * size + 1e-7, "\(shape) row \(row) output \(output)")
        }
      }
    }
  }

  @Test(arguments: quantizedCases)
  func `A row's bits depend on neither its neighbours nor the threads`(
    _ item: (set: KernelSet, type: ElementType, format: WeightFormat)
  ) throws {
    let (set, type, format) = item
    var random = Random(79)
    let odd = format.group == nil ? [(163, 72, 1)] : []
    for (inputs, outputs, segments) in [(256, 136, 1), (512, 40, 4)] + odd {
      let most = 200
      let x = Rows(random.floats(most * inputs), type, rows: most, columns: inputs)
      let w = Rows(random.floats(outputs * inputs), type, rows: outputs, columns: inputs)
      var alone: [[UInt8]] = []
      for threads in [1, 3] {
        let device = try device(set, threads: threads)
        let packed = try device.pack([w.source], type: type, format: format, segments: segments)
        let room = try RoundedRows(device: device, rows: most, inputs: inputs)
        if threads == 1 {
          let one = Rows(.float32, 1, outputs)
          for row in 0..<most {
            device.linear(x.tensor.rows(row..<row + 1), packed, rounded: room, into: one.tensor)
            alone.append(one.rowBits(0))
          }
        }
        for count in [1, 2, 3, 4, 5, 6, 7, 13, 16, 17, 31, 33, 64, most] {
          let first = count * 7 % (most + 1 - count)
          let y = Rows(.float32, count, outputs)
          device.linear(x.tensor.rows(first..<first + count), packed, rounded: room, into: y.tensor)
          for row in 0..<count {
            try #require(y.rowBits(row) == alone[first + row], "\(count) rows, \(threads) threads, \(inputs) inputs")
          }
        }
      }
    }
  }

  @Test(arguments: quantizedCases)
  func `The gated product is silu of gate times up`(
    _ item: (set: KernelSet, type: ElementType, format: WeightFormat)
  ) throws {
    let (set, type, format) = item
    let device = try device(set)
    var random = Random(83)
    for (rows, outputs) in [(1, 40), (2, 160), (9, 33)] {
      let inputs = 256
      let x = Rows(random.floats(rows * inputs), type, rows: rows, columns: inputs)
      let gate = Rows(random.floats(outputs * inputs), type, rows: outputs, columns: inputs)
      let up = Rows(random.floats(outputs * inputs), type, rows: outputs, columns: inputs)
      let bias = Rows(random.floats(outputs), .float32, rows: 1, columns: outputs)
      let room = try RoundedRows(device: device, rows: rows, inputs: inputs)
      func product(_ source: Rows, _ bias: Rows? = nil) throws -> Rows {
        let packed = try device.pack(
          [source.source], biases: bias.map { [$0.source] } ?? [], type: type, format: format)
        let y = Rows(.float32, rows, outputs)
        device.linear(x.tensor, packed, rounded: room, into: y.tensor)
        return y
      }
      let g = try product(gate), u = try product(up, bias)
      let both = try device.pack(
        [gate.source, up.source], biases: [nil, bias.source], type: type, format: format, layout: .interleaved16)
      let y = Rows(type, rows, outputs)
      device.linear(x.tensor, both, epilogue: .siluMultiply, rounded: room, into: y.tensor)
      for row in 0..<rows {
        for output in 0..<outputs {
          let a = Double(g[row, output]), expected = a / (1 + exponential(-a)) * Double(u[row, output])
          let allowed = (Tolerance.of(type).round + 1e-5) * abs(expected) + 2e-5
          try #require(abs(Double(y[row, output]) - expected) <= allowed, "row \(row) output \(output)")
        }
      }
    }
  }

  @Test(arguments: quantizedCases)
  func `A row that is not finite spoils no other`(
    _ item: (set: KernelSet, type: ElementType, format: WeightFormat)
  ) throws {
    let (set, type, format) = item
    let device = try device(set)
    var random = Random(89)
    let x = Rows(random.floats(3 * 128), type, rows: 3, columns: 128)
    x.set(1, 5, .nan)
    x.set(2, 7, .infinity)
    let w = Rows(random.floats(20 * 128), .float32, rows: 20, columns: 128)
    for column in 0..<128 { w.set(3, column, 0) }
    let packed = try device.pack([w.source], type: type, format: format)
    let room = try RoundedRows(device: device, rows: 3, inputs: 128)
    let y = Rows(.float32, 3, 20)
    device.linear(x.tensor, packed, rounded: room, into: y.tensor)
    #expect(y.row(0).allSatisfy { $0.isFinite })
    #expect(y[0, 3] == 0)
    #expect(y.row(1).allSatisfy { $0.isNaN })
    #expect(y.row(2).enumerated().allSatisfy { $0 == 3 || !$1.isFinite })
  }
}
