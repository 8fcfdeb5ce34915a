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
  /// What of the model is here: all of it, or rank 0's share.
  private let shard: ModelShard
  /// The other ranks; nil without.
  private var coordinator: RankCoordinator?
  private var gather: LogitsGather?
  private let sampler: Sampler
  /// Rows and tasks of the tile in preparation; storage is kept.
  private var rows: [Int32] = []
  private var tasks: [Sampler.Task] = []
  private let tileRows: Int

  package var store: KVStore { shard.store }
  /// Sentences worth showing at start: unexpected tensors.
  package var warnings: [String] { shard.warnings }

  /// Loads the weights and allocates everything.
  ///
  /// - Parameters:
  ///   - files: not read for random weights.
  ///   - blockCount: blocks of the KV pool.
  ///   - lower: places below it, of the runner's layout.
  ///   - links: of rank 0 to its neighbours, where the configuration's shape is that of one of several ranks.
  ///   - coordinator: rank 0's way to all of them.
  ///   - attention: another place for keys and values and what reads them; then this process has neither pool nor places.
  ///   - watch: hears of each layer's keys and values, where those are in this process.
  ///   - progress: told the share of weights loaded, 0…1, on the calling thread.
  /// - Throws: `ModelFileError` for what is wrong with the model, `HardwareError` for memory.
  package init(
    _ configuration: RunnerConfiguration, files: ModelFiles, device: CPUDevice, blockCount: Int,
    lower: LowerPlaces = LowerPlaces(), attention remote: (any AttentionPort)? = nil, links: RankLinks = RankLinks(),
    coordinator: RankCoordinator? = nil, watch: (any LayerWatch)? = nil,
    progress: @escaping (Double) -> Void = { _ in }
  ) throws {
    let model = configuration.model
    let limits = configuration.limits
    precondition(limits.sequences > 0 && limits.rows >= limits.sequences, "a step has a row for each sequence")
    precondition(limits.drafts <= SpeculationConfiguration.tokenRange.upperBound, "more drafts than a tile has rows")
    precondition(!configuration.headColumns.isEmpty, "tokens are chosen where logits are")
    self.configuration = configuration
    self.coordinator = coordinator
    let tileRows = configuration.tileRows
    self.tileRows = tileRows
    // Memory that is small and may be refused comes first, so that a refusal does not cost the loading time.
    sampler = try Sampler(
      vocabularySize: model.vocabularySize, sequences: limits.sequences, contextTokens: limits.contextTokens,
      tileRows: tileRows, device: device)
    gather = coordinator.map {
      LogitsGather(
        configuration.shape, links: $0.tensorLinks(configuration.shape), vocabularySize: model.vocabularySize,
        tileRows: tileRows)
    }
    shard = try ModelShard(
      configuration, files: files, device: device, blockCount: blockCount, lower: lower, attention: remote,
      links: links, watch: watch,
      progress: progress)
    rows.reserveCapacity(tileRows)
    tasks.reserveCapacity(tileRows)
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
  /// - Throws: what the attention port throws (a local one never does), `GatherError` where weights are fetched and do not
  ///   come, and `ChannelError` when another rank does not come. After the first two the next step may succeed.
  package func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws {
    result.removeAll()
    for slot in plan.releases { sampler.release(slot) }
    for admission in plan.admissions { sampler.admit(admission) }
    guard !plan.sequences.isEmpty || !plan.copies.isEmpty else { return }
    precondition(plan.tokens.count <= configuration.limits.rows, "step above its declared maxima")
    if !plan.sequences.isEmpty { shard.weights.gathered?.begin(headPasses: headPasses(plan)) }
    // What a step left behind that failed.
    rows.removeAll(keepingCapacity: true)
    tasks.removeAll(keepingCapacity: true)
    let mark = try coordinator?.send(plan)
    let residual = try shard.run(plan, mark: mark, incomplete: &result.incomplete)
    try sample(plan, residual: residual, into: &result)
    try reportPrompts(plan, residual: residual, into: &result)
  }

  /// The other ranks were started anew: these are the ways to them. Between steps only.
  package func reconnect(_ links: RankLinks, _ coordinator: RankCoordinator) {
    // Ranks that only hold weights are told nothing of steps.
    if self.coordinator != nil { self.coordinator = coordinator }
    gather?.reconnect(coordinator.tensorLinks(configuration.shape))
    shard.reconnect(links)
  }

  /// The keys and values of this rank's layers and heads.
  ///
  /// - Precondition: they can be reached from this process.
  package var blocks: any BlockMemory {
    guard let blocks = shard.blocks else { preconditionFailure("blocks of these data workers are not copied") }
    return blocks
  }

  /// Copies a block out of all ranks' pools, rank 0's part first. Between steps only.
  ///
  /// - Parameter parts: [ranks] bytes of each rank's part.
  /// - Throws: `ChannelError` when a rank does not answer, and where a data worker's pool is gone; then the bytes mean
  ///   nothing.
  package func pack(_ block: BlockID, parts: [Int], into bytes: UnsafeMutableRawBufferPointer) throws {
    try blocks.pack(block, into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<parts[0]]))
    try coordinator?.pack(
      block, parts: parts.dropFirst(), into: UnsafeMutableRawBufferPointer(rebasing: bytes[parts[0]...]))
  }

  /// Copies a block in that `pack` copied out. Between steps only.
  ///
  /// - Throws: `ChannelError` when a rank does not take its part; then the block means nothing.
  package func unpack(
    _ bytes: UnsafeRawBufferPointer, parts: [Int], into block: BlockID
  ) throws(ChannelError) {
    blocks.unpack(UnsafeRawBufferPointer(rebasing: bytes[..<parts[0]]), into: block)
    try coordinator?.unpack(
      UnsafeRawBufferPointer(rebasing: bytes[parts[0]...]), parts: parts.dropFirst(), into: block)
  }

  /// What ranks hold and moved; nil with one rank. Takes a message to each and back: between steps only.
  ///
  /// - Throws: `ChannelError` when one does not answer.
  package func rankTraffic() throws(ChannelError) -> RankTraffic? {
    guard let coordinator else { return nil }
    var traffic = RankTraffic()
    traffic.ranks = [shard.traffic] + (try coordinator.reports())
    traffic.plans = coordinator.planCount
    return traffic
  }

  /// What moved for gathered weights; nil where all are resident.
  package var gatherTraffic: (() -> GatherTraffic)? {
    guard let ring = shard.weights.gathered?.ring else { return nil }
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
    func tiles(_ rows: Int) -> Int { (rows + tileRows - 1) / tileRows }
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

  private func sample(_ plan: borrowing StepPlan, residual: Tensor, into result: inout StepResult) throws {
    reserve(plan, &result)
    for index in plan.sequences.indices where plan.sequences[index].samples && isComplete(index, result) {
      let step = plan.sequences[index]
      let slot = Int(step.slot.rawValue)
      let (alternatives, wantsLogprobs) = demand(of: slot)
      // The sampler wants a sequence's rows in one tile.
      let drafts = Int(step.draftCount)
      if rows.count + 1 + drafts > tileRows { try finishTile(plan, residual, into: &result) }
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
          row: step.firstSampledRow + Int32(draft), plan, residual: residual, into: &result)
      }
    }
    try finishTile(plan, residual, into: &result)
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
  private func reportPrompts(
    _ plan: borrowing StepPlan, residual: Tensor, into result: inout StepResult
  ) throws {
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
          row: step.firstRow + offset, plan, residual: residual, into: &result)
      }
    }
    try finishTile(plan, residual, into: &result)
  }

  // MARK: Tiles

  private func append(
    _ task: Sampler.Task, row: Int32, _ plan: borrowing StepPlan, residual: Tensor, into result: inout StepResult
  ) throws {
    var task = task
    task.firstAlternative = result.alternatives.count
    for _ in 0..<task.alternativeCount { result.alternatives.append(TokenLogprob(token: 0, logprob: 0, rank: 0)) }
    rows.append(row)
    tasks.append(task)
    if rows.count == tileRows { try finishTile(plan, residual, into: &result) }
  }

  private func finishTile(
    _ plan: borrowing StepPlan, _ residual: Tensor, into result: inout StepResult
  ) throws {
    guard !rows.isEmpty else { return }
    guard let head = shard.head else { preconditionFailure("tokens are chosen where logits are") }
    defer {
      rows.removeAll(keepingCapacity: true)
      tasks.removeAll(keepingCapacity: true)
    }
    let logits = try computeTile(residual, plan: plan.id)
    sampler.choose(
      tasks, tokens: plan.tokens, logits: logits, work: head.work.first(rows.count), result: &result)
  }

  /// On its own so that its reference to the rows' storage has gone before that is emptied for reuse.
  private func computeTile(_ residual: Tensor, plan: UInt64) throws -> Tensor {
    let rows = self.rows
    let request = sampler.prepare(tasks)
    try gather?.ask(rows, plan: plan, request: request)
    guard let tile = try shard.logits(rows.span, of: residual, request: gather?.request(request) ?? request) else {
      preconditionFailure("tokens are chosen where logits are")
    }
    try gather?.collect(tile, request: request)
    return tile
  }
}
