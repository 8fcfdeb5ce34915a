package import SwerveCore

/// What the scheduler wants done below the device. Orders of a `schedule` are carried out before its plan is executed: the
/// swap-outs first, for the plan's moves and copies write to blocks that they read, then the plan's moves, then the loads,
/// which write to blocks that the moves read. Whoever carries them out empties the lists.
package struct TierOrders {
  /// Blocks that became full: worth a copy below, as long as nobody overwrote them.
  package var sealed: [SealedBlock] = []
  /// Sequences that lose their blocks and shall have them back.
  package var swapOuts: [SwapOut] = []
  /// Blocks to be filled from below.
  package var loads: [BlockLoad] = []
  /// Sequences whose blocks are asked for.
  package var reads: [ReadOrder] = []
  /// Reads that are over, by id: nothing of them is wanted any more.
  package var ended: [UInt64] = []

  package init() {}

  package var isEmpty: Bool {
    sealed.isEmpty && swapOuts.isEmpty && loads.isEmpty && reads.isEmpty && ended.isEmpty
  }
}

/// A block of the prefix cache that was not there before. Its tokens are the cache's.
package struct SealedBlock: Sendable, Hashable {
  package var block: BlockID
  /// The block before it; nil for the first of a chain.
  package var parent: BlockID?
  package var salt: [UInt8]
}

/// The full blocks of a sequence that is preempted, in order.
package struct SwapOut: Sendable {
  package var sequence: SequenceID
  package var salt: [UInt8]
  /// Of all these blocks.
  package var tokens: [TokenID]
  package var blocks: [BlockID]
}

/// A sequence's position that is taken from below.
package struct BlockLoad: Sendable, Hashable {
  /// The read that brought it.
  package var read: UInt64
  package var position: Int32
  /// The device's block to fill; nil: the device has the content by now, and only the read moves on.
  package var block: BlockID?
  /// Whether these are prompt tokens of a sequence that runs for the first time: a hit of the tier.
  package var isHit: Bool
}

/// A sequence's blocks from `first` on, below `limit`.
package struct ReadOrder: Sendable {
  package var id: UInt64
  package var sequence: SequenceID
  package var salt: [UInt8]
  /// Prompt and output.
  package var tokens: [TokenID]
  package var first: Int
  package var limit: Int
  /// The device's block before `first`, where it has one.
  package var parent: BlockID?
  /// Whether they are the sequence's own blocks, swapped out.
  package var isSwapped: Bool
}

/// How far a read has come.
package struct ReadReport: Sendable, Hashable {
  package var id: UInt64
  package var sequence: SequenceID
  /// Positions below are there.
  package var ready: Int
  /// Nothing from here on; nil = more may come.
  package var end: Int?
  /// The first position that went through a lower precision; nil: none of those that are ready.
  package var lossyFrom: Int?
  /// Whether more comes only when what is ready was loaded.
  package var isStalled: Bool

  package init(id: UInt64, sequence: SequenceID, ready: Int, end: Int?, lossyFrom: Int?, isStalled: Bool) {
    self.id = id
    self.sequence = sequence
    self.ready = ready
    self.end = end
    self.lossyFrom = lossyFrom
    self.isStalled = isStalled
  }
}
