import SwerveCore
import SwerveScheduling

struct RunnerFault: Error, CustomStringConvertible {
  var description: String
}

/// Executes plans as a runner would: it knows of a sequence only what plans told it, keeps keys and values in a store
/// addressed by block, and reads them back through the block tables of the plan. It believes nothing: rows, ranges,
/// budgets, slots and double writes are checked.
struct FakeRunner {
  struct Slot {
    var sequence: SequenceID
    var sampling: SamplingState
    var tokens: [TokenID]
    var promptTokens: Int
    var context: Int?
    /// Hypotheses of a beam search change their tokens from step to step; their owner compares what came out.
    var isBeam: Bool { sampling.params.useBeamSearch }
  }

  let configuration: SchedulerConfiguration
  var store: [UInt64]
  var slots: [SlotID: Slot] = [:]
  var lastPlan: UInt64 = 0
  /// Tokens computed since start.
  var rows = 0
  var acceptedDrafts = 0
  /// Blocks copied since start.
  var copies = 0
  /// What the last step's hypotheses came to, by sequence.
  var beamStates: [SequenceID: UInt64] = [:]
  var salts: [RequestID: [UInt8]] = [:]
  /// Places of the overflow store whose block cannot be read.
  var lost: Set<BlockID> = []
  /// Blocks moved to host memory and to the store, and rows that read the latter.
  var movedToHost = 0
  var movedToStore = 0
  var storeReads = 0
  /// Blocks whose holder is lost in the next step: of what it was to write there, anything may be missing.
  var torn: Range<Int32>?
  var generator = SystemRandomNumberGenerator()

  init(_ configuration: SchedulerConfiguration) {
    self.configuration = configuration
    store = [UInt64](repeating: 0xDEAD, count: configuration.ranges.count * configuration.blockSize)
  }

  /// What a bank held is gone.
  mutating func forget(bank: Int) {
    let cells = configuration.bankBlocks * configuration.blockSize
    for cell in bank * cells..<(bank + 1) * cells { store[cell] = 0xDEAD }
  }

  /// Drops and builds per-sequence state, as a step does before anything can fail.
  mutating func begin(_ plan: StepPlan) throws {
    func require(_ holds: Bool, _ what: @autoclosure () -> String) throws {
      if !holds { throw RunnerFault(description: "step \(plan.id): \(what())") }
    }
    try require(plan.id == lastPlan + 1, "follows step \(lastPlan)")
    lastPlan = plan.id
    for slot in plan.releases {
      try require(slots.removeValue(forKey: slot) != nil, "slot \(slot.rawValue) is released and was not in use")
    }
    for admission in plan.admissions {
      let held = slots[admission.slot]
      try require(
        held == nil || held?.sequence == admission.sequence, "slot \(admission.slot.rawValue) is admitted to and in use"
      )
      try require((0..<configuration.maxSequences).contains(Int(admission.slot.rawValue)), "a slot out of range")
      slots[admission.slot] = Slot(
        sequence: admission.sequence, sampling: admission.sampling, tokens: admission.tokens,
        promptTokens: admission.promptTokens, context: nil)
    }
    try require(plan.sequences.count <= configuration.maxSequences, "\(plan.sequences.count) sequences")
    try require(plan.tokens.count <= configuration.maxBatchedTokens, "\(plan.tokens.count) tokens exceed the budget")
    for move in plan.moves {
      try require(configuration.ranges.isOnDevice(move.from), "block \(move.from.rawValue) leaves where it is not")
      try require(!configuration.ranges.isOnDevice(move.to), "block \(move.from.rawValue) moves within the device")
      lost.remove(move.to)
      if configuration.ranges.isOverflow(move.to) { movedToStore += 1 } else { movedToHost += 1 }
      for offset in 0..<configuration.blockSize {
        let from = Int(move.from.rawValue) * configuration.blockSize + offset
        store[Int(move.to.rawValue) * configuration.blockSize + offset] = store[from]
      }
    }
    for copy in plan.copies {
      let blocks = 0..<Int32(configuration.blockCount)
      try require(
        blocks.contains(copy.from.rawValue) && blocks.contains(copy.to.rawValue) && copy.from != copy.to,
        "copies block \(copy.from.rawValue) to \(copy.to.rawValue)")
    }
  }

  /// Copies blocks one after the other, as the plan says.
  private mutating func copyBlocks(_ plan: StepPlan) {
    for copy in plan.copies {
      if let torn, torn.contains(copy.to.rawValue), Bool.random(using: &generator) { continue }
      for offset in 0..<configuration.blockSize {
        store[Int(copy.to.rawValue) * configuration.blockSize + offset] =
          store[Int(copy.from.rawValue) * configuration.blockSize + offset]
      }
    }
    copies += plan.copies.count
  }

  mutating func execute(_ plan: StepPlan, into result: inout StepResult) throws {
    result.removeAll()
    try begin(plan)
    copyBlocks(plan)
    beamStates.removeAll(keepingCapacity: true)
    var written = Set<Int>()
    var writtenBlocks: [BlockID: SequenceID] = [:]
    var nextRow = 0
    var nextBlock = 0
    for (index, step) in plan.sequences.enumerated() {
      func require(_ holds: Bool, _ what: @autoclosure () -> String) throws {
        if !holds {
          let name = "\(step.sequence.request.rawValue).\(step.sequence.index)"
          throw RunnerFault(description: "step \(plan.id), sequence \(name): \(what())")
        }
      }
      guard var slot = slots[step.slot], slot.sequence == step.sequence else {
        throw RunnerFault(description: "step \(plan.id): slot \(step.slot.rawValue) was not admitted")
      }
      let context = Int(step.contextTokens)
      let end = context + Int(step.rowCount)
      let drafts = Int(step.draftCount)
      let known = end - drafts
      try require(Int(step.firstRow) == nextRow && Int(step.firstBlock) == nextBlock, "ranges are not contiguous")
      try require(drafts >= 0 && known >= context, "\(step.rowCount) rows, \(drafts) of them drafts")
      if known == context { try checkRider(step, before: index == 0 ? nil : plan.sequences[index - 1], plan) }
      try require(slot.isBeam || known <= slot.tokens.count, "\(step.rowCount) rows after \(context)")
      try require(drafts == 0 || step.samples && context + 1 == known, "drafts behind a prompt")
      let last = slot.promptTokens + min(slot.sampling.params.maxTokens ?? .max, 1 << 30)
      try require(drafts == 0 || end < min(last, configuration.contextLimit), "drafts for tokens nobody wants")
      try require(
        slot.isBeam || slot.context == nil || slot.context == context, "context \(context) after \(slot.context ?? 0)")
      try require(Int(step.promptTokens) == slot.promptTokens, "prompt of \(step.promptTokens)")
      try require(Int(step.blockCount) == configuration.blocks(for: end), "\(step.blockCount) blocks")
      let samples = slot.isBeam ? step.samples : known == slot.tokens.count && slot.sampling.params.maxTokens != 0
      try require(step.samples == samples, "samples = \(step.samples)")
      if !configuration.enableChunkedPrefill && !slot.isBeam {
        try require(known == slot.tokens.count, "is computed in pieces")
      }
      if configuration.enableChunkedPrefill && configuration.longPrefillThreshold > 0 {
        try require(known - context <= configuration.longPrefillThreshold, "\(step.rowCount) rows are too many")
      }
      nextRow = Int(step.firstRow + step.rowCount)
      nextBlock = Int(step.firstBlock + step.blockCount)

      let table = plan.blocks[Int(step.firstBlock)..<Int(step.firstBlock) + configuration.blocks(for: context)]
      if table.contains(where: { configuration.ranges.isOverflow($0) }) { storeReads += 1 }
      let own = plan.blocks[Int(step.firstBlock)..<Int(step.firstBlock + step.blockCount)]
      let isTorn = torn.map { torn in own.contains { torn.contains($0.rawValue) } } ?? false
      if isTorn || table.contains(where: { lost.contains($0) }) {
        result.incomplete.append(Int32(index))
        for position in context..<end {
          let block = plan.blocks[Int(step.firstBlock) + position / configuration.blockSize]
          store[Int(block.rawValue) * configuration.blockSize + position % configuration.blockSize] = 0xBAD
        }
        continue
      }

      var sampled: [TokenID] = []
      var state = FakeModel.start(salt: salts[step.sequence.request] ?? [])
      for position in 0..<end {
        let block = plan.blocks[Int(step.firstBlock) + position / configuration.blockSize]
        let place = Int(block.rawValue) * configuration.blockSize + position % configuration.blockSize
        if position >= context {
          let token = plan.tokens[Int(step.firstRow) + position - context]
          try require(
            slot.isBeam || position >= known || token == slot.tokens[position], "row \(position) has token \(token)")
          try require(configuration.ranges.isOnDevice(block), "writes block \(block.rawValue), off the device")
          try require(written.insert(place).inserted, "block \(block.rawValue) is written twice")
          let owner = writtenBlocks.updateValue(step.sequence, forKey: block)
          try require(owner == nil || owner == step.sequence, "block \(block.rawValue) has two writers")
          store[place] = FakeModel.cell(state, token, position)
          rows += 1
        } else {
          try require(
            !written.contains(place) || step.rowCount == 0, "reads block \(block.rawValue), written in this step")
        }
        state = FakeModel.mix(state, store[place])
        if samples && position + 1 >= known {
          let generated = position + 1 - slot.promptTokens
          sampled.append(
            FakeModel.sample(state, slot.sampling, choice: step.sequence.index, generated: generated))
        }
      }
      slot.context = known
      if slot.isBeam && samples { beamStates[step.sequence] = state }
      for (place, token) in sampled.enumerated() {
        result.samples.append(Sample(sequenceIndex: Int32(index), token: token))
        // A sample behind drafts holds while each draft was the token sampled.
        if place > 0 {
          guard slot.context == known + place - 1,
            plan.tokens[Int(step.firstSampledRow) + place] == sampled[place - 1]
          else { continue }
          slot.context = known + place
          acceptedDrafts += 1
        }
        slot.tokens.append(token)
      }
      slots[step.slot] = slot
    }
    if nextRow != plan.tokens.count || nextBlock != plan.blocks.count {
      throw RunnerFault(description: "step \(plan.id): rows or blocks without a sequence")
    }
  }

  /// A step that is lost half-way, before any token was chosen.
  mutating func tear(_ plan: StepPlan) {
    torn = 0..<Int32(configuration.blockCount)
    copyBlocks(plan)
    torn = nil
    for step in plan.sequences {
      for position in Int(step.contextTokens)..<Int(step.contextTokens + step.rowCount)
      where Bool.random(using: &generator) {
        let block = plan.blocks[Int(step.firstBlock) + position / configuration.blockSize]
        store[Int(block.rawValue) * configuration.blockSize + position % configuration.blockSize] = 0xBAD
      }
    }
  }

  /// A sequence without rows samples the last row of the one before it: a choice of the same request, at the end of its
  /// prompt, in the same blocks.
  private func checkRider(_ step: SequenceStep, before: SequenceStep?, _ plan: StepPlan) throws {
    func blocks(_ step: SequenceStep) -> ArraySlice<BlockID> {
      plan.blocks[Int(step.firstBlock)..<Int(step.firstBlock + step.blockCount)]
    }
    guard let before, before.sequence.request == step.sequence.request, before.samples, step.samples,
      before.contextTokens + before.rowCount == step.contextTokens, step.contextTokens == step.promptTokens,
      blocks(before).elementsEqual(blocks(step)), step.firstSampledRow == before.firstSampledRow
    else {
      throw RunnerFault(
        description: "step \(plan.id): a sequence without rows stands behind none that computes its own")
    }
  }
}
