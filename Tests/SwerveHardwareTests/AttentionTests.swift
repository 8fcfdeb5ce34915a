import Glibc
import SwerveCore
import SwerveHardware
import Testing

@Suite struct AttentionTests {
  /// One sequence of a test step.
  struct Piece: Sendable {
    var context: Int
    var rows: Int
  }

  struct Case: Sendable, CustomStringConvertible {
    var headDim: Int
    var queryHeads: Int
    var kvHeads: Int
    var blockTokens: Int
    var window: Int?
    var pieces: [Piece]
    var description: String {
      "d\(headDim) h\(queryHeads)/\(kvHeads) b\(blockTokens) w\(window ?? 0) "
        + pieces.map { "\($0.context)+\($0.rows)" }.joined(separator: ",")
    }
  }

  static let cases: [Case] = [
    Case(headDim: 16, queryHeads: 4, kvHeads: 2, blockTokens: 16, pieces: [Piece(context: 0, rows: 1)]),
    Case(
      headDim: 24, queryHeads: 4, kvHeads: 2, blockTokens: 16,
      pieces: [Piece(context: 0, rows: 17), Piece(context: 30, rows: 1)]),
    Case(
      headDim: 64, queryHeads: 14, kvHeads: 2, blockTokens: 32,
      pieces: [Piece(context: 254, rows: 5), Piece(context: 511, rows: 1)]),
    Case(headDim: 80, queryHeads: 3, kvHeads: 3, blockTokens: 64, pieces: [Piece(context: 100, rows: 40)]),
    Case(
      headDim: 128, queryHeads: 8, kvHeads: 1, blockTokens: 128,
      pieces: [Piece(context: 700, rows: 1), Piece(context: 3, rows: 2)]),
    Case(headDim: 24, queryHeads: 4, kvHeads: 2, blockTokens: 16, window: 32, pieces: [Piece(context: 250, rows: 50)]),
    Case(headDim: 64, queryHeads: 40, kvHeads: 1, blockTokens: 16, window: 300, pieces: [Piece(context: 600, rows: 3)]),
    Case(headDim: 16, queryHeads: 2, kvHeads: 1, blockTokens: 128, window: 1, pieces: [Piece(context: 513, rows: 4)]),
  ]

  /// A cache with random keys and values in shuffled blocks, all other slots NaN, and a step on it.
  struct Scene {
    var device: CPUDevice
    var cache: KVCache
    var batch: AttentionBatch
    var q: Rows
    /// [sequence][position][kv head × d]
    var keys: [[[Float]]]
    var values: [[[Float]]]
    var test: Case

    init(
      _ test: Case, _ set: KernelSet, _ type: ElementType, threads: Int, only: Int? = nil, lastRows: Int? = nil,
      seed: UInt64 = 41
    )
      throws
    {
      self.test = test
      device = try SwerveHardwareTests.device(set, threads: threads)
      var random = Random(seed)
      let layout = try KVLayout(
        type: type, blockTokens: test.blockTokens, headCount: test.kvHeads, headDim: test.headDim, layerCount: 2)
      let totals = test.pieces.map { ($0.context + $0.rows + test.blockTokens - 1) / test.blockTokens }
      cache = try KVCache(layout: layout, blockCount: totals.reduce(0, +) + 3, device: device)
      for layer in 0..<2 {
        for block in 0..<cache.blockCount {
          memset(cache.address(layer: layer, block: BlockID(block)), 0xff, layout.blockLayerBytes)
        }
      }
      var free = Array(0..<cache.blockCount).shuffled(using: &random)
      batch = try AttentionBatch(
        device: device, layout: layout, queryHeads: test.queryHeads, maxRows: 300, maxSequences: 8,
        maxBlockEntries: 400,
        window: test.window)
      let width = test.kvHeads * test.headDim
      keys = []
      values = []
      var tables: [[BlockID]] = []
      var queries: [[Float]] = []
      for (index, piece) in test.pieces.enumerated() {
        let tokens = piece.context + piece.rows
        let k = random.floats(tokens * width), v = random.floats(tokens * width)
        let kRows = Rows(k, type, rows: tokens, columns: width), vRows = Rows(v, type, rows: tokens, columns: width)
        keys.append((0..<tokens).map { kRows.row($0) })
        values.append((0..<tokens).map { vRows.row($0) })
        let table = (0..<totals[index]).map { _ in BlockID(free.removeLast()) }
        tables.append(table)
        let slots = (0..<tokens).map {
          Int64(Int(table[$0 / test.blockTokens].rawValue) * test.blockTokens + $0 % test.blockTokens)
        }
        device.writeKV(k: kRows.tensor, v: vRows.tensor, slots: slots.span, cache: cache, layer: 1)
        queries.append(random.floats(piece.rows * test.queryHeads * test.headDim, scale: 2))
      }
      var sequences: [AttentionSequence] = []
      var blocks: [BlockID] = []
      var flat: [Float] = []
      var row = 0
      for (index, piece) in test.pieces.enumerated() where only == nil || only == index {
        let count = min(lastRows ?? piece.rows, piece.rows)
        sequences.append(
          AttentionSequence(
            firstRow: Int32(row), rowCount: Int32(count), contextTokens: Int32(piece.context + piece.rows - count),
            firstBlock: Int32(blocks.count)))
        blocks += tables[index]
        flat += queries[index].suffix(count * test.queryHeads * test.headDim)
        row += count
      }
      q = Rows(flat, type, rows: row, columns: test.queryHeads * test.headDim)
      batch.prepare(sequences: sequences.span, blocks: blocks.span)
    }

    func run() -> Rows {
      let o = Rows(q.tensor.type, q.tensor.rows, q.tensor.columns)
      device.attention(
        q: q.tensor, cache: cache, layer: 1, batch: batch, scale: 1 / Float(test.headDim).squareRoot(), into: o.tensor)
      return o
    }
  }

  @Test(arguments: setsAndTypes, cases)
  func `Attention agrees with double precision and unwritten slots never leak`(
    _ kernels: (KernelSet, ElementType), _ test: Case
  ) throws {
    let scene = try Scene(test, kernels.0, kernels.1, threads: 2)
    let o = scene.run()
    let d = test.headDim, group = test.queryHeads / test.kvHeads
    var row = 0
    for (index, piece) in test.pieces.enumerated() {
      for r in 0..<piece.rows {
        let position = piece.context + r
        let low = max(0, position + 1 - (test.window ?? .max / 2))
        for head in 0..<test.queryHeads {
          let part = head / group * d
          let scores = (low...position).map { token in
            (0..<d).reduce(0.0) {
              $0 + Double(scene.q[row, head * d + $1]) * Double(scene.keys[index][token][part + $1])
            } / Double(d).squareRoot()
          }
          let top = scores.max() ?? 0
          let weights = scores.map { exp($0 - top) }
          let sum = weights.reduce(0, +)
          for i in 0..<d {
            let expected =
              zip(low...position, weights).reduce(0.0) {
                $0 + $1.1 * Double(scene.values[index][$1.0][part + i])
              } / sum
            // Weights are rounded to the type too; values lie in -1 ..< 1.
            let allowed = 2 * Tolerance.of(kernels.1).round + 4e-6
            try #require(abs(Double(o[row, head * d + i]) - expected) <= allowed, "row \(row) head \(head) dim \(i)")
          }
        }
        row += 1
      }
    }
  }

  @Test(arguments: setsAndTypes, cases)
  func `A row's bits depend on neither batch, chunk nor threads`(
    _ kernels: (KernelSet, ElementType), _ test: Case
  ) throws {
    let whole = try Scene(test, kernels.0, kernels.1, threads: 1).run()
    for threads in 2...3 {
      let again = try Scene(test, kernels.0, kernels.1, threads: threads).run()
      for row in 0..<whole.tensor.rows { try #require(again.rowBits(row) == whole.rowBits(row), "\(threads) threads") }
    }
    var first = 0
    for (index, piece) in test.pieces.enumerated() {
      for count in Set([1, 2, 3, piece.rows / 2, piece.rows]) where count > 0 && count <= piece.rows {
        let alone = try Scene(test, kernels.0, kernels.1, threads: 2, only: index, lastRows: count).run()
        for row in 0..<count {
          let place = first + piece.rows - count + row
          try #require(alone.rowBits(row) == whole.rowBits(place), "sequence \(index), last \(count) rows")
        }
      }
      first += piece.rows
    }
  }

  @Test func `A copied block reads like the original in every layer`() throws {
    let device = try device(.scalar)
    let layout = try KVLayout(type: .bfloat16, blockTokens: 16, headCount: 2, headDim: 24, layerCount: 3)
    let cache = try KVCache(layout: layout, blockCount: 4, device: device)
    for layer in 0..<3 {
      memset(cache.address(layer: layer, block: BlockID(1)), Int32(layer + 5), layout.blockLayerBytes)
    }
    cache.copyBlock(from: BlockID(1), to: BlockID(3))
    for layer in 0..<3 {
      let from = cache.address(layer: layer, block: BlockID(1)), to = cache.address(layer: layer, block: BlockID(3))
      #expect(memcmp(from, to, layout.blockLayerBytes) == 0)
      #expect(cache.address(layer: layer, block: BlockID(2)).load(as: UInt8.self) == 0)
    }
  }

  @Test(arguments: [(8, 2, 64), (256, 2, 64), (16, 2, 63), (16, 2, 1024), (16, 0, 64)])
  func `Impossible layouts are refused`(_ tokens: Int, _ heads: Int, _ headDim: Int) throws {
    #expect(throws: HardwareError.self) {
      try KVLayout(type: .bfloat16, blockTokens: tokens, headCount: heads, headDim: headDim, layerCount: 1)
    }
  }
}
