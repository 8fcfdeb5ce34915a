import Glibc
import SwerveCore
import SwerveHardware
import Testing

/// Eight-bit keys and values: how far they are from what was written, and what they do with numbers that are none.
@Suite struct KVPrecisionTests {
  static let scaled = KVType.allCases.filter(\.isScaled)

  /// Writes rows [tokens, d] as keys, and negated as values, of one head into blocks 0, 1, …
  private func written(_ numbers: [[Float]], _ type: KVType, _ set: KernelSet) throws -> KVCache {
    let device = try device(set)
    let d = numbers[0].count
    let layout = try KVLayout(type: type, blockTokens: 16, headCount: 1, headDim: d, layerCount: 1)
    let cache = try KVCache(layout: layout, blockCount: (numbers.count + 15) / 16, device: device)
    let k = Rows(numbers.flatMap(\.self), .float32, rows: numbers.count, columns: d)
    let v = Rows(numbers.flatMap { $0.map { -$0 } }, .float32, rows: numbers.count, columns: d)
    let slots = (0..<numbers.count).map { Int64($0) }
    device.writeKV(k: k.tensor, v: v.tensor, slots: slots.span, cache: cache, layer: 0)
    return cache
  }

  /// Tokens of every magnitude, with zeros and denormals among them.
  private func numbers(_ d: Int) -> [[Float]] {
    var random = Random(5)
    var all = (0..<64).map { token in
      random.floats(d, scale: Float(sign: .plus, exponent: token * 3 - 96, significand: 1))
    }
    for token in stride(from: 0, to: 64, by: 7) { all[token][token % d] = 0 }
    // One large number leaves the others the smallest codes.
    for token in 32..<48 { all[token] = all[token].enumerated().map { $0 == 3 ? $1 : $1 * 0x1p-9 } }
    all[9] = [Float](repeating: 0, count: d)
    all[10] = [Float](repeating: .leastNonzeroMagnitude, count: d)
    all[11] = [Float](repeating: -3e38, count: d)
    return all
  }

  @Test(arguments: testedSets, scaled)
  func `What is read differs from what was written by the format's step at most`(_ set: KernelSet, _ type: KVType)
    throws
  {
    let numbers = numbers(24)
    let reader = CacheReader(cache: try written(numbers, type, set), layer: 0)
    for (token, row) in numbers.enumerated() {
      let read = reader.token(BlockID(token / 16), token % 16)
      let top = row.reduce(0) { max($0, $1.magnitude) }
      for (i, x) in row.enumerated() {
        // The scale is rounded up to 8 bits; below 2^-119 a token is zero.
        let allowed: Float =
          switch type {
          case .int8: top / 127 * 0.505
          case .fp8E4M3: max(x.magnitude / 16, top / 448 * 0x1p-10) * 1.01
          default: max(x.magnitude / 8, top / 57344 * 0x1p-17) * 1.01
          }
        #expect((read.keys[i] - x).magnitude <= max(allowed, 0x1p-119), "token \(token), \(x)")
        #expect(read.values[i] == -read.keys[i], "token \(token), \(x)")
      }
    }
  }

  @Test(arguments: scaled)
  func `All kernel sets write the same bytes`(_ type: KVType) throws {
    let numbers = numbers(80)
    let first = try written(numbers, type, .scalar)
    for set in testedSets {
      let other = try written(numbers, type, set)
      for block in 0..<first.blockCount {
        #expect(
          memcmp(
            first.address(layer: 0, block: BlockID(block)), other.address(layer: 0, block: BlockID(block)),
            first.layout.blockLayerBytes) == 0, "\(set)")
      }
    }
  }

  @Test(arguments: testedSets, scaled)
  func `Every code is read as the number it stands for`(_ set: KernelSet, _ type: KVType) throws {
    // One token whose value's codes are set by hand; its weight is 1, so the output is the value.
    let device = try device(set)
    let layout = try KVLayout(type: type, blockTokens: 16, headCount: 1, headDim: 256, layerCount: 1)
    let cache = try KVCache(layout: layout, blockCount: 1, device: device)
    let base = cache.address(layer: 0, block: BlockID(0))
    for i in 0..<256 { base.storeBytes(of: UInt8(i), toByteOffset: 16 * 256 + i / 4 * 16 + i % 4 * 2, as: UInt8.self) }
    base.storeBytes(of: 0x3f80, toByteOffset: 2 * 16 * 256, as: UInt16.self)
    base.storeBytes(of: 0x3f80, toByteOffset: 2 * 16 * 256 + 32, as: UInt16.self)
    let batch = try AttentionBatch(
      device: device, layout: layout, queryHeads: 1, maxRows: 1, maxSequences: 1, maxBlockEntries: 1)
    let sequences = [AttentionSequence(firstRow: 0, rowCount: 1, contextTokens: 0, firstBlock: 0)]
    let blocks = [BlockID(0)]
    batch.prepare(sequences: sequences.span, blocks: blocks.span)
    let q = Rows([Float](repeating: 0, count: 256), .float32, rows: 1, columns: 256), o = Rows(.float32, 1, 256)
    device.attention(q: q.tensor, cache: cache, layer: 0, batch: batch, scale: 1, into: o.tensor)
    for i in 0..<256 { #expect(o[0, i] == CacheReader.magnitude(UInt8(i), type), "code \(i)") }
  }

  @Test(arguments: testedSets, scaled)
  func `A token that is not finite shows in the rows that see it and in no other`(_ set: KernelSet, _ type: KVType)
    throws
  {
    let device = try device(set)
    let (d, rows) = (16, 20)
    let layout = try KVLayout(type: type, blockTokens: 16, headCount: 1, headDim: d, layerCount: 1)
    let cache = try KVCache(layout: layout, blockCount: 2, device: device)
    let batch = try AttentionBatch(
      device: device, layout: layout, queryHeads: 1, maxRows: rows, maxSequences: 1, maxBlockEntries: 2)
    let sequences = [AttentionSequence(firstRow: 0, rowCount: Int32(rows), contextTokens: 0, firstBlock: 0)]
    let blocks = [BlockID(1), BlockID(0)]
    batch.prepare(sequences: sequences.span, blocks: blocks.span)
    var random = Random(8)
    let q = Rows(random.floats(rows * d), .bfloat16, rows: rows, columns: d)
    let k = Rows(random.floats(rows * d), .bfloat16, rows: rows, columns: d)
    let v = Rows(random.floats(rows * d), .bfloat16, rows: rows, columns: d)
    func run() -> Rows {
      let o = Rows(.bfloat16, rows, d)
      device.writeKV(k: k.tensor, v: v.tensor, into: KVSlots(cache: cache, layer: 0, batch: batch))
      device.attention(q: q.tensor, cache: cache, layer: 0, batch: batch, scale: 1, into: o.tensor)
      return o
    }
    let clean = run()
    for (tensor, value) in [(k, Float.infinity), (v, -.infinity), (k, .nan), (v, .nan)] {
      let kept = tensor[13, 5]
      tensor.set(13, 5, value)
      let o = run()
      tensor.set(13, 5, kept)
      for row in 0..<13 { #expect(o.rowBits(row) == clean.rowBits(row)) }
      for row in 13..<rows { #expect(o.row(row).allSatisfy { $0.isNaN }) }
    }
    let again = run()
    for row in 0..<rows { #expect(again.rowBits(row) == clean.rowBits(row)) }
  }

  @Test(arguments: testedSets, KVType.allCases)
  func `Rows that are rotated into their slots leave the bytes of two passes`(_ set: KernelSet, _ type: KVType) throws {
    let device = try device(set, threads: 2)
    let (rows, heads, kvHeads, d) = (37, 4, 2, 32)
    let seam: ElementType = type == .float32 ? .float32 : .bfloat16
    let layout = try KVLayout(type: type, blockTokens: 16, headCount: kvHeads, headDim: d, layerCount: 2)
    let batch = try AttentionBatch(
      device: device, layout: layout, queryHeads: heads, maxRows: rows, maxSequences: 2, maxBlockEntries: 4)
    // One begins in the middle of a block; blocks are not in order.
    let sequences = [
      AttentionSequence(firstRow: 0, rowCount: 20, contextTokens: 5, firstBlock: 0),
      AttentionSequence(firstRow: 20, rowCount: 17, contextTokens: 0, firstBlock: 2),
    ]
    batch.prepare(sequences: sequences.span, blocks: [BlockID(3), BlockID(0), BlockID(2), BlockID(1)].span)
    var random = Random(21)
    let columns = (heads + 2 * kvHeads) * d
    let qkv = Rows(random.floats(rows * columns), .float32, rows: rows, columns: columns)
    let angles = random.floats(rows * d / 2, scale: 3)
    let c = Rows(angles.map { cosf($0) }, .float32, rows: rows, columns: d / 2)
    let s = Rows(angles.map { sinf($0) }, .float32, rows: rows, columns: d / 2)
    func scene(together: Bool) throws -> [UInt8] {
      let cache = try KVCache(layout: layout, blockCount: 4, device: device)
      let slots = KVSlots(cache: cache, layer: 1, batch: batch)
      let q = Rows(seam, rows, heads * d), k = Rows(seam, rows, kvHeads * d), v = Rows(seam, rows, kvHeads * d)
      device.rotate(
        qkv.tensor, cosines: c.tensor, sines: s.tensor, headDim: d, q: q.tensor, k: k.tensor, v: v.tensor,
        slots: together ? slots : nil)
      if !together { device.writeKV(k: k.tensor, v: v.tensor, into: slots) }
      return (0..<4).flatMap { block in
        let start = cache.address(layer: 1, block: BlockID(Int32(block)))
        return Array(UnsafeRawBufferPointer(start: start, count: layout.blockLayerBytes))
      }
    }
    let together = try scene(together: true)
    #expect(together == (try scene(together: false)))
    #expect(together.contains { $0 != 0 })
  }

  @Test(arguments: [KVType.bfloat16, .int8])
  func `Attention reaches back 131,072 tokens`(_ type: KVType) throws {
    let (tokens, d) = (131_072, 16)
    func scene(threads: Int, scratch: Int) throws -> (Rows, KVCache, Rows) {
      let device = try device(KernelSet.best, threads: threads)
      let layout = try KVLayout(type: type, blockTokens: 16, headCount: 1, headDim: d, layerCount: 1)
      let cache = try KVCache(layout: layout, blockCount: tokens / 16, device: device)
      var random = Random(131)
      let k = Rows(random.floats(tokens * d), .bfloat16, rows: tokens, columns: d)
      let v = Rows(random.floats(tokens * d), .bfloat16, rows: tokens, columns: d)
      // Blocks in reverse, so that the table's far end matters.
      let blocks = (0..<tokens / 16).reversed().map { BlockID($0) }
      let slots = (0..<tokens).map { Int64(Int(blocks[$0 / 16].rawValue) * 16 + $0 % 16) }
      device.writeKV(k: k.tensor, v: v.tensor, slots: slots.span, cache: cache, layer: 0)
      let batch = try AttentionBatch(
        device: device, layout: layout, queryHeads: 2, maxRows: 3, maxSequences: 1, maxBlockEntries: tokens / 16,
        scratchBytes: scratch)
      #expect(batch.byteCount < scratch + 1 << 16)
      let sequences = [
        AttentionSequence(firstRow: 0, rowCount: 3, contextTokens: Int32(tokens - 3), firstBlock: 0)
      ]
      batch.prepare(sequences: sequences.span, blocks: blocks.span)
      let q = Rows(random.floats(3 * 2 * d, scale: 3), .bfloat16, rows: 3, columns: 2 * d)
      let o = Rows(.bfloat16, 3, 2 * d)
      device.attention(q: q.tensor, cache: cache, layer: 0, batch: batch, scale: 0.25, into: o.tensor)
      return (o, cache, q)
    }
    let (o, cache, q) = try scene(threads: 1, scratch: 16 << 20)
    // Split over threads, and with too little scratch for a split.
    for (threads, scratch) in [(2, 16 << 20), (2, 4096)] {
      let (other, _, _) = try scene(threads: threads, scratch: scratch)
      for row in 0..<3 { #expect(other.rowBits(row) == o.rowBits(row)) }
    }
    let reader = CacheReader(cache: cache, layer: 0)
    let stored = (0..<tokens).map { reader.token(BlockID(tokens / 16 - 1 - $0 / 16), $0 % 16) }
    for head in 0..<2 {
      let query = (0..<d).map { Double(q[2, head * d + $0]) }
      var sum = 0.0
      var output = [Double](repeating: 0, count: d)
      for token in stored {
        var score = 0.0
        for i in 0..<d { score += query[i] * Double(token.keys[i]) }
        let weight = exp(score * 0.25)
        sum += weight
        for i in 0..<d { output[i] += weight * Double(token.values[i]) }
      }
      for i in 0..<d { #expect(abs(Double(o[2, head * d + i]) - output[i] / sum) < 1.0 / 256, "dim \(i)") }
    }
  }
}
