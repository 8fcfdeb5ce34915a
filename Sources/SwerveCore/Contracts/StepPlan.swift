/// One engine step, decided by the scheduler and executed by the runner: which tokens, of which sequences, with which
/// blocks. Immutable once scheduled; a rank that receives it takes no decision of its own.
///
/// The plan is flat (arrays of plain structs with ranges into shared arrays) and reused: `removeAll` keeps the storage,
/// so a decode step allocates nothing. Rows are ordered by sequence: sequence `i` owns rows
/// `sequences[i].firstRow ..< firstRow + rowCount` of `tokens`.
package struct StepPlan: Sendable {
  /// Counts up by one each step.
  package var id: UInt64 = 0
  /// Sequences with work in this step.
  package var sequences: [SequenceStep] = []
  /// [rows] token of each row.
  package var tokens: [TokenID] = []
  /// Block tables, one after another: enough blocks to hold each sequence's context and the rows of this step.
  package var blocks: [BlockID] = []
  /// Blocks that leave the device, in order, before anything else is copied or written.
  package var moves: [BlockMove] = []
  /// Blocks to copy on all layers, whole, one after the other, after the moves and before any row is computed (copy on
  /// write). A source holds what earlier steps, or copies before it in the list, left there; a later copy may overwrite it.
  package var copies: [BlockCopy] = []
  /// Sequences that appear for the first time, or again after preemption: the sampler builds its state from these
  /// before it does anything else in the step.
  package var admissions: [Admission] = []
  /// Slots whose state is dropped at the start of the step (before admissions).
  package var releases: [SlotID] = []

  package init() {}

  package mutating func removeAll() {
    sequences.removeAll(keepingCapacity: true)
    tokens.removeAll(keepingCapacity: true)
    blocks.removeAll(keepingCapacity: true)
    moves.removeAll(keepingCapacity: true)
    copies.removeAll(keepingCapacity: true)
    admissions.removeAll(keepingCapacity: true)
    releases.removeAll(keepingCapacity: true)
  }

  package var isEmpty: Bool {
    sequences.isEmpty && releases.isEmpty && moves.isEmpty && copies.isEmpty && admissions.isEmpty
  }
}

/// One sequence's share of a step.
package struct SequenceStep: Sendable, Hashable {
  package var sequence: SequenceID
  package var slot: SlotID
  /// First row in `StepPlan.tokens`.
  package var firstRow: Int32
  /// Tokens computed in this step: known ones, then drafted ones. 0 for a sequence that only samples: it stands behind a
  /// sequence of the same tokens and blocks, whose last row is its own.
  package var rowCount: Int32
  /// How many of the rows, the last ones, hold tokens that are only guessed: 0 unless `samples`. Their keys and values
  /// count when the guesses turn out right, and are written again otherwise.
  package var draftCount: Int32
  /// Tokens whose keys and values are in the cache before this step = position of the first row.
  package var contextTokens: Int32
  /// Length of the client's prompt (not of generated tokens recomputed after preemption). Position-dependent rotary
  /// scaling and prompt log-probabilities need it.
  package var promptTokens: Int32
  /// First entry in `StepPlan.blocks`.
  package var firstBlock: Int32
  package var blockCount: Int32
  /// Entries of the sequence's table before the first one here: their blocks lie with others, who attend to them
  /// before. Whole partitions (`AttentionPartition`); 0 in a scheduler's plan.
  package var blocksBefore: Int32 = 0
  /// Whether logits are sampled: true when this step reaches the sequence's last known token. Sampled are the row of
  /// that token and the rows of the drafts after it.
  package var samples: Bool

  package init(
    sequence: SequenceID, slot: SlotID, firstRow: Int32, rowCount: Int32, contextTokens: Int32, promptTokens: Int32,
    firstBlock: Int32, blockCount: Int32, samples: Bool, draftCount: Int32 = 0
  ) {
    self.sequence = sequence
    self.slot = slot
    self.firstRow = firstRow
    self.rowCount = rowCount
    self.contextTokens = contextTokens
    self.promptTokens = promptTokens
    self.firstBlock = firstBlock
    self.blockCount = blockCount
    self.samples = samples
    self.draftCount = draftCount
  }

  /// The row of the last known token, the first one that is sampled.
  package var firstSampledRow: Int32 { firstRow + rowCount - 1 - draftCount }
}

/// One block's keys and values, with all that belongs to them (the scales of 8-bit types), into another block.
package struct BlockCopy: Sendable, Hashable {
  package var from: BlockID
  package var to: BlockID

  package init(from: BlockID, to: BlockID) {
    self.from = from
    self.to = to
  }
}

/// What the sampler must know of a sequence that enters a slot.
package struct Admission: Sendable {
  package var sequence: SequenceID
  package var slot: SlotID
  package var sampling: SamplingState
  /// Prompt tokens followed by tokens generated before a preemption.
  package var tokens: [TokenID]
  package var promptTokens: Int

  package init(sequence: SequenceID, slot: SlotID, sampling: SamplingState, tokens: [TokenID], promptTokens: Int) {
    self.sequence = sequence
    self.slot = slot
    self.sampling = sampling
    self.tokens = tokens
    self.promptTokens = promptTokens
  }
}

/// A request's sampling parameters in the form the sampler needs: strings resolved to tokens, the seed drawn.
/// Shared by the sequences of a request, hence a final class of constants.
package final class SamplingState: Sendable {
  package let params: SamplingParams
  /// Never nil: the client's seed, or one drawn when the request arrived.
  package let seed: UInt64
  /// Token sequences of `params.badWords`, bare and space-prefixed; never empty sequences.
  package let badWordTokens: [[TokenID]]
  /// Tokens that end the sequence unless masked by `minTokens`: end-of-sequence ids (none with `ignoreEos`) and
  /// `stopTokenIds`. Sorted, unique.
  package let terminators: [TokenID]

  package init(params: SamplingParams, seed: UInt64, badWordTokens: [[TokenID]], terminators: [TokenID]) {
    self.params = params
    self.seed = seed
    self.badWordTokens = badWordTokens
    self.terminators = terminators
  }
}
