import SwerveCore
import SwerveHardware
import Testing

@Suite struct PackingTests {
  @Test(arguments: allTypes, allTypes)
  func `Any source type packs into any type, and comes back`(_ from: ElementType, _ to: ElementType) throws {
    var random = Random(31)
    let device = try device(.scalar, threads: 2)
    for (rows, columns) in [(1, 1), (16, 32), (17, 33), (50, 700)] {
      let w = Rows(random.floats(rows * columns), from, rows: rows, columns: columns)
      let packed = try device.pack([w.source], type: to)
      let out = Rows(.float32, rows, columns)
      let tokens = (0..<rows).map { TokenID($0) }
      device.embed(tokens.span, table: packed, into: out.tensor)
      for row in 0..<rows { #expect(out.row(row) == w.row(row).map { rounded($0, to: to) }) }
    }
  }

  @Test(arguments: allTypes)
  func `Stacked sources lie under each other without gaps`(_ type: ElementType) throws {
    var random = Random(37)
    let device = try device(.scalar, threads: 2)
    let parts = [24, 8, 8, 33].map { Rows(random.floats($0 * 40), type, rows: $0, columns: 40) }
    var dropped = 0
    let packed = try device.pack(parts.map(\.source), type: type) { _ in dropped += 1 }
    #expect(dropped == parts.count)
    #expect(packed.outputs == 73)
    let out = Rows(.float32, 73, 40)
    let tokens = (0..<73).map { TokenID($0) }
    device.embed(tokens.span, table: packed, into: out.tensor)
    var row = 0
    for part in parts {
      for r in 0..<part.tensor.rows {
        #expect(out.row(row) == part.row(r))
        row += 1
      }
    }
  }

  /// Sources above 16 MiB are packed in parts of whole blocks.
  @Test func `Large sources are packed in parts, and come back`() throws {
    let device = try device(.scalar, threads: 2)
    let columns = 8192, rows = 1032
    var numbers = [Float](repeating: 0, count: rows * columns)
    for row in 0..<rows {
      for column in 0..<columns { numbers[row * columns + column] = Float((row &* 31 &+ column &* 7) % 251) }
    }
    let w = Rows(numbers, .bfloat16, rows: rows, columns: columns)
    let small = Rows([Float](repeating: 3, count: 24 * columns), .bfloat16, rows: 24, columns: columns)
    for layout in [PackedLayout.stacked, .interleaved16] {
      let sources = layout == .stacked ? [small.source, w.source] : [w.source, w.source]
      var seen = 0
      let packed = try device.pack(sources, type: .bfloat16, layout: layout) { seen += $0.rows }
      #expect(seen == sources.reduce(0) { $0 + $1.rows })
      let x = Rows([Float](repeating: 1, count: columns), .bfloat16, rows: 1, columns: columns)
      let y = Rows(layout == .stacked ? .float32 : .bfloat16, 1, packed.outputs)
      device.linear(x.tensor, packed, epilogue: layout == .stacked ? .store : .siluMultiply, into: y.tensor)
      for row in [0, 15, 16, 1000, 1023, 1024, 1031] {
        let sum = w.row(row).reduce(0, +)
        let got = y.row(0)[layout == .stacked ? row + 24 : row]
        let expected = layout == .stacked ? sum : sum * sum
        #expect(abs(got - expected) <= expected / 100, "\(layout), row \(row)")
      }
    }
  }

  @Test(arguments: allTypes)
  func `Random weights depend on seed, row and column alone and have the asked deviation`(_ type: ElementType) throws {
    let a = try device(.scalar, threads: 1), b = try device(.scalar, threads: 3)
    let rows = 64, columns = 500
    let one = try a.packRandom(rows: [rows], columns: columns, seed: 9, scale: 0.02, type: type)
    let two = try b.packRandom(rows: [rows], columns: columns, seed: 9, scale: 0.02, type: type)
    let other = try b.packRandom(rows: [rows], columns: columns, seed: 10, scale: 0.02, type: type)
    let x = Rows(.float32, rows, columns), y = Rows(.float32, rows, columns), z = Rows(.float32, rows, columns)
    let tokens = (0..<rows).map { TokenID($0) }
    a.embed(tokens.span, table: one, into: x.tensor)
    a.embed(tokens.span, table: two, into: y.tensor)
    a.embed(tokens.span, table: other, into: z.tensor)
    var sum = 0.0, squares = 0.0, same = 0
    for row in 0..<rows {
      #expect(x.row(row) == y.row(row))
      for (v, w) in zip(x.row(row), z.row(row)) {
        sum += Double(v)
        squares += Double(v) * Double(v)
        same += v == w ? 1 : 0
      }
    }
    let n = Double(rows * columns)
    #expect(abs(sum / n) < 0.001)
    #expect(abs((squares / n).squareRoot() - 0.02) < 0.0005)
    #expect(same < rows * columns / 10)
  }

  @Test func `Matrices that do not fit are refused with a sentence`() throws {
    let device = try device(.scalar)
    let a = Rows(.float32, 4, 8), b = Rows(.float32, 4, 9), c = Rows(.float32, 5, 8)
    func refusal(_ body: () throws -> PackedWeight) -> String {
      do {
        _ = try body()
        return ""
      } catch { return "\(error)" }
    }
    #expect(refusal { try device.pack([], type: .float32) }.contains("at least one"))
    #expect(refusal { try device.pack([a.source, b.source], type: .float32) }.contains("8 columns"))
    #expect(
      refusal { try device.pack([a.source, c.source], type: .float32, layout: .interleaved16) }.contains("same shape"))
    #expect(refusal { try device.pack([a.source], type: .bfloat16, segments: 2) }.contains("segments"))
    #expect(refusal { try device.pack([a.source], biases: [b.source], type: .float32) }.contains("bias"))
  }

  @Test func `Memory in use follows buffers`() throws {
    let device = try device(.scalar)
    let before = device.memoryInUseBytes
    do {
      let buffer = try device.allocate(byteCount: 1 << 20)
      #expect(buffer.pointer.load(fromByteOffset: buffer.byteCount - 1, as: UInt8.self) == 0)
      #expect(device.memoryInUseBytes >= before + 1 << 20)
    }
    #expect(device.memoryInUseBytes == before)
    #expect(throws: HardwareError.self) { _ = try device.allocate(byteCount: Int.max / 4) }
  }
}
