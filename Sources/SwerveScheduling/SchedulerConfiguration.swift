package import SwerveCore

/// The numbers a scheduler works within. Constant for its life.
package struct SchedulerConfiguration: Sendable, Hashable {
  /// Most tokens one step computes, over all sequences. ≥ 1; sensibly at least `maxSequences`, so that every running
  /// sequence gets its token each step.
  package var maxBatchedTokens: Int
  /// Most sequences that run at the same time, and so the number of slots. ≥ 1
  package var maxSequences: Int
  /// Tokens per block. ≥ 1
  package var blockSize: Int
  /// Blocks of the pool. ≥ 1
  package var blockCount: Int
  /// Parts that the pool is cut into, equally large: the blocks of a request lie in one of them. ≥ 1, divides `blockCount`.
  package var bankCount = 1
  /// How many of the banks, the first ones, hold blocks from the start; nil = all. Others are opened later.
  package var openBanks: Int?
  /// Where sequences may be cut that are larger than a bank, so that they lie in several: at multiples of so many
  /// tokens, of whole blocks; nil = they are refused.
  package var spanTokens: Int?
  /// Whether requests go to the first bank with room, and not to the emptiest one.
  package var fillsBanksInOrder = false
  /// Places for blocks of running sequences in host memory, which are read where they lie.
  package var hostBlockCount = 0
  /// Places in the overflow store, for sequences that do not fit the device.
  package var overflowBlockCount = 0
  /// Blocks of the overflow store that a step may read; one sequence may always read all of its own. nil = any.
  package var storeBlocksPerStep: Int?
  /// Longest prompt + output, in tokens. ≥ 1
  package var maxModelLength: Int
  /// Whether full blocks are kept and found again by their tokens.
  package var enablePrefixCaching = true
  /// Whether what a block costs to compute again decides, beside its age, which cached block is evicted; else age alone.
  package var evictsByCost = false
  /// Tokens of context at which attention to them costs as much as the rest of a token does. ≥ 1. Decides what is evicted
  /// and how long prompts share a step, never what is computed.
  package var attentionCostTokens = 8_192
  /// Whether prompts that take several steps let those that end in one pass, every other step.
  package var adaptsLongPrefill = false
  /// Whether a prompt may be computed in pieces. Without, a prompt is scheduled whole or not at all.
  package var enableChunkedPrefill = true
  /// Longest piece of one prompt per step, in tokens; 0 = the token budget. Ignored without chunked prefill.
  package var longPrefillThreshold = 0
  /// Share of blocks that stay free when a sequence is admitted beside others, 0 ..< 1: room for those to grow.
  package var watermark = 0.0
  /// Service classes that requests name by index; empty = one class. At most 64.
  package var serviceRules: [ServiceRule] = []
  /// Nanoseconds that a request may wait for its first step; nil = as long as needed.
  package var queueTimeout: UInt64?
  /// Whether prompts of similar length are admitted together where the policy holds them equally urgent.
  package var groupsLengths = false
  /// Guess tokens and verify several in one step; nil = one token a step.
  package var speculation: SpeculationConfiguration?
  /// How blocks below the device are used; nil = there are none.
  package var tiers: TierRules?
  /// Tokens are below it; a larger one is no fault, but takes memory when it comes.
  package var vocabularySize = 1 << 18
  /// Bits of a block hash that are used, 1 ... 128. Fewer than 128 only make collisions likely, for tests that show
  /// that a collision does no harm.
  package var blockHashBits = 128

  /// What a row adds to a step, in units of a step without rows, before anything was measured: eight rows of a model that
  /// is read from memory take about a third longer than one row does.
  package static let rowCost: Float = 0.05

  package init(maxBatchedTokens: Int, maxSequences: Int, blockSize: Int, blockCount: Int, maxModelLength: Int) {
    self.maxBatchedTokens = maxBatchedTokens
    self.maxSequences = maxSequences
    self.blockSize = blockSize
    self.blockCount = blockCount
    self.maxModelLength = maxModelLength
  }

  /// All problems, one sentence each; empty when a scheduler can be built.
  package func problems() -> [String] {
    var found: [String] = []
    // Counts are stored as 32-bit numbers; the flat block tables hold maxSequences × blocks per sequence of them.
    let limit = Int(Int32.max) / 2
    for (name, value) in [
      ("maxBatchedTokens", maxBatchedTokens), ("maxSequences", maxSequences), ("blockSize", blockSize),
      ("blockCount", blockCount), ("maxModelLength", maxModelLength),
    ] where !(1...limit).contains(value) {
      found.append("The scheduler's \(name) must be between 1 and \(limit), not \(value).")
    }
    guard found.isEmpty else { return found }
    found += bankProblems()
    guard found.isEmpty else { return found }
    if maxSequences * maxBlocksPerSequence > 1 << 28 {
      found.append(
        "\(maxSequences) sequences of \(maxBlocksPerSequence) blocks need more block table entries than the "
          + "\(1 << 28) the scheduler has; use fewer sequences, larger blocks or a shorter context.")
    }
    let blocks = ranges.count
    if hostBlockCount < 0 || overflowBlockCount < 0 || blocks > limit {
      found.append(
        "The scheduler's hostBlockCount and overflowBlockCount must be between 0 and \(limit) with the device's blocks, "
          + "not \(hostBlockCount) and \(overflowBlockCount).")
    }
    if blocks * blockSize > 1 << 32 {
      found.append("The scheduler counts at most \(1 << 32) KV tokens, not \(blocks) blocks of \(blockSize).")
    }
    if longPrefillThreshold < 0 {
      found.append("The scheduler's longPrefillThreshold must not be negative, not \(longPrefillThreshold).")
    }
    if attentionCostTokens < 1 {
      found.append("The scheduler's attentionCostTokens must be at least 1, not \(attentionCostTokens).")
    }
    if !(0..<1).contains(watermark) {
      found.append("The scheduler's watermark must be at least 0 and less than 1, not \(watermark).")
    }
    if serviceRules.count > 64 { found.append("There can be at most 64 service classes, not \(serviceRules.count).") }
    for (index, rule) in serviceRules.enumerated() { found += rule.problems(index) }
    found += speculation?.problems() ?? []
    found += tiers?.problems() ?? []
    if !(1...128).contains(blockHashBits) {
      found.append("The scheduler's blockHashBits must be between 1 and 128, not \(blockHashBits).")
    }
    return found
  }

  /// Blocks that hold `tokens` tokens.
  package func blocks(for tokens: Int) -> Int { (tokens + blockSize - 1) / blockSize }

  /// The block ids of the device and of the places below it.
  package var ranges: BlockRanges {
    BlockRanges(deviceCount: blockCount, hostCount: hostBlockCount, overflowCount: overflowBlockCount)
  }

  /// Blocks that one sequence can have at most. A prompt that is computed whole must be on the device as a whole.
  package var sequenceBlocks: Int {
    if spansBanks { return spreadBlocks(over: openBanks ?? bankCount) }
    return enableChunkedPrefill ? bankBlocks + hostBlockCount + overflowBlockCount : bankBlocks
  }

  /// Most prompt + output tokens of one sequence: the model's length, or what all places hold. The last output token is
  /// never computed, so it needs no place.
  package var contextLimit: Int { min(maxModelLength, sequenceBlocks * blockSize + 1) }

  /// Most blocks one sequence can hold.
  package var maxBlocksPerSequence: Int { min(sequenceBlocks, blocks(for: maxModelLength)) }

  /// Blocks that an admission leaves free.
  package var watermarkBlocks: Int { Int((watermark * Double(bankBlocks)).rounded(.up)) }
}
