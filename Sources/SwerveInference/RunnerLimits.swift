/// The largest step a runner will be given; everything a step needs is allocated for it.
package struct RunnerLimits: Sendable, Hashable {
  /// Rows (tokens) of a step, ≥ `sequences`.
  package var rows: Int
  /// Sequences of a step, and slots.
  package var sequences: Int
  /// Longest sequence, prompt and output.
  package var contextTokens: Int
  /// Tokens of a KV block: 16, 32, 64 or 128.
  package var blockTokens: Int
  /// Drafted tokens of a sequence and step at most; a step has them beside its other rows, within `rows`.
  package var drafts: Int

  /// Places of the staging ring; 0 where all blocks are in memory.
  package var stagingBlocks = 0

  package init(rows: Int, sequences: Int, contextTokens: Int, blockTokens: Int = 16, drafts: Int = 0) {
    self.rows = rows
    self.sequences = sequences
    self.contextTokens = contextTokens
    self.blockTokens = blockTokens
    self.drafts = drafts
  }

  /// Block table entries of a step at most.
  var blockEntries: Int { sequences * ((contextTokens + blockTokens - 1) / blockTokens) }

  /// For partial results of attention over long contexts.
  let attentionScratchBytes = 16 << 20
}
