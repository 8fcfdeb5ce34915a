internal import CSwerveKernels

// Sequences of which some blocks lie elsewhere. Their partitions are attended to by one holder after the other, in
// index order; what a tile has so far (maxima, sums, outputs in float32) goes from each to the next. It is the
// arithmetic of one pass with stops between, so it changes no bit; `states` is where the values come in and wait to
// go out.
extension AttentionBatch {
  /// A sequence of the step that is here in part.
  struct Share {
    /// Its rows among those of all shares.
    var rows: Range<Int>
    /// Whether somebody attended to what comes before, and somebody goes on.
    var continues: Bool
    var goesOn: Bool
  }

  /// Bytes of the values that come from those before this one, for the step's sequences in order.
  package var incomingStateBytes: Int { bytes { $0.continues } }
  /// Bytes of the values for those who go on.
  package var outgoingStateBytes: Int { bytes { $0.goesOn } }

  private func bytes(_ takesPart: (Share) -> Bool) -> Int {
    var rows = 0
    for share in shares where takesPart(share) { rows += share.rows.count }
    return rows * rowStateBytes
  }

  private var rowStateBytes: Int { Self.stateBytes(rows: 1, queryHeads: queryHeads, headDim: layout.headDim) }

  /// Before a layer's attention: the values that came in, `incomingStateBytes` of them.
  package func takeStates(_ bytes: UnsafeRawPointer) {
    var at = bytes
    for share in shares where share.continues {
      let count = share.rows.count * rowStateBytes
      (UnsafeMutableRawPointer(states) + share.rows.lowerBound * rowStateBytes).copyMemory(from: at, byteCount: count)
      at += count
    }
  }

  /// After it: the values that go out, `outgoingStateBytes` of them.
  package func giveStates(_ bytes: UnsafeMutableRawPointer) {
    var at = bytes
    for share in shares where share.goesOn {
      let count = share.rows.count * rowStateBytes
      at.copyMemory(from: UnsafeRawPointer(states) + share.rows.lowerBound * rowStateBytes, byteCount: count)
      at += count
    }
  }

  func removeShares() {
    sharedRows = 0
    if !shares.isEmpty { shares.removeAll(keepingCapacity: true) }
  }

  /// Whether a share is of whole partitions that the sequence reaches, and its entries are in the tables.
  func holds(_ s: AttentionSequence, entries: Int) -> Bool {
    guard takesShares, let share = s.share, !share.isEmpty, share.lowerBound >= 0 else { return false }
    let blocks = Self.partition / layout.blockTokens
    let end = Int(s.contextTokens) + Int(s.rowCount)
    return Int(share.lowerBound) % blocks == 0 && Int(share.lowerBound) * layout.blockTokens < end
      && (Int(share.upperBound) % blocks == 0 || Int(share.upperBound) * layout.blockTokens >= end)
      && Int(s.firstBlock) + share.count <= entries
  }

  func addShare(_ s: AttentionSequence) {
    guard let share = s.share else { return }
    let end = Int(s.contextTokens) + Int(s.rowCount)
    shares.append(
      Share(
        rows: sharedRows..<sharedRows + Int(s.rowCount), continues: share.lowerBound > 0,
        goesOn: Int(share.upperBound) * layout.blockTokens < end))
    sharedRows += Int(s.rowCount)
  }

  /// One item a tile, over the partitions that are here; none of them where the tile sees none, for its values go on
  /// all the same.
  func appendShare(_ s: AttentionSequence, after stateRows: inout Int) {
    guard let share = s.share else { return }
    let blocks = Self.partition / layout.blockTokens
    let own = Int(share.lowerBound) / blocks..<(Int(share.upperBound) + blocks - 1) / blocks
    let isLast = Int(share.upperBound) * layout.blockTokens >= Int(s.contextTokens) + Int(s.rowCount)
    let pairs = Int(s.rowCount) * (queryHeads / layout.headCount)
    for begin in stride(from: 0, to: pairs, by: Self.tile) {
      let end = min(pairs, begin + Self.tile)
      let tile = partitions(s, pairs: begin..<end)
      let here = tile.clamped(to: own)
      append(
        swerve_attention_item(
          first_row: s.firstRow, context_tokens: s.contextTokens, first_block: s.firstBlock - share.lowerBound,
          query_begin: Int32(begin), query_end: Int32(end), partition_begin: Int32(here.lowerBound),
          partition_end: Int32(here.upperBound), partial: -1, tile_partitions: Int32(tile.count),
          tile_partition_begin: Int32(tile.lowerBound),
          state: Int32(stateRows * queryHeads + layout.headCount * begin), is_first: share.lowerBound == 0,
          is_last: isLast))
    }
    stateRows += Int(s.rowCount)
  }
}
