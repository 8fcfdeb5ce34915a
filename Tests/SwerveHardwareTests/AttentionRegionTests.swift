import Glibc
import SwerveCore
import SwerveHardware
import Testing

/// Attention over blocks on the device, in host memory and in the staging ring gives the bits it gives with all of them
/// on the device.
@Suite struct AttentionRegionTests {
  static let cases =
    AttentionTests.cases + [
      AttentionTests.Case(
        headDim: 64, queryHeads: 8, kvHeads: 2, blockTokens: 16,
        pieces: [.init(context: 1500, rows: 1), .init(context: 30, rows: 3), .init(context: 900, rows: 70)]),
      AttentionTests.Case(
        headDim: 32, queryHeads: 4, kvHeads: 1, blockTokens: 64, window: 500,
        pieces: [.init(context: 1400, rows: 40), .init(context: 2000, rows: 1)]),
    ]

  /// What a block's number became, and where blocks that must be staged wait.
  private struct Moved {
    var cache: KVCache
    var tables: [[BlockID]] = []
    /// By number behind the first staged one: the layers' bytes.
    var file: [[UInt8]] = []
    var hostCount = 0
  }

  /// The same blocks on another cache, each moved to the host, to the file or not at all, at random; what left the device
  /// is destroyed there.
  private func moved(_ scene: AttentionTests.Scene, seed: UInt64) throws -> Moved {
    let layout = scene.cache.layout, count = scene.cache.blockCount
    let host = try HostRegion(layout: layout, placeCount: count, device: scene.device)
    memset(host.firstByte, 0xff, host.placeStride * count)
    let ring = try StagingRegion(
      layout: layout, placeCount: 256 / layout.blockTokens + 1, device: scene.device)
    var moved = Moved(
      cache: try KVCache(layout: layout, blockCount: count, device: scene.device, host: host, staging: ring))
    for layer in 0..<layout.layerCount {
      for block in 0..<count {
        memcpy(
          moved.cache.address(layer: layer, block: BlockID(block)),
          scene.cache.address(layer: layer, block: BlockID(block)), layout.blockLayerBytes)
      }
    }
    var random = Random(seed)
    for table in scene.tables {
      moved.tables.append(
        table.map { block in
          let kind = Int.random(in: 0..<4, using: &random)
          if kind == 0 { return block }
          var id = BlockID(moved.cache.firstStaged + moved.file.count)
          if kind == 1 {
            id = BlockID(count + moved.hostCount)
            moved.hostCount += 1
            moved.cache.moveToHost(from: block, to: id)
          } else {
            var bytes = [UInt8](repeating: 0, count: layout.blockBytes)
            bytes.withUnsafeMutableBytes { moved.cache.pack(block, into: $0) }
            moved.file.append(bytes)
          }
          for layer in 0..<layout.layerCount {
            memset(moved.cache.address(layer: layer, block: block), 0xff, layout.blockLayerBytes)
          }
          return id
        })
    }
    return moved
  }

  private func run(_ scene: AttentionTests.Scene, _ moved: Moved, segmentBlocks: Int) throws -> (Rows, passes: Int) {
    let test = scene.test, layout = scene.cache.layout
    let batch = try AttentionBatch(
      device: scene.device, layout: layout, queryHeads: test.queryHeads, maxRows: 300, maxSequences: 8,
      maxBlockEntries: 400, window: test.window,
      staging: .init(firstBlock: moved.cache.firstStaged, segmentBlocks: segmentBlocks))
    var sequences: [AttentionSequence] = []
    var blocks: [BlockID] = []
    var row = 0
    for (index, piece) in test.pieces.enumerated() {
      sequences.append(
        AttentionSequence(
          firstRow: Int32(row), rowCount: Int32(piece.rows), contextTokens: Int32(piece.context),
          firstBlock: Int32(blocks.count)))
      blocks += moved.tables[index]
      row += piece.rows
    }
    batch.prepare(sequences: sequences.span, blocks: blocks.span)
    let o = Rows(scene.q.tensor.type, scene.q.tensor.rows, scene.q.tensor.columns)
    let scale = 1 / Float(test.headDim).squareRoot()
    let ring = try #require(moved.cache.staging)
    // Twice: the second layer's pieces take the places of the first one's.
    for layer in [0, 1] {
      scene.device.attention(
        q: scene.q.tensor, cache: moved.cache, layer: layer, batch: batch, scale: scale, into: o.tensor)
      for segment in batch.segments {
        #expect(segment.pieces.count <= max(segmentBlocks, 256 / layout.blockTokens))
        for (offset, piece) in segment.pieces.enumerated() {
          let place = (segment.pieces.lowerBound + offset) % ring.placeCount
          let begin = layer * layout.blockLayerBytes
          ring.piece(place).copyBytes(
            from: moved.file[Int(batch.pieces[piece].block)][begin..<begin + layout.blockLayerBytes])
          batch.stage(batch.pieces[piece], at: place)
        }
        scene.device.attention(
          segment: segment, q: scene.q.tensor, cache: moved.cache, layer: layer, batch: batch, scale: scale,
          into: o.tensor)
        for place in 0..<ring.placeCount { ring.piece(place).initializeMemory(as: UInt8.self, repeating: 0xff) }
      }
    }
    return (o, batch.segments.count)
  }

  @Test(arguments: AttentionTests.kinds, cases)
  func `Where a block lies changes no bit`(_ kind: AttentionTests.Kind, _ test: AttentionTests.Case) throws {
    let scene = try AttentionTests.Scene(test, kind, threads: 2)
    let expected = scene.run()
    var passes = 0
    for seed in [1, 2] as [UInt64] {
      let moved = try moved(scene, seed: seed)
      let (o, count) = try run(scene, moved, segmentBlocks: 256 / test.blockTokens)
      passes = max(passes, count)
      for row in 0..<expected.tensor.rows {
        try #require(o.rowBits(row) == expected.rowBits(row), "row \(row), seed \(seed)")
      }
    }
    let longest = test.pieces.map { ($0.context + $0.rows) / 256 }.max() ?? 0
    if longest >= 4 && test.window == nil { #expect(passes > 1, "the ring was never smaller than the sequence") }
  }
}
