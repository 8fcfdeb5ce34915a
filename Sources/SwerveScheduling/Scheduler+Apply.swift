package import SwerveCore

extension Scheduler {
  /// Takes over what a step produced: its tokens are computed, full blocks become findable, sequences that reached
  /// their end give back blocks and slot. `outputs` is replaced: one entry per token, and one per sequence of the plan
  /// that ended or ran for the first time without one.
  ///
  /// A sequence takes its first sample, and the sample after a draft as long as every draft so far was the token sampled;
  /// what comes after a token that ends it is dropped. Sequences cancelled since the plan was made are skipped, and so is
  /// a plan that is not the last one or was applied before. A sequence that should have a sample and has none ends with
  /// `error`. No allocation once `outputs` has its capacity.
  ///
  /// Of a beam search, samples are not taken: whoever owns it says how its hypotheses go on (`continueBeams`), or ends it
  /// (`endBeams`), before the next step is scheduled.
  package mutating func apply(
    _ plan: borrowing StepPlan, _ result: borrowing StepResult, into outputs: inout [SequenceOutput]
  ) {
    begin(&outputs)
    var cursor = 0
    for index in 0..<plan.sequences.count {
      let step = plan.sequences[index]
      while cursor < result.samples.count && Int(result.samples[cursor].sequenceIndex) < index { cursor += 1 }
      let hasSample = cursor < result.samples.count && Int(result.samples[cursor].sequenceIndex) == index
      guard isCurrent(step, of: plan.id) else { continue }
      let slot = Int(step.slot.rawValue)
      running[slot].plannedStep = 0
      let isBeam = running[slot].isBeam
      var output = output(of: step, at: index)
      if !result.incomplete.isEmpty && result.incomplete.contains(Int32(index)) {
        let goesOn = isSuspended(step.slot) ? retry(step.slot) : recover(step.slot)
        emit(&output, ofIncomplete: step.slot, goesOn: goesOn, into: &outputs)
        continue
      }
      // Only now is all there that was to be copied, or computed by another choice.
      running[slot].awaitsCopy = false
      var accepted = 0
      if step.samples {
        if hasSample && isBeam {
          // What it goes on with is decided over all hypotheses: `continueBeams`.
        } else if hasSample {
          accepted = takeSamples(cursor, of: step, plan, result, last: &output, into: &outputs)
        } else {
          output.finish = .error
        }
      }
      running[slot].computedTokens = step.contextTokens + step.rowCount - step.draftCount + Int32(accepted)
      if configuration.enablePrefixCaching && !running[slot].isPrivate { sealBlocks(step.slot) }
      if step.draftCount > 0 { releaseDraftBlocks(of: step.slot) }
      if isBeam { shareComputed(of: running[slot].group) }
      if !step.samples && running[slot].remainingTokens == 0 { output.finish = .length }
      emit(output, step.slot, into: &outputs)
    }
    counters.steps += 1
  }

  /// Ends all sequences of a step that failed, each with `error`. Nothing the step wrote is used. The scheduler goes
  /// on.
  package mutating func fail(_ plan: borrowing StepPlan, into outputs: inout [SequenceOutput]) {
    begin(&outputs)
    for index in 0..<plan.sequences.count {
      let step = plan.sequences[index]
      guard isCurrent(step, of: plan.id) else { continue }
      var output = output(of: step, at: index)
      output.finish = .error
      emit(output, step.slot, into: &outputs)
    }
  }

  func begin(_ outputs: inout [SequenceOutput]) {
    outputs.removeAll(keepingCapacity: true)
    let most = configuration.maxSequences * (1 + counters.draftLimit)
    if outputs.capacity < most { outputs.reserveCapacity(most) }
  }

  func isCurrent(_ step: SequenceStep, of plan: UInt64) -> Bool {
    let slot = Int(step.slot.rawValue)
    return running[slot].isActive && running[slot].plannedStep == plan && running[slot].sequence == step.sequence
  }

  mutating func output(of step: SequenceStep, at index: Int) -> SequenceOutput {
    let slot = Int(step.slot.rawValue)
    let isFirst = !running[slot].isAnnounced
    running[slot].isAnnounced = true
    return SequenceOutput(
      sequence: step.sequence, sequenceIndex: Int32(index), isFirstScheduled: isFirst,
      cachedTokens: running[slot].cachedTokens, preemptions: running[slot].preemptions,
      hasReadLossy: running[slot].hasReadLossy)
  }

  /// Nothing of the step counts for a sequence of which a block was missing, or whose worker was lost.
  mutating func emit(
    _ output: inout SequenceOutput, ofIncomplete slot: SlotID, goesOn: Bool, into outputs: inout [SequenceOutput]
  ) {
    if goesOn {
      if output.isFirstScheduled { outputs.append(output) }
      return
    }
    output.finish = .error
    emit(output, slot, into: &outputs)
  }

  private mutating func emit(_ output: SequenceOutput, _ slot: SlotID, into outputs: inout [SequenceOutput]) {
    if output.finish != nil {
      let group = running[Int(slot.rawValue)].group
      if groups[group].beams != nil { releaseBeams(group) } else { release(slot) }
      finishedChoice(of: group)
    } else if output.token == nil && !output.isFirstScheduled {
      return
    }
    outputs.append(output)
  }

  /// Takes a sequence's samples, of which the first is at `cursor`, as far as they hold: all but the last one become
  /// outputs, that one is put into `last`. Answers how many drafts were accepted.
  private mutating func takeSamples(
    _ cursor: Int, of step: SequenceStep, _ plan: borrowing StepPlan, _ result: borrowing StepResult,
    last: inout SequenceOutput, into outputs: inout [SequenceOutput]
  ) -> Int {
    var accepted = 0
    while true {
      let sample = result.samples[cursor + accepted]
      last.token = sample.token
      last.sampleIndex = Int32(cursor + accepted)
      last.finish = take(sample.token, Int(step.slot.rawValue))
      let next = cursor + accepted + 1
      guard last.finish == nil, isAccepted(accepted, of: step, after: sample.token, in: plan),
        next < result.samples.count, result.samples[next].sequenceIndex == sample.sequenceIndex
      else { break }
      outputs.append(last)
      last.isFirstScheduled = false
      accepted += 1
    }
    if accepted > 0 { countAccepted(accepted) }
    return accepted
  }

  /// Appends a sampled token. Answers why the sequence ends with it, nil when it goes on.
  private mutating func take(_ token: TokenID, _ slot: Int) -> FinishReason? {
    generated[slot].append(token)
    counters.generationTokens += 1
    let before = running[slot].generatedTokens
    running[slot].generatedTokens = before + 1
    running[slot].lastToken = token
    drafts?.append(token, slot: slot)
    if before >= running[slot].minNewTokens && terminators[slot].contains(token) { return .stop }
    return before + 1 >= running[slot].maxNewTokens ? .length : nil
  }

  /// Makes blocks that are now full findable.
  private mutating func sealBlocks(_ slot: SlotID) {
    let index = Int(slot.rawValue)
    let size = Int32(configuration.blockSize)
    // Most steps fill no block.
    if running[index].computedTokens < (running[index].sealedBlocks + 1) * size { return }
    var full = running[index].computedTokens / size
    // A block is found through the one before it, so those behind a block below the device stay unknown.
    if running[index].lowerBegin < running[index].lowerEnd { full = min(full, running[index].lowerBegin) }
    if configuration.spansBanks { full = min(full, groups[running[index].group].stretch) }
    while running[index].sealedBlocks < full {
      let position = Int(running[index].sealedBlocks)
      if sealNext(slot), tiers != nil {
        tiers?.orders.sealed.append(
          SealedBlock(
            block: tables[slot, position], parent: position == 0 ? nil : tables[slot, position - 1],
            salt: groups[running[index].group].salt))
      }
    }
  }

  /// Makes the sequence's next full block findable. Where another sequence computed the same content first, its block takes
  /// the place of ours: keys and values do not depend on the batch, so they are equal, and one copy is enough. Answers
  /// whether ours stayed.
  mutating func sealNext(_ slot: SlotID) -> Bool {
    let index = Int(slot.rawValue)
    let position = Int(running[index].sealedBlocks)
    copyBlock(position, prompt: groups[running[index].group].prompt, output: generated[index])
    let content = blockTokens
    let parentHash = running[index].chainHash
    let parent = position == 0 ? nil : tables[slot, position - 1]
    let own = tables[slot, position]
    running[index].chainHash = cache.hash(after: parentHash, content.span)
    running[index].sealedBlocks += 1
    if let other = cache.find(parent: parent, parentHash: parentHash, tokens: content.span) {
      reviveBlock(other)
      tables[slot, position] = other
      pool.release(own, keeping: false)
      return false
    }
    cache.insert(own, parent: parent, parentHash: parentHash, tokens: content.span)
    return true
  }
}
