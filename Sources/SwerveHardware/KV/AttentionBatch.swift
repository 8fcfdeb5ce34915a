// Keys and values as bytes: where they lie, who owns them, how attention over them is split into work. It must not know
// which sequence owns a block or when one is freed.
// Start with KVLayout.swift, then AttentionBatch below.

internal import CSwerveKernels
package import SwerveCore

/// One sequence's rows of a step, as attention sees them.
package struct AttentionSequence: Sendable, Hashable {
  /// First row in q, k, v and o.
  package var firstRow: Int32
  /// Rows of this step, ≥ 1.
  package var rowCount: Int32
  /// Tokens in the cache before this step: the position of the first row.
  package var contextTokens: Int32
  /// First entry of the sequence in the block tables.
  package var firstBlock: Int32
  /// Positions of its table that are here, where some are elsewhere: from a whole partition on, to a whole one or to
  /// the last row's. nil: all are.
  package var share: Range<Int32>?

  package init(
    firstRow: Int32, rowCount: Int32, contextTokens: Int32, firstBlock: Int32, share: Range<Int32>? = nil
  ) {
    self.firstRow = firstRow
    self.rowCount = rowCount
    self.contextTokens = contextTokens
    self.firstBlock = firstBlock
    self.share = share
  }
}

/// Attention's plan for a step: the work items, built once and used for all layers, and the scratch for partial results.
/// All memory is taken at `init` from declared maxima; `prepare` allocates nothing.
///
/// Not for two threads at once.
package final class AttentionBatch {
  package let maxRows: Int
  package let maxSequences: Int
  package let maxBlockEntries: Int
  package let queryHeads: Int
  package let layout: KVLayout
  /// Attention sees the token itself and the `window - 1` before it; nil: all.
  package let window: Int?
  /// Where blocks begin that are not in memory; nil: all are.
  package let staging: Staging?
  /// Whether sequences may be here in part; see `AttentionBatch+Shares.swift`.
  package let takesShares: Bool

  private let itemStorage: DeviceBuffer
  private let mergeStorage: DeviceBuffer
  private let blockStorage: DeviceBuffer
  private let slotStorage: DeviceBuffer
  private let partialStorage: DeviceBuffer
  private let stateStorage: DeviceBuffer
  private let itemCapacity: Int
  private let partialCapacity: Int
  private let threadCount: Int
  private(set) var itemCount = 0
  private(set) var mergeCount = 0
  private var partialCount = 0
  package private(set) var rowCount = 0
  /// The last slot that the step writes.
  private(set) var highestSlot: Int64 = -1

  /// What must be read before it can be attended to, in the order of attention; see `AttentionBatch+Staging.swift`.
  package internal(set) var segments: [StagedSegment] = []
  package internal(set) var pieces: [StagedPiece] = []
  var stagedItems: [swerve_attention_item] = []
  /// Sequences that are here in part, in the step's order.
  var shares: [Share] = []
  /// Rows of those.
  var sharedRows = 0

  /// - Parameters:
  ///   - maxRows: most rows of a step. - maxSequences: most sequences of a step.
  ///   - maxBlockEntries: most entries of a step's block tables together.
  ///   - window: sliding window in tokens, ≥ 1.
  /// Memory: about 40 bytes a possible item, and partials of `scratchBytes`. Where these do not suffice, tiles are not split.
  package init(
    device: CPUDevice, layout: KVLayout, queryHeads: Int, maxRows: Int, maxSequences: Int, maxBlockEntries: Int,
    window: Int? = nil, scratchBytes: Int = 16 << 20, staging: Staging? = nil, takesShares: Bool = false
  ) throws(HardwareError) {
    guard queryHeads > 0, queryHeads % layout.headCount == 0 else {
      throw .shape("\(queryHeads) query heads cannot be grouped over \(layout.headCount) KV heads")
    }
    guard maxRows > 0, maxSequences > 0, maxBlockEntries > 0, window.map({ $0 > 0 }) ?? true else {
      throw .shape("attention needs at least one row, one sequence, one block and a window of at least 1")
    }
    self.layout = layout
    self.queryHeads = queryHeads
    self.maxRows = maxRows
    self.maxSequences = maxSequences
    self.maxBlockEntries = maxBlockEntries
    self.window = window
    self.staging = staging
    self.takesShares = takesShares
    self.threadCount = device.threadCount
    let group = queryHeads / layout.headCount
    let tiles = (maxRows * group + Self.tile - 1) / Self.tile + maxSequences
    let recordBytes = swerve_partial_floats(layout.headDim) * 4
    self.partialCapacity = max(0, scratchBytes / recordBytes)
    // Each tile has its items of `longest` partitions and one for the rest; of the former there are in all at most
    // twice the eight units a thread, because `longest` is rounded down.
    self.itemCapacity = 2 * tiles + 16 * device.threadCount
    self.itemStorage = try device.allocate(byteCount: itemCapacity * MemoryLayout<swerve_attention_item>.stride)
    self.mergeStorage = try device.allocate(byteCount: tiles * MemoryLayout<swerve_attention_item>.stride)
    self.blockStorage = try device.allocate(byteCount: maxBlockEntries * 4)
    self.slotStorage = try device.allocate(byteCount: maxRows * 8)
    self.partialStorage = try device.allocate(byteCount: partialCapacity * recordBytes)
    self.stateStorage = try device.allocate(
      byteCount: staging == nil && !takesShares
        ? 0 : Self.stateBytes(rows: maxRows, queryHeads: queryHeads, headDim: layout.headDim))
    if takesShares { shares.reserveCapacity(maxSequences) }
  }

  static let tile = Int(SWERVE_QUERY_TILE)
  package static let partition = Int(SWERVE_PARTITION_TOKENS)

  /// Plans a step: block tables and slots are copied, work is split over sequence × KV head × query tile, and a tile over
  /// ranges of its partitions where it is a large share of the step. The split changes no bit of the result.
  ///
  /// - Precondition: within the maxima; each block table reaches to the sequence's last token; block ids are in range of
  ///   the cache.
  package func prepare(sequences: Span<AttentionSequence>, blocks: Span<BlockID>) {
    precondition(sequences.count <= maxSequences && blocks.count <= maxBlockEntries, "step above its declared maxima")
    itemCount = 0
    mergeCount = 0
    partialCount = 0
    rowCount = 0
    highestSlot = -1
    removeSegments()
    removeShares()
    for index in blocks.indices { self.blocks[index] = blocks[index].rawValue }
    let group = queryHeads / layout.headCount
    var partitions = 0
    for index in sequences.indices {
      let s = sequences[index]
      precondition(s.rowCount > 0 && s.firstRow >= 0 && s.contextTokens >= 0 && s.firstBlock >= 0, "malformed sequence")
      precondition(Int(s.firstRow) + Int(s.rowCount) <= maxRows, "step above its declared maxima")
      if s.share != nil {
        precondition(holds(s, entries: blocks.count), "a share of a sequence that is none")
        rowCount = max(rowCount, Int(s.firstRow) + Int(s.rowCount))
        fillSlots(s)
        addShare(s)
        continue
      }
      let lastBlock = Int(s.firstBlock) + (Int(s.contextTokens) + Int(s.rowCount) - 1) / layout.blockTokens
      precondition(lastBlock < blocks.count, "block table shorter than its sequence")
      rowCount = max(rowCount, Int(s.firstRow) + Int(s.rowCount))
      fillSlots(s)
      if isStaged(s) { continue }
      for begin in stride(from: 0, to: Int(s.rowCount) * group, by: Self.tile) {
        partitions += self.partitions(s, pairs: begin..<min(Int(s.rowCount) * group, begin + Self.tile)).count
      }
    }
    // Units of at most an eighth of a thread's work keep all of them busy to the end.
    let longest = threadCount > 1 ? max(1, partitions * layout.headCount / (8 * threadCount)) : .max
    var stateRows = 0
    for index in sequences.indices {
      let s = sequences[index]
      if s.share != nil {
        appendShare(s, after: &stateRows)
      } else if isStaged(s) {
        appendSegments(s, index: index)
      } else {
        appendItems(s, group: group, longest: longest)
      }
    }
  }

  /// Partitions that a tile of (query token, head of the group) pairs sees.
  func partitions(_ s: AttentionSequence, pairs: Range<Int>) -> Range<Int> {
    let group = queryHeads / layout.headCount
    let firstPosition = Int(s.contextTokens) + pairs.lowerBound / group
    let lastPosition = Int(s.contextTokens) + (pairs.upperBound - 1) / group
    let low = window.map { max(0, firstPosition + 1 - $0) } ?? 0
    return low / Self.partition..<lastPosition / Self.partition + 1
  }

  private func fillSlots(_ s: AttentionSequence) {
    let tokens = layout.blockTokens
    for row in 0..<Int(s.rowCount) {
      let position = Int(s.contextTokens) + row
      var entry = position / tokens
      if let share = s.share {
        guard share.contains(Int32(entry)) else {
          // Somebody else writes it.
          slots[Int(s.firstRow) + row] = -1
          continue
        }
        entry -= Int(share.lowerBound)
      }
      let block = Int(blocks[Int(s.firstBlock) + entry])
      let slot = Int64(block * tokens + position % tokens)
      slots[Int(s.firstRow) + row] = slot
      highestSlot = max(highestSlot, slot)
    }
  }

  private func appendItems(_ s: AttentionSequence, group: Int, longest: Int) {
    let pairs = Int(s.rowCount) * group
    for begin in stride(from: 0, to: pairs, by: Self.tile) {
      let end = min(pairs, begin + Self.tile)
      let partitions = self.partitions(s, pairs: begin..<end)
      var item = swerve_attention_item(
        first_row: s.firstRow, context_tokens: s.contextTokens, first_block: s.firstBlock, query_begin: Int32(begin),
        query_end: Int32(end), partition_begin: Int32(partitions.lowerBound),
        partition_end: Int32(partitions.upperBound),
        partial: -1, tile_partitions: Int32(partitions.count), tile_partition_begin: Int32(partitions.lowerBound),
        state: -1, is_first: true, is_last: true)
      let needed = layout.headCount * partitions.count * (end - begin)
      guard partitions.count > longest, partialCount + needed <= partialCapacity else {
        append(item)
        continue
      }
      item.partial = Int32(partialCount)
      partialCount += needed
      merges[mergeCount] = item
      mergeCount += 1
      for first in stride(from: partitions.lowerBound, to: partitions.upperBound, by: longest) {
        item.partition_begin = Int32(first)
        item.partition_end = Int32(min(first + longest, partitions.upperBound))
        append(item)
      }
    }
  }

  func append(_ item: swerve_attention_item) {
    precondition(itemCount < itemCapacity, "more attention items than planned for")
    items[itemCount] = item
    itemCount += 1
  }

  var items: UnsafeMutablePointer<swerve_attention_item> {
    itemStorage.pointer.assumingMemoryBound(to: swerve_attention_item.self)
  }
  var merges: UnsafeMutablePointer<swerve_attention_item> {
    mergeStorage.pointer.assumingMemoryBound(to: swerve_attention_item.self)
  }
  var blocks: UnsafeMutablePointer<Int32> { blockStorage.pointer.assumingMemoryBound(to: Int32.self) }
  /// [rows] where each row's key and value go: block × block size + offset.
  var slots: UnsafeMutablePointer<Int64> { slotStorage.pointer.assumingMemoryBound(to: Int64.self) }
  var partials: UnsafeMutablePointer<Float> { partialStorage.pointer.assumingMemoryBound(to: Float.self) }
  var states: UnsafeMutablePointer<Float> { stateStorage.pointer.assumingMemoryBound(to: Float.self) }

  /// Bytes of all scratch.
  package var byteCount: Int {
    itemStorage.byteCount + mergeStorage.byteCount + blockStorage.byteCount + slotStorage.byteCount
      + partialStorage.byteCount + stateStorage.byteCount
  }
}
