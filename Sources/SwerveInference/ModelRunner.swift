// From a step plan to tokens: model files become weights, a plan becomes logits, logits become tokens.
// This room never sees a request's text, a connection or a clock, and takes no scheduling decision.
// Start with ModelRunner, then Forward; families are data in Families/.

package import SwerveCore
package import SwerveHardware

/// A loaded model that executes step plans. One engine thread owns it.
///
/// Everything is allocated in `init` for the declared limits; executing a decode step allocates nothing.
package final class ModelRunner {
  package let configuration: RunnerConfiguration
  /// Keys and values of this process; nil where attention is elsewhere.
  private let ownStore: KVStore?
  /// Sentences worth showing at start: unexpected tensors.
  package let warnings: [String]
  private let device: CPUDevice
  private let weights: ModelWeights
  private var forward: Forward
  private let head: OutputHead
  private let sampler: Sampler
  /// Rows and tasks of the tile in preparation; storage is kept.
  private var rows: [Int32] = []
  private var tasks: [Sampler.Task] = []

  /// Loads the weights and allocates everything.
  ///
  /// - Parameters:
  ///   - files: not read for random weights.
  ///   - blockCount: blocks of the KV pool.
  ///   - lower: places below it, of the runner's layout.
  ///   - attention: another place for keys and values and what reads them; then this process has neither pool nor places.
  ///   - progress: told the share of weights loaded, 0…1, on the calling thread.
  /// - Throws: `ModelFileError` for what is wrong with the model, `HardwareError` for memory.
  package init(
    _ configuration: RunnerConfiguration, files: ModelFiles, device: CPUDevice, blockCount: Int,
    lower: LowerPlaces = LowerPlaces(), attention remote: (any AttentionPort)? = nil,
    progress: @escaping (Double) -> Void = { _ in }
  ) throws {
    let model = configuration.model
    let limits = configuration.limits
    precondition(limits.sequences > 0 && limits.rows >= limits.sequences, "a step has a row for each sequence")
    precondition(limits.drafts <= SpeculationConfiguration.tokenRange.upperBound, "more drafts than a tile has rows")
    self.configuration = configuration
    self.device = device
    let (source, warnings) = try WeightLoader.source(configuration, files: files)
    let policy = configuration.policy
    self.warnings = warnings + policy.warnings
    // Memory that is small and may be refused comes first, so that a refusal does not cost the loading time.
    let attention: any AttentionPort
    if let remote {
      ownStore = nil
      attention = remote
    } else {
      let layout = try model.layout(type: configuration.kvType, blockTokens: limits.blockTokens)
      let store = try KVStore(layout: layout, blockCount: blockCount, device: device, lower: lower)
      ownStore = store
      attention = try LocalAttention(
        configuration: model, type: configuration.type, limits: limits, store: store, device: device)
    }
    let activations = try Activations(
      model, type: configuration.type, rows: limits.rows, roundsRows: policy.roundsRows, device: device)
    let tileRows = OutputHead.tileRows(vocabularySize: model.vocabularySize, sequences: limits.sequences)
    head = try OutputHead(model, type: configuration.type, tileRows: tileRows, device: device)
    sampler = try Sampler(
      vocabularySize: model.vocabularySize, sequences: limits.sequences, contextTokens: limits.contextTokens,
      tileRows: tileRows, device: device)
    var loader = WeightLoader(
      configuration: model, policy: policy, device: device, source: source, progress: progress)
    loader.gathering = configuration.gathering
    weights = try loader.load()
    forward = Forward(
      configuration: model, weights: weights, device: device, attention: attention, activations: activations)
    rows.reserveCapacity(tileRows)
    tasks.reserveCapacity(tileRows)
  }

  /// The pool of keys and values.
  ///
  /// - Precondition: it is in this process.
  package var store: KVStore {
    guard let ownStore else { preconditionFailure("keys and values are not in this process") }
    return ownStore
  }

  /// Whether a prompt's keys depend on its length, so that cached prefixes of it must be kept apart by that length.
  package func prefixDependsOnPromptLength(_ promptTokens: Int) -> Bool {
    RotaryEmbedding.prefixDependsOnPromptLength(promptTokens, configuration.model.rotary)
  }

  /// Carries out the plan's moves: blocks leave the device. Before anything of the step is written there, `execute` included.
  package func move(_ plan: borrowing StepPlan) { store.apply(plan.moves.span) }

  /// Executes one step, after its moves: releases and admissions, block copies, the decoder pass, sampling.
  /// A sequence of which a block cannot be read has no samples and stands in `result.incomplete`.
  ///
  /// Prompt log-probabilities are reported for every prompt row computed; a sequence that is computed again after
  /// preemption reports them again, with the same values.
  ///
  /// Rows behind drafts are sampled too; the sampler's state takes over those that hold. A row may be sampled for several
  /// sequences: choices of one request take their first tokens from one row.
  ///
  /// - Precondition: the plan keeps to the limits; its tokens are in the vocabulary and its blocks in the pool; a sequence
  ///   has at most `limits.drafts` drafts.
  /// - Throws: what the attention port throws (a local one never does), and `GatherError` where weights are fetched and
  ///   do not come. The next step may succeed.
  package func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws {
    result.removeAll()
    for slot in plan.releases { sampler.release(slot) }
    for admission in plan.admissions { sampler.admit(admission) }
    ownStore?.apply(plan.copies.span)
    guard !plan.sequences.isEmpty else {
      // Copies without rows are attention's all the same, where it has the blocks.
      if ownStore == nil && !plan.copies.isEmpty { _ = forward.attention.end(try forward.attention.begin(plan)) }
      return
    }
    precondition(plan.tokens.count <= configuration.limits.rows, "step above its declared maxima")
    weights.gathered?.begin(headPasses: headPasses(plan))
    // What a step left behind that failed.
    rows.removeAll(keepingCapacity: true)
    tasks.removeAll(keepingCapacity: true)
    let residual = try forward.run(plan, incomplete: &result.incomplete)
    try sample(plan, residual: residual, into: &result)
    try reportPrompts(plan, residual: residual, into: &result)
  }

  /// What moved for gathered weights; nil where all are resident.
  package var gatherTraffic: (() -> GatherTraffic)? {
    guard let ring = weights.gathered?.ring else { return nil }
    return { ring.traffic }
  }

  /// How many tiles of rows will go through the output head, but for what is left free at their ends.
  private func headPasses(_ plan: borrowing StepPlan) -> Int {
    var sampled = 0
    var prompt = 0
    for index in plan.sequences.indices {
      let step = plan.sequences[index]
      if step.samples { sampled += 1 + Int(step.draftCount) }
      guard let state = sampler.slots[Int(step.slot.rawValue)], !state.prompt.isEmpty else { continue }
      prompt += max(0, min(Int(step.rowCount), state.prompt.count - 1 - Int(step.contextTokens)))
    }
    func tiles(_ rows: Int) -> Int { (rows + head.tileRows - 1) / head.tileRows }
    return tiles(sampled) + tiles(prompt)
  }

  // MARK: Sampled rows

  /// Room for the samples of any step, and for the alternatives of this one's sequences with any number of drafts, so that
  /// a step with more drafts than those before it allocates nothing. Beyond a mebibyte lists grow as they come.
  private func reserve(_ plan: borrowing StepPlan, _ result: inout StepResult) {
    let perSequence = 1 + configuration.limits.drafts
    let samples = configuration.limits.sequences * perSequence
    if result.samples.capacity < samples { result.samples.reserveCapacity(samples) }
    guard configuration.limits.drafts > 0 else { return }
    var alternatives = 0
    for step in plan.sequences where step.samples {
      if let state = sampler.slots[Int(step.slot.rawValue)] {
        alternatives += sampler.alternatives(state, isPrompt: false) * perSequence
      }
    }
    alternatives = min(alternatives, (1 << 20) / MemoryLayout<TokenLogprob>.stride)
    if result.alternatives.capacity < alternatives { result.alternatives.reserveCapacity(alternatives) }
  }

  private func sample(_ plan: borrowing StepPlan, residual: Tensor, into result: inout StepResult) throws(GatherError) {
    reserve(plan, &result)
    for index in plan.sequences.indices where plan.sequences[index].samples && isComplete(index, result) {
      let step = plan.sequences[index]
      let slot = Int(step.slot.rawValue)
      let (alternatives, wantsLogprobs) = demand(of: slot)
      // The sampler wants a sequence's rows in one tile.
      let drafts = Int(step.draftCount)
      if rows.count + 1 + drafts > head.tileRows { try finishTile(plan.tokens, residual, into: &result) }
      let firstDraft = Int(step.firstSampledRow) + 1
      for draft in 0...drafts {
        result.samples.append(
          Sample(
            sequenceIndex: Int32(index), token: 0, firstAlternative: Int32(result.alternatives.count),
            alternativeCount: 0))
        try append(
          Sampler.Task(
            slot: slot, result: result.samples.count - 1, promptToken: nil,
            drafted: firstDraft..<firstDraft + draft, alternativeCount: alternatives, wantsLogprobs: wantsLogprobs),
          row: step.firstSampledRow + Int32(draft), plan.tokens, residual: residual, into: &result)
      }
    }
    try finishTile(plan.tokens, residual, into: &result)
  }

  /// What a sequence wants of each sampled row. On its own so that its reference to the slot's storage has gone before a
  /// full tile's tokens are noted there.
  private func demand(of slot: Int) -> (alternatives: Int, logprobs: Bool) {
    guard let state = sampler.slots[slot] else { preconditionFailure("a sampled sequence was never admitted") }
    return (sampler.alternatives(state, isPrompt: false), state.sampling.params.logprobs != nil)
  }

  /// Whether all blocks of the plan's sequence could be read.
  private func isComplete(_ index: Int, _ result: borrowing StepResult) -> Bool {
    result.incomplete.isEmpty || !result.incomplete.contains(Int32(index))
  }

  // MARK: Prompt rows

  /// The row of position p says how likely the prompt's token at p + 1 was.
  private func reportPrompts(_ plan: borrowing StepPlan, residual: Tensor, into result: inout StepResult)
    throws(GatherError)
  {
    for index in plan.sequences.indices where isComplete(index, result) {
      let step = plan.sequences[index]
      let slot = Int(step.slot.rawValue)
      guard let state = sampler.slots[slot], !state.prompt.isEmpty else { continue }
      let alternatives = sampler.alternatives(state, isPrompt: true)
      for offset in 0..<step.rowCount {
        let position = Int(step.contextTokens + offset) + 1
        guard position < state.prompt.count else { break }
        let token = state.prompt[position]
        result.promptLogprobs.append(
          PromptLogprob(
            sequenceIndex: Int32(index), position: Int32(position),
            chosen: TokenLogprob(token: token, logprob: 0, rank: 0),
            firstAlternative: Int32(result.alternatives.count), alternativeCount: 0))
        try append(
          Sampler.Task(
            slot: slot, result: result.promptLogprobs.count - 1, promptToken: token, alternativeCount: alternatives,
            wantsLogprobs: true),
          row: step.firstRow + offset, plan.tokens, residual: residual, into: &result)
      }
    }
    try finishTile(plan.tokens, residual, into: &result)
  }

  // MARK: Tiles

  private func append(
    _ task: Sampler.Task, row: Int32, _ tokens: [TokenID], residual: Tensor, into result: inout StepResult
  ) throws(GatherError) {
    var task = task
    task.firstAlternative = result.alternatives.count
    for _ in 0..<task.alternativeCount { result.alternatives.append(TokenLogprob(token: 0, logprob: 0, rank: 0)) }
    rows.append(row)
    tasks.append(task)
    if rows.count == head.tileRows { try finishTile(tokens, residual, into: &result) }
  }

  /// - Parameter tokens: the step's.
  private func finishTile(
    _ tokens: [TokenID], _ residual: Tensor, into result: inout StepResult
  ) throws(GatherError) {
    guard !rows.isEmpty else { return }
    let logits = try computeTile(residual)
    sampler.choose(tasks, tokens: tokens, logits: logits, work: head.work.first(rows.count), result: &result)
    rows.removeAll(keepingCapacity: true)
    tasks.removeAll(keepingCapacity: true)
  }

  /// On its own so that its reference to the rows' storage has gone before that is emptied for reuse.
  private func computeTile(_ residual: Tensor) throws(GatherError) -> Tensor {
    let rows = self.rows
    return try head.compute(
      rows.span, of: residual, weights: weights, epsilon: configuration.model.normEpsilon,
      request: sampler.prepare(tasks), device: device)
  }
}
