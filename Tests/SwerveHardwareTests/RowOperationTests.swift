import Glibc
import SwerveCore
import SwerveHardware
import Testing

func exponential(_ x: Double) -> Double { exp(x) }

@Suite struct RowOperationTests {
  @Test(arguments: setsAndTypes, [1, 15, 16, 17, 31, 896, 1009])
  func `RMS norm agrees with double precision`(_ kernels: (KernelSet, ElementType), _ columns: Int) throws {
    let (set, type) = kernels
    var random = Random(3)
    let device = try device(set, threads: 2)
    let rows = 41
    let x = Rows(random.floats(rows * columns, scale: 3), .float32, rows: rows, columns: columns)
    let delta = Rows(random.floats(rows * columns), .float32, rows: rows, columns: columns)
    let weight = Rows(random.floats(columns), .float32, rows: 1, columns: columns)
    let y = Rows(type, rows, columns), z = Rows(type, rows, columns)
    let before = (0..<rows).map { x.row($0) }
    let tolerance = Tolerance.of(type)
    device.rmsNorm(x.tensor, weight: weight.tensor, epsilon: 1e-5, into: y.tensor)
    device.addRMSNorm(residual: x.tensor, delta: delta.tensor, weight: weight.tensor, epsilon: 1e-5, into: z.tensor)
    for row in 0..<rows {
      let sum = (0..<columns).map { before[row][$0] + delta[row, $0] }
      #expect(x.row(row) == sum)
      for (input, result) in [(before[row], y), (sum, z)] {
        let mean = input.reduce(0) { $0 + Double($1) * Double($1) } / Double(columns)
        for c in 0..<columns {
          let expected = Double(input[c]) / (mean + 1e-5).squareRoot() * Double(weight[0, c])
          try #require(
            abs(Double(result[row, c]) - expected) <= (tolerance.round + 1e-6) * abs(expected) + tolerance.least)
        }
      }
    }
  }

  @Test(arguments: setsAndTypes, [(16, 16), (24, 24), (64, 64), (80, 32), (128, 128)])
  func `Rotation, head norms and split agree with double precision`(
    _ kernels: (KernelSet, ElementType), _ shape: (headDim: Int, rotary: Int)
  ) throws {
    let (set, type) = kernels
    var random = Random(5)
    let device = try device(set, threads: 2)
    let (rows, queryHeads, kvHeads, d, half) = (19, 6, 2, shape.headDim, shape.rotary / 2)
    let qkv = Rows(
      random.floats(rows * (queryHeads + 2 * kvHeads) * d), .float32, rows: rows,
      columns: (queryHeads + 2 * kvHeads) * d)
    let angles = random.floats(rows * half, scale: 3)
    let c = Rows(angles.map { cosf($0) }, .float32, rows: rows, columns: half)
    let s = Rows(angles.map { sinf($0) }, .float32, rows: rows, columns: half)
    let norm = Rows(random.floats(d), .float32, rows: 1, columns: d)
    let q = Rows(type, rows, queryHeads * d), k = Rows(type, rows, kvHeads * d), v = Rows(type, rows, kvHeads * d)
    device.rotate(
      qkv.tensor, cosines: c.tensor, sines: s.tensor, qNorm: norm.tensor, kNorm: nil, epsilon: 1e-6, headDim: d,
      q: q.tensor, k: k.tensor, v: v.tensor)
    for row in 0..<rows {
      for head in 0..<queryHeads + 2 * kvHeads {
        var x = (0..<d).map { Double(qkv[row, head * d + $0]) }
        if head < queryHeads {
          let mean = x.reduce(0) { $0 + $1 * $1 } / Double(d)
          x = (0..<d).map { x[$0] / (mean + 1e-6).squareRoot() * Double(norm[0, $0]) }
        }
        if head < queryHeads + kvHeads {
          for i in 0..<half {
            let (a, b) = (x[i], x[i + half])
            x[i] = a * Double(c[row, i]) - b * Double(s[row, i])
            x[i + half] = b * Double(c[row, i]) + a * Double(s[row, i])
          }
        }
        for i in 0..<d {
          let result =
            head < queryHeads
            ? q[row, head * d + i]
            : head < queryHeads + kvHeads
              ? k[row, (head - queryHeads) * d + i] : v[row, (head - queryHeads - kvHeads) * d + i]
          try #require(abs(Double(result) - x[i]) <= Tolerance.of(type).round * abs(x[i]) + 2e-6)
        }
      }
    }
  }

  @Test(arguments: setsAndTypes)
  func `Embedding gathers the same rows from a table and from packed tiles`(_ set: KernelSet, _ type: ElementType)
    throws
  {
    var random = Random(17)
    let device = try device(set, threads: 2)
    for columns in [1, 31, 64, 200, 515] {
      let table = Rows(random.floats(53 * columns), type, rows: 53, columns: columns)
      let packed = try device.pack([table.source], type: type)
      let tokens: [TokenID] = [0, 52, 7, 16, 15, 31, 32, 7, 1, 2, 3]
      let a = Rows(.float32, tokens.count, columns), b = Rows(.float32, tokens.count, columns)
      device.embed(tokens.span, table: table.tensor, into: a.tensor)
      device.embed(tokens.span, table: packed, into: b.tensor)
      for (row, token) in tokens.enumerated() {
        #expect(a.row(row) == table.row(Int(token.rawValue)))
        #expect(b.row(row) == table.row(Int(token.rawValue)))
      }
    }
  }

  @Test(arguments: testedSets)
  func `Gathered rows are the rows asked for`(_ set: KernelSet) throws {
    var random = Random(19)
    let device = try device(set)
    let x = Rows(random.floats(9 * 33), .bfloat16, rows: 9, columns: 33, stride: 40)
    let indices: [Int32] = [8, 0, 3]
    let out = Rows(.bfloat16, 3, 33)
    device.gatherRows(x.tensor, indices: indices.span, into: out.tensor)
    for (row, index) in indices.enumerated() { #expect(out.row(row) == x.row(Int(index))) }
  }

  @Test(arguments: testedSets, [ElementType.bfloat16, .float16])
  func `Conversions are exact to nearest even for every 16-bit value and the ties between`(
    _ set: KernelSet, _ type: ElementType
  ) throws {
    let device = try device(set)
    // All 65,536 patterns out to f32, against the definition of the type.
    let all = Rows(type, 256, 256), wide = Rows(.float32, 256, 256)
    for i in 0..<65_536 {
      all.tensor.pointer.storeBytes(of: UInt16(i), toByteOffset: i * 2, as: UInt16.self)
    }
    device.convert(all.tensor, into: wide.tensor)
    for i in 0..<65_536 {
      let expected = value(UInt16(i), type)
      let got = wide[i / 256, i % 256]
      try #require(expected.isNaN ? got.isNaN : expected.bitPattern == got.bitPattern, "pattern \(i)")
    }
    // The midpoint to the next value, and a little less and more.
    var inputs: [Float] = []
    for i in 0..<0x7f80 where type == .bfloat16 || i < 0x7c00 {
      let a = value(UInt16(i), type), b = value(UInt16(i + 1), type)
      let middle = b.isInfinite ? a + (a - value(UInt16(i - 1), type)) / 2 : a + (b - a) / 2
      inputs += [middle, middle.nextDown, -middle.nextUp, a]
    }
    inputs += [.infinity, -.infinity, .nan, 1e30, -0x1p-130, 0, -0.0, .greatestFiniteMagnitude]
    let columns = 4
    let x = Rows(inputs, .float32, rows: inputs.count / columns, columns: columns)
    let y = Rows(type, inputs.count / columns, columns)
    device.convert(x.tensor, into: y.tensor)
    for (i, input) in inputs.enumerated() {
      let got = y[i / columns, i % columns], expected = rounded(input, to: type)
      try #require(input.isNaN ? got.isNaN : got.bitPattern == expected.bitPattern, "\(input) gave \(got)")
    }
  }

  /// The value of 16 bits by the definition of the type.
  private func value(_ bits: UInt16, _ type: ElementType) -> Float {
    if type == .bfloat16 { return Float(bitPattern: UInt32(bits) << 16) }
    let exponent = Int(bits >> 10 & 31), mantissa = Double(bits & 1023)
    let sign: Double = bits & 0x8000 == 0 ? 1 : -1
    if exponent == 31 { return mantissa == 0 ? Float(sign) * .infinity : .nan }
    if exponent == 0 { return Float(sign * scalbn(mantissa, -24)) }
    return Float(sign * scalbn(1024 + mantissa, exponent - 25))
  }
}
