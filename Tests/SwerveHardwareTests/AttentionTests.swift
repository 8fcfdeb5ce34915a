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
    Case(
      headDim: 96, queryHeads: 8, kvHeads: 2, blockTokens: 16,
      pieces: [Piece(context: 47, rows: 1), Piece(context: 250, rows: 12)]),
    Case(headDim: 256, queryHeads: 2, kvHeads: 2, blockTokens: 32, window: 40, pieces: [Piece(context: 90, rows: 20)]),
  ]

  /// A kernel set, the type of the rows and the type of the cache.
  struct Kind: Sendable, CustomStringConvertible {
    var set: KernelSet
    var type: ElementType
    var kvType: KVType
    var description: String { "\(set.rawValue) \(type.rawValue) in \(kvType.rawValue)" }

    /// What attention computes in: the cache's type, bfloat16 for codes.
    var computeType: ElementType { kvType.isScaled ? .bfloat16 : ElementType(rawValue: kvType.rawValue) ?? .bfloat16 }
  }

  static let kinds: [Kind] = setsAndTypes.flatMap { kernels in
    KVType.allCases.map { Kind(set: kernels.0, type: kernels.1, kvType: $0) }
  }

  /// A cache with random keys and values in shuffled blocks, all other slots NaN, and a step on it.
  struct Scene {
    var device: CPUDevice
    var cache: KVCache
    var batch: AttentionBatch
    var q: Rows
    var tables: [[BlockID]] = []
    var test: Case
    var kind: Kind

    init(
      _ test: Case, _ kind: Kind, threads: Int, only: Int? = nil, lastRows: Int? = nil, seed: UInt64 = 41
    ) throws {
      self.test = test
      self.kind = kind
      device = try SwerveHardwareTests.device(kind.set, threads: threads)
      var random = Random(seed)
      let layout = try KVLayout(
        type: kind.kvType, blockTokens: test.blockTokens, headCount: test.kvHeads, headDim: test.headDim, layerCount: 2)
      let totals = test.pieces.map { ($0.context + $0.rows + test.blockTokens - 1) / test.blockTokens }
      cache = try KVCache(layout: layout, blockCount: totals.reduce(0, +) + 3, device: device)
      for layer in 0..<2 {
        for block in 0..<cache.blockCount {
          memset(cache.address(layer: layer, block: BlockID(block)), 0xff, layout.blockLayerBytes)
        }
      }
      var order = Random(seed + 1)
      var free = Array(0..<cache.blockCount).shuffled(using: &order)
      batch = try AttentionBatch(
        device: device, layout: layout, queryHeads: test.queryHeads, maxRows: 300, maxSequences: 8,
        maxBlockEntries: 400,
        window: test.window)
      let width = test.kvHeads * test.headDim
      var queries: [[Float]] = []
      for (index, piece) in test.pieces.enumerated() {
        let tokens = piece.context + piece.rows
        let k = random.floats(tokens * width), v = random.floats(tokens * width)
        let kRows = Rows(k, kind.type, rows: tokens, columns: width)
        let vRows = Rows(v, kind.type, rows: tokens, columns: width)
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
      q = Rows(flat, kind.type, rows: row, columns: test.queryHeads * test.headDim)
      batch.prepare(sequences: sequences.span, blocks: blocks.span)
    }

    /// Keys and values of a sequence as the cache has them, [position][kv head × d].
    func stored(_ sequence: Int) -> (keys: [[Float]], values: [[Float]]) {
      let tokens = test.pieces[sequence].context + test.pieces[sequence].rows
      let read = (0..<tokens).map { position in
        CacheReader(cache: cache, layer: 1)
          .token(tables[sequence][position / test.blockTokens], position % test.blockTokens)
      }
      return (read.map(\.keys), read.map(\.values))
    }

    func run() -> Rows {
      let o = Rows(q.tensor.type, q.tensor.rows, q.tensor.columns)
      device.attention(
        q: q.tensor, cache: cache, layer: 1, batch: batch, scale: 1 / Float(test.headDim).squareRoot(), into: o.tensor)
      return o
    }
  }

  @Test(arguments: kinds, cases)
  func `Attention agrees with double precision and unwritten slots never leak`(_ kind: Kind, _ test: Case) throws {
    let scene = try Scene(test, kind, threads: 2)
    let o = scene.run()
    let d = test.headDim, group = test.queryHeads / test.kvHeads
    var row = 0
    for (index, piece) in test.pieces.enumerated() {
      let (keys, values) = scene.stored(index)
      for r in 0..<piece.rows {
        let position = piece.context + r
        let low = max(0, position + 1 - (test.window ?? .max / 2))
        for head in 0..<test.queryHeads {
          let part = head / group * d
          let scores = (low...position).map { token in
            (0..<d).reduce(0.0) {
              $0 + Double(rounded(scene.q[row, head * d + $1], to: kind.computeType)) * Double(keys[token][part + $1])
            } / Double(d).squareRoot()
          }
          let top = scores.max() ?? 0
          let weights = scores.map { exp($0 - top) }
          let sum = weights.reduce(0, +)
          for i in 0..<d {
            let expected =
              zip(low...position, weights).reduce(0.0) {
                $0 + $1.1 * Double(values[$1.0][part + i])
              } / sum
            // Weights are rounded to the type too; values lie in -1 ..< 1.
            let round = max(Tolerance.of(kind.type).round, Tolerance.of(kind.computeType).round)
            let allowed = 2 * round + 4e-6
            try #require(abs(Double(o[row, head * d + i]) - expected) <= allowed, "row \(row) head \(head) dim \(i)")
          }
        }
        row += 1
      }
    }
  }

  @Test(arguments: kinds, cases)
  func `A row's bits depend on neither batch, chunk, threads nor the size of blocks`(_ kind: Kind, _ test: Case) throws
  {
    let whole = try Scene(test, kind, threads: 1).run()
    for blockTokens in [16, 32, 128] {
      var other = test
      other.blockTokens = blockTokens
      let again = try Scene(other, kind, threads: 2).run()
      for row in 0..<whole.tensor.rows {
        try #require(again.rowBits(row) == whole.rowBits(row), "blocks of \(blockTokens)")
      }
    }
    for threads in 2...3 {
      let again = try Scene(test, kind, threads: threads).run()
      for row in 0..<whole.tensor.rows { try #require(again.rowBits(row) == whole.rowBits(row), "\(threads) threads") }
    }
    var first = 0
    for (index, piece) in test.pieces.enumerated() {
      for count in Set([1, 2, 3, piece.rows / 2, piece.rows]) where count > 0 && count <= piece.rows {
        let alone = try Scene(test, kind, threads: 2, only: index, lastRows: count).run()
        for row in 0..<count {
          let place = first + piece.rows - count + row
          try #require(alone.rowBits(row) == whole.rowBits(place), "sequence \(index), last \(count) rows")
        }
      }
      first += piece.rows
    }
  }

  @Test(arguments: KVType.allCases, [16, 64])
  func `A copied block reads like the original in every layer, scales included`(_ type: KVType, _ tokens: Int) throws {
    let device = try device(.scalar)
    let layout = try KVLayout(type: type, blockTokens: tokens, headCount: 2, headDim: 24, layerCount: 3)
    let cache = try KVCache(layout: layout, blockCount: 4, device: device)
    var generator = SystemRandomNumberGenerator()
    for layer in 0..<3 {
      let bytes = UnsafeMutableRawBufferPointer(
        start: cache.address(layer: layer, block: BlockID(1)), count: layout.blockLayerBytes)
      for index in bytes.indices { bytes[index] = UInt8.random(in: 1...UInt8.max, using: &generator) }
    }
    cache.copyBlock(from: BlockID(1), to: BlockID(3))
    // In place is nothing to do, and no overlap.
    cache.copyBlock(from: BlockID(3), to: BlockID(3))
    for layer in 0..<3 {
      let from = cache.address(layer: layer, block: BlockID(1)), to = cache.address(layer: layer, block: BlockID(3))
      #expect(memcmp(from, to, layout.blockLayerBytes) == 0)
      // Nobody else's bytes: the neighbours are as they were.
      for other in [0, 2] {
        let bytes = UnsafeRawBufferPointer(
          start: cache.address(layer: layer, block: BlockID(other)), count: layout.blockLayerBytes)
        #expect(bytes.allSatisfy { $0 == 0 })
      }
    }
  }

  @Test(arguments: [KVType.int8, .fp8E4M3, .fp8E5M2])
  func `Codes refuse a head_dim that is no multiple of 4 and name one that works`(_ type: KVType) throws {
    let sentence =
      "head_dim 66 is not possible with \(type.rawValue) keys and values; use a multiple of 4, or another type"
    #expect {
      try KVLayout(type: type, blockTokens: 16, headCount: 2, headDim: 66, layerCount: 1)
    } throws: { "\($0)".contains(sentence) }
    let layout = try KVLayout(type: type, blockTokens: 32, headCount: 2, headDim: 64, layerCount: 3)
    #expect(layout.tokenBytes == 3 * 2 * 2 * (64 + 2))
  }

  @Test(arguments: [(8, 2, 64), (256, 2, 64), (16, 2, 63), (16, 2, 1024), (16, 0, 64)])
  func `Impossible layouts are refused`(_ tokens: Int, _ heads: Int, _ headDim: Int) throws {
    #expect(throws: HardwareError.self) {
      try KVLayout(type: .bfloat16, blockTokens: tokens, headCount: heads, headDim: headDim, layerCount: 1)
    }
  }
}
