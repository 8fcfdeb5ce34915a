import Glibc
import SwerveCore
import SwerveHardware
import Testing

/// Attention over a sequence that lies with several holders, who hand its running values on, gives the bits of one.
@Suite struct AttentionShareTests {
  static let cases =
    AttentionTests.cases + [
      AttentionTests.Case(
        headDim: 64, queryHeads: 8, kvHeads: 2, blockTokens: 16,
        pieces: [.init(context: 1500, rows: 1), .init(context: 30, rows: 3), .init(context: 730, rows: 70)]),
      AttentionTests.Case(
        headDim: 64, queryHeads: 14, kvHeads: 2, blockTokens: 32,
        pieces: [.init(context: 500, rows: 40), .init(context: 1279, rows: 1), .init(context: 1280, rows: 1)]),
      AttentionTests.Case(
        headDim: 32, queryHeads: 4, kvHeads: 1, blockTokens: 64, window: 500,
        pieces: [.init(context: 1400, rows: 40), .init(context: 2000, rows: 1)]),
    ]

  /// A holder's cache and plan.
  private struct Holder {
    var cache: KVCache
    var batch: AttentionBatch
    /// Rows of the step, in the holder's order.
    var rows: [Int] = []
    var q: Rows
    var o: Rows
  }

  /// What one holder has in a turn: of each sequence the table positions `share`, its keys and values copied there,
  /// all else destroyed.
  private func holder(_ scene: AttentionTests.Scene, shares: [Range<Int>?]) throws -> Holder? {
    let test = scene.test, layout = scene.cache.layout
    let cache = try KVCache(layout: layout, blockCount: scene.cache.blockCount, device: scene.device)
    memset(cache.address(layer: 0, block: BlockID(0)), 0xff, cache.byteCount)
    let batch = try AttentionBatch(
      device: scene.device, layout: layout, queryHeads: test.queryHeads, maxRows: 300, maxSequences: 8,
      maxBlockEntries: 400, window: test.window, takesShares: true)
    var sequences: [AttentionSequence] = []
    var blocks: [BlockID] = []
    var rows: [Int] = []
    var first = 0
    for (index, piece) in test.pieces.enumerated() {
      defer { first += piece.rows }
      guard let share = shares[index] else { continue }
      let table = scene.tables[index]
      for block in table[share] {
        for layer in 0..<layout.layerCount {
          memcpy(
            cache.address(layer: layer, block: block), scene.cache.address(layer: layer, block: block),
            layout.blockLayerBytes)
        }
      }
      sequences.append(
        AttentionSequence(
          firstRow: Int32(rows.count), rowCount: Int32(piece.rows), contextTokens: Int32(piece.context),
          firstBlock: Int32(blocks.count),
          share: share == table.indices ? nil : Int32(share.lowerBound)..<Int32(share.upperBound)))
      blocks += table[share]
      rows += first..<first + piece.rows
    }
    if rows.isEmpty { return nil }
    batch.prepare(sequences: sequences.span, blocks: blocks.span)
    let q = Rows(scene.q.tensor.type, rows.count, scene.q.tensor.columns)
    for (place, row) in rows.enumerated() {
      memcpy(
        q.tensor.pointer + place * q.tensor.rowBytes, scene.q.tensor.pointer + row * q.tensor.rowBytes,
        q.tensor.rowBytes)
    }
    return Holder(
      cache: cache, batch: batch, rows: rows, q: q, o: Rows(q.tensor.type, rows.count, q.tensor.columns))
  }

  /// The table positions of each turn: cut after so many partitions.
  private func turns(_ test: AttentionTests.Case, _ piece: AttentionTests.Piece, partitions: Int) -> [Range<Int>] {
    let count = (piece.context + piece.rows + test.blockTokens - 1) / test.blockTokens
    let step = partitions * 256 / test.blockTokens
    return stride(from: 0, to: count, by: step).map { $0..<min($0 + step, count) }
  }

  @Test(arguments: AttentionTests.kinds, cases)
  func `Who holds which partitions changes no bit`(_ kind: AttentionTests.Kind, _ test: AttentionTests.Case) throws {
    let scene = try AttentionTests.Scene(test, kind, threads: 2)
    let expected = scene.run()
    let scale = 1 / Float(test.headDim).squareRoot()
    let rowBytes = AttentionBatch.stateBytes(rows: 1, queryHeads: test.queryHeads, headDim: test.headDim)
    for partitions in 1...2 {
      let turns = test.pieces.map { self.turns(test, $0, partitions: partitions) }
      let o = Rows(expected.tensor.type, expected.tensor.rows, expected.tensor.columns)
      var states = [UInt8](repeating: 0xff, count: expected.tensor.rows * rowBytes)
      for turn in 0..<(turns.map(\.count).max() ?? 0) {
        let shares = turns.map { turn < $0.count ? $0[turn] : nil }
        guard let holder = try holder(scene, shares: shares) else { continue }
        let batch = holder.batch
        var incoming: [UInt8] = []
        var goingOn: [Range<Int>] = []
        var first = 0
        for (index, piece) in test.pieces.enumerated() {
          let rows = first..<first + piece.rows
          first += piece.rows
          if shares[index] == nil { continue }
          if turn > 0 { incoming += states[rows.lowerBound * rowBytes..<rows.upperBound * rowBytes] }
          if turn + 1 < turns[index].count { goingOn.append(rows) }
        }
        #expect(batch.incomingStateBytes == incoming.count)
        #expect(batch.outgoingStateBytes == goingOn.reduce(0) { $0 + $1.count } * rowBytes)
        incoming.withUnsafeBytes { if let start = $0.baseAddress { batch.takeStates(start) } }
        scene.device.attention(
          q: holder.q.tensor, cache: holder.cache, layer: 1, batch: batch, scale: scale, into: holder.o.tensor)
        var outgoing = [UInt8](repeating: 0, count: batch.outgoingStateBytes)
        outgoing.withUnsafeMutableBytes { if let start = $0.baseAddress { batch.giveStates(start) } }
        var at = 0
        for rows in goingOn {
          let count = rows.count * rowBytes
          states.replaceSubrange(
            rows.lowerBound * rowBytes..<rows.upperBound * rowBytes, with: outgoing[at..<at + count])
          at += count
        }
        for (place, row) in holder.rows.enumerated() where !goingOn.contains(where: { $0.contains(row) }) {
          memcpy(
            o.tensor.pointer + row * o.tensor.rowBytes, holder.o.tensor.pointer + place * o.tensor.rowBytes,
            o.tensor.rowBytes)
        }
      }
      for row in 0..<expected.tensor.rows {
        try #require(o.rowBits(row) == expected.rowBits(row), "row \(row), \(partitions) partitions each")
      }
    }
  }

  /// Each holder writes the keys and values of positions that are its own, and nothing else.
  @Test func `Rows are written where their block is`() throws {
    let device = try device(.scalar)
    let layout = try KVLayout(type: .float32, blockTokens: 16, headCount: 1, headDim: 8, layerCount: 1)
    let rows = 40
    let k = Rows([Float](repeating: 1, count: rows * 8), .float32, rows: rows, columns: 8)
    for (share, written) in [(0..<16, 16), (16..<18, 24)] as [(Range<Int32>, Int)] {
      let cache = try KVCache(layout: layout, blockCount: 18, device: device)
      let batch = try AttentionBatch(
        device: device, layout: layout, queryHeads: 1, maxRows: rows, maxSequences: 1, maxBlockEntries: 18,
        takesShares: true)
      let sequences = [
        AttentionSequence(firstRow: 0, rowCount: 40, contextTokens: 240, firstBlock: 0, share: share)
      ]
      let blocks = share.map { BlockID($0 - share.lowerBound) }
      batch.prepare(sequences: sequences.span, blocks: blocks.span)
      device.writeKV(k: k.tensor, v: k.tensor, into: KVSlots(cache: cache, layer: 0, batch: batch))
      var ones = 0
      for block in 0..<18 {
        let bytes = cache.address(layer: 0, block: BlockID(block)).assumingMemoryBound(to: Float.self)
        for index in 0..<layout.blockLayerBytes / 4 where bytes[index] == 1 { ones += 1 }
      }
      #expect(ones == written * 16, "\(share)")
    }
  }

  @Test func `Partitions are what the shared word says`() {
    #expect(AttentionBatch.partition == AttentionPartition.tokens)
  }
}
