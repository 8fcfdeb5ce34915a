package import SwerveCore

/// A sequence that holds a slot: plain numbers, one entry per slot, read and written every step.
package struct RunningSequence: Sendable {
  package var sequence = SequenceID(request: RequestID(rawValue: 0), index: 0)
  package var key = SchedulingKey(priority: 0, arrival: 0, serial: 0, choice: 0)
  /// Whether the slot is in use; everything else is meaningless when not.
  package var isActive = false
  /// Index into the group table.
  var group: Int32 = 0
  package var promptTokens: Int32 = 0
  package var generatedTokens: Int32 = 0
  /// Tokens whose keys and values are in the cache.
  package var computedTokens: Int32 = 0
  /// Leading blocks that are in the prefix cache.
  package var sealedBlocks: Int32 = 0
  /// Blocks `lowerBegin ..< lowerEnd` of the table lie below the device; equal when none does.
  package var lowerBegin: Int32 = 0
  package var lowerEnd: Int32 = 0
  /// Blocks of the table that lie in the overflow store.
  package var overflowBlocks: Int32 = 0
  /// The last step in which it was its turn to read the overflow store.
  var readStep: UInt64 = 0
  /// Whether its prompt takes blocks as it is computed, not all at admission.
  var isStreamed = false
  /// How often a block of it was missing.
  var recoveries: Int32 = 0
  /// Output tokens there were then.
  var recoveredTokens: Int32 = 0
  /// Hash of the last sealed block, or the salt's.
  var chainHash = BlockHash(low: 0, high: 0)
  /// Output tokens after which the sequence ends.
  var maxNewTokens: Int32 = 0
  /// Output tokens before which terminators do not count.
  var minNewTokens: Int32 = 0
  /// The last known token: the row of a decode step.
  package var lastToken: TokenID = 0
  /// Step whose plan contains the sequence and was not applied yet; a result of any other one does not concern it. 0 =
  /// none.
  var plannedStep: UInt64 = 0
  /// Prompt tokens found in the prefix cache when it was first admitted.
  var cachedTokens: Int32 = 0
  var preemptions: Int32 = 0
  /// Tokens charged to its lane: what is computed again after a preemption is free.
  var paidTokens: Int32 = 0
  /// Whether some of what counts as computed is copied, or computed by another choice, in a step that has not ended.
  var awaitsCopy = false
  /// Whether other sequences of its request may hold a block that it writes to: one of several choices, or a beam.
  var isForking = false
  /// Whether the sampler has to be told of it anew with its next row.
  var needsAdmission = false
  /// Whether it is a hypothesis of a beam search, whose tokens are chosen elsewhere.
  var isBeam = false
  /// Its blocks below the device, while it loads them.
  var read: TierRead?
  /// Whether its blocks are not what computing them would have given: nobody else may have them.
  var isPrivate = false
  /// Whether it ever read such blocks.
  var hasReadLossy = false
  /// Whether an output already said that it was scheduled.
  var isAnnounced = false

  /// Prompt and output tokens; all but the last output token must be computed before the next one is sampled.
  package var knownTokens: Int32 { promptTokens + generatedTokens }
  /// Tokens to compute before the next one can be sampled. 1 = decode.
  package var remainingTokens: Int32 { knownTokens - computedTokens }
}
