internal import CSwerveKernels
internal import SwerveCore

/// A block of which each layer must be read before attention can see it.
package struct StagedPiece: Sendable, Hashable {
  /// Where it stands in the step's block tables.
  package var entry: Int32
  /// Its number behind the first staged block.
  package var block: Int32
}

/// A range of one sequence's partitions whose pieces fit the staging ring together: one pass of attention.
package struct StagedSegment: Sendable, Hashable {
  /// Index into the step's sequences.
  package var sequence: Int32
  /// Range of `AttentionBatch.pieces`; may be empty.
  package var pieces: Range<Int>
  /// Range of `AttentionBatch.stagedItems`.
  var items: Range<Int>
}

// Sequences with blocks that are not in memory. Their partitions are attended to in several passes, each over as many
// blocks as can be staged; between passes a tile's maxima, sums and outputs wait in `states`. Partitions are merged in
// index order with the same arithmetic either way, so passes change no bit.
extension AttentionBatch {
  package struct Staging: Sendable, Hashable {
    /// The first block id that must be staged.
    package var firstBlock: Int
    /// Most pieces of one segment; a partition's blocks at least.
    package var segmentBlocks: Int

    package init(firstBlock: Int, segmentBlocks: Int) {
      self.firstBlock = firstBlock
      self.segmentBlocks = segmentBlocks
    }
  }

  /// Bytes of the values between passes of so many rows.
  package static func stateBytes(rows: Int, queryHeads: Int, headDim: Int) -> Int {
    rows * queryHeads * swerve_partial_floats(headDim) * 4
  }

  /// The piece lies in this place of the staging ring now.
  package func stage(_ piece: StagedPiece, at place: Int) {
    guard let staging else { preconditionFailure("nothing is staged here") }
    blocks[Int(piece.entry)] = Int32(staging.firstBlock + place)
  }

  func removeSegments() {
    if segments.isEmpty { return }
    segments.removeAll(keepingCapacity: true)
    pieces.removeAll(keepingCapacity: true)
    stagedItems.removeAll(keepingCapacity: true)
  }

  /// Whether a block of the sequence is not in memory. O(blocks) where any can be.
  func isStaged(_ s: AttentionSequence) -> Bool {
    guard let staging else { return false }
    for entry in 0...lastBlock(s) where Int(blocks[Int(s.firstBlock) + entry]) >= staging.firstBlock { return true }
    return false
  }

  private func lastBlock(_ s: AttentionSequence) -> Int {
    (Int(s.contextTokens) + Int(s.rowCount) - 1) / layout.blockTokens
  }

  /// Cuts the sequence's partitions into segments and lists what each needs.
  func appendSegments(_ s: AttentionSequence, index: Int) {
    guard let staging else { return }
    let all = partitions(s, pairs: 0..<Int(s.rowCount) * (queryHeads / layout.headCount))
    let blocksPerPartition = Self.partition / layout.blockTokens
    let end = lastBlock(s) + 1
    var first = all.lowerBound
    var firstPiece = pieces.count
    for partition in all {
      let entries = partition * blocksPerPartition..<min((partition + 1) * blocksPerPartition, end)
      var needed = 0
      for entry in entries where Int(blocks[Int(s.firstBlock) + entry]) >= staging.firstBlock { needed += 1 }
      if partition > first && pieces.count - firstPiece + needed > staging.segmentBlocks {
        close(first..<partition, of: s, index: index, pieces: firstPiece..<pieces.count)
        first = partition
        firstPiece = pieces.count
      }
      for entry in entries {
        let block = Int(blocks[Int(s.firstBlock) + entry])
        guard block >= staging.firstBlock else { continue }
        pieces.append(StagedPiece(entry: s.firstBlock + Int32(entry), block: Int32(block - staging.firstBlock)))
      }
    }
    close(first..<all.upperBound, of: s, index: index, pieces: firstPiece..<pieces.count)
  }

  /// A segment over a range of partitions: each tile's share of it.
  private func close(_ range: Range<Int>, of s: AttentionSequence, index: Int, pieces: Range<Int>) {
    let firstItem = stagedItems.count
    let pairs = Int(s.rowCount) * (queryHeads / layout.headCount)
    for begin in stride(from: 0, to: pairs, by: Self.tile) {
      let end = min(pairs, begin + Self.tile)
      let tile = partitions(s, pairs: begin..<end)
      let share = tile.clamped(to: range)
      if share.isEmpty { continue }
      stagedItems.append(
        swerve_attention_item(
          first_row: s.firstRow, context_tokens: s.contextTokens, first_block: s.firstBlock,
          query_begin: Int32(begin), query_end: Int32(end), partition_begin: Int32(share.lowerBound),
          partition_end: Int32(share.upperBound), partial: -1, tile_partitions: Int32(tile.count),
          tile_partition_begin: Int32(tile.lowerBound),
          state: Int32(sharedRows * queryHeads + layout.headCount * begin),
          is_first: share.lowerBound == tile.lowerBound, is_last: share.upperBound == tile.upperBound))
    }
    segments.append(
      StagedSegment(sequence: Int32(index), pieces: pieces, items: firstItem..<stagedItems.count))
  }
}
