import CAllocationCounter
import SwerveCore
import SwerveHardware
import Testing

@Suite struct AllocationTests {
  @Test(arguments: setsAndTypes, [nil, KVType.int8, .fp8E4M3])
  func `No operation allocates once it has run`(_ kernels: (KernelSet, ElementType), _ kvType: KVType?) throws {
    let (set, type) = kernels
    let device = try device(set, threads: 2)
    let (rows, hidden, heads, kvHeads, d) = (5, 64, 4, 2, 16)
    var random = Random(47)
    let layout = try KVLayout(
      type: kvType ?? KVType(type), blockTokens: 16, headCount: kvHeads, headDim: d, layerCount: 1)
    let cache = try KVCache(layout: layout, blockCount: 40, device: device)
    let batch = try AttentionBatch(
      device: device, layout: layout, queryHeads: heads, maxRows: 8, maxSequences: 4, maxBlockEntries: 40)
    let table = try device.packRandom(rows: [200], columns: hidden, seed: 1, scale: 1, type: type)
    let qkvWeight = try device.packRandom(
      rows: [heads * d, kvHeads * d, kvHeads * d], columns: hidden, seed: 2, scale: 1, type: type, withBias: true)
    let gate = try device.packRandom(
      rows: [96, 96], columns: hidden, seed: 3, scale: 1, type: type, layout: .interleaved16)
    let down = try device.packRandom(rows: [hidden], columns: 96, seed: 4, scale: 1, type: type)
    let residual = Rows(.float32, rows, hidden), x = Rows(type, rows, hidden), up = Rows(type, rows, 96)
    let qkv = Rows(.float32, rows, (heads + 2 * kvHeads) * d), logits = Rows(.float32, 2, 200),
      picked = Rows(type, 2, hidden)
    let q = Rows(type, rows, heads * d), k = Rows(type, rows, kvHeads * d), v = Rows(type, rows, kvHeads * d)
    let weight = Rows(random.floats(hidden), .float32, rows: 1, columns: hidden)
    let cosines = Rows(random.floats(rows * 8), .float32, rows: rows, columns: 8)
    let sines = Rows(random.floats(rows * 8), .float32, rows: rows, columns: 8)
    let tokens: [TokenID] = [1, 2, 3, 4, 199]
    let sampled: [Int32] = [0, 4]
    let requests = [RowRequest(.maxima), RowRequest(factor: 0.5, .sums)]
    let blocks = (0..<40).map { BlockID($0) }
    // One sequence over three partitions, so that the split and its merge run too.
    let sequences = [
      AttentionSequence(firstRow: 0, rowCount: 1, contextTokens: 600, firstBlock: 0),
      AttentionSequence(firstRow: 1, rowCount: 4, contextTokens: 0, firstBlock: 38),
    ]
    let statistics = Statistics(rows: 2, columns: 200)

    func step() {
      batch.prepare(sequences: sequences.span, blocks: blocks.span)
      device.embed(tokens.span, table: table, into: residual.tensor)
      device.rmsNorm(residual.tensor, weight: weight.tensor, epsilon: 1e-6, into: x.tensor)
      device.linear(x.tensor, qkvWeight, into: qkv.tensor)
      device.rotate(
        qkv.tensor, cosines: cosines.tensor, sines: sines.tensor, headDim: d, q: q.tensor, k: k.tensor, v: v.tensor)
      device.writeKV(k: k.tensor, v: v.tensor, into: KVSlots(cache: cache, layer: 0, batch: batch))
      device.attention(q: q.tensor, cache: cache, layer: 0, batch: batch, scale: 0.25, into: q.tensor)
      device.addRMSNorm(
        residual: residual.tensor, delta: residual.tensor, weight: weight.tensor, epsilon: 1e-6, into: x.tensor)
      device.linear(x.tensor, gate, epilogue: .siluMultiply, into: up.tensor)
      device.linear(up.tensor, down, epilogue: .accumulate, into: residual.tensor)
      device.convert(residual.tensor, into: x.tensor)
      device.gatherRows(x.tensor, indices: sampled.span, into: picked.tensor)
      requests.withUnsafeBufferPointer {
        guard let first = $0.baseAddress else { return }
        device.head(
          picked.tensor, table, into: logits.tensor, keepsLogits: true, requests: first, statistics: statistics.table)
      }
    }

    step()
    let before = allocation_count()
    for _ in 0..<3 { step() }
    #expect(allocation_count() == before)
    #expect(statistics.logSum(1, 0).isFinite)
  }
}
