// From logits to tokens: one file a stage, in the order stated below. This room must not know where logits come from;
// a row's token depends on that row, its request and its position alone.
// Start with Sampler, then Choice.

package import SwerveCore
package import SwerveHardware

/// Tokens that a row is sampled behind without their being known to be right.
typealias DraftedTokens = UnsafeBufferPointer<TokenID>

/// Chooses the tokens of a step, and reports log-probabilities.
///
/// The order of stages: allowed ids → logit bias (−100 bans) → bad words → min_tokens mask → repetition, frequency and
/// presence penalties → temperature → min-p → top-k → top-p → draw. Greedy rows take the argmax after the penalties, the
/// lowest token among equals. Log-probabilities are those of the raw logits.
///
/// A row behind a draft is sampled as if the drafts before it had been chosen, and counts only when they were.
///
/// State is kept by slot. Rows are independent and run on all threads of the device; a step allocates nothing, but for
/// admissions and for lists of alternatives longer than any before.
package final class Sampler {
  /// One row of a tile and what it is for.
  package struct Task {
    package var slot: Int
    /// Place in `StepResult.samples` or `.promptLogprobs`.
    package var result: Int
    /// The prompt token whose log-probability is wanted; nil = a token is chosen.
    package var promptToken: TokenID?
    /// Drafted tokens between those the slot knows and the one to choose: a range of the step's tokens. A sequence's rows
    /// are in one tile, in order; the first one has no drafts before it.
    package var drafted = 0..<0
    /// Range reserved in `StepResult.alternatives`.
    package var firstAlternative = 0
    package var alternativeCount = 0
    package var wantsLogprobs: Bool

    package init(
      slot: Int, result: Int, promptToken: TokenID? = nil, drafted: Range<Int> = 0..<0, alternativeCount: Int,
      wantsLogprobs: Bool
    ) {
      self.slot = slot
      self.result = result
      self.promptToken = promptToken
      self.drafted = drafted
      self.alternativeCount = alternativeCount
      self.wantsLogprobs = wantsLogprobs
    }
  }

  package let vocabularySize: Int
  let device: CPUDevice
  private let contextTokens: Int
  /// [maxSequences]; nil = free.
  package private(set) var slots: [SamplerSlot?]
  private let raw: TileStatistics
  private let processed: TileStatistics
  /// [tile rows] 1 / temperature
  private var factors: [Float]
  /// [lanes] of `laneBytes`: candidates, then a row of floats
  let laneMemory: DeviceBuffer
  let laneBytes: Int
  let laneCount: Int

  /// - Parameter tileRows: most rows of a tile. Memory: about 12 bytes a token of the vocabulary and thread, touched as
  ///   needed.
  package init(
    vocabularySize: Int, sequences: Int, contextTokens: Int, tileRows: Int, device: CPUDevice
  ) throws(HardwareError) {
    self.vocabularySize = vocabularySize
    self.device = device
    self.contextTokens = contextTokens
    slots = [SamplerSlot?](repeating: nil, count: sequences)
    let pieces = Self.pieces(vocabularySize)
    raw = TileStatistics(rows: tileRows, pieces: pieces)
    processed = TileStatistics(rows: tileRows, pieces: pieces)
    factors = [Float](repeating: 1, count: tileRows)
    laneBytes = Self.laneBytes(vocabularySize)
    laneCount = device.threadCount
    laneMemory = try device.allocate(byteCount: laneBytes * laneCount)
  }

  static func pieces(_ vocabularySize: Int) -> Int { (vocabularySize + RowStatistics.width - 1) / RowStatistics.width }

  /// Floats of a row of a tile: the vocabulary and its padding, which must hold −∞.
  package static func paddedWidth(_ vocabularySize: Int) -> Int { pieces(vocabularySize) * RowStatistics.width }

  static func laneBytes(_ vocabularySize: Int) -> Int {
    (Candidates.byteCount(vocabularySize: vocabularySize) + vocabularySize * 4 + 63) / 64 * 64
  }

  /// Bytes that `init` reserves for the memory plan.
  static func byteCount(vocabularySize: Int, tileRows: Int, threads: Int) -> Int {
    2 * TileStatistics.byteCount(rows: tileRows, pieces: pieces(vocabularySize)) + laneBytes(vocabularySize) * threads
  }

  // MARK: Slots

  package func release(_ slot: SlotID) { slots[Int(slot.rawValue)] = nil }

  package func admit(_ admission: Admission) {
    slots[Int(admission.slot.rawValue)] = SamplerSlot(
      admission, vocabularySize: vocabularySize, contextTokens: contextTokens)
  }

  /// Places that a row's list of alternatives needs.
  package func alternatives(_ slot: borrowing SamplerSlot, isPrompt: Bool) -> Int {
    let params = slot.sampling.params
    if !isPrompt, params.logprobs != nil, let listed = slot.listed { return min(listed.count, vocabularySize) }
    guard let wanted = isPrompt ? params.promptLogprobs : params.logprobs else { return 0 }
    return wanted < 0 ? vocabularySize : min(wanted, vocabularySize)
  }

  // MARK: Rows

  /// Works off a tile of raw logits, f32 [tasks, padded vocabulary], whose padding is −∞.
  ///
  /// - Parameters:
  ///   - tokens: the step's tokens, to which `Task.drafted` refers.
  ///   - work: a second tile of the same shape, used where raw logits must survive the processing; the first one is
  ///     overwritten otherwise.
  package func run(
    _ tasks: [Task], tokens: [TokenID] = [], logits: Tensor, work: Tensor, result: inout StepResult
  ) {
    let wantsLogprobs = tasks.contains { $0.wantsLogprobs }
    if wantsLogprobs { raw.update(logits, device: device) }
    let samples = tasks.contains { $0.promptToken == nil }
    let processing = wantsLogprobs && samples ? work : logits
    if samples {
      let changes = tasks.contains { slots[$0.slot]?.changesLogits ?? false }
      if changes || wantsLogprobs {
        runLanes(tasks, tokens, raw: logits, processing: processing, output: nil)
      }
      prepareStatistics(tasks, processing)
    }
    result.samples.withUnsafeMutableBufferPointer { samples in
      result.promptLogprobs.withUnsafeMutableBufferPointer { prompts in
        result.alternatives.withUnsafeMutableBufferPointer { alternatives in
          let output = Output(samples: samples, prompts: prompts, alternatives: alternatives)
          runLanes(tasks, tokens, raw: logits, processing: processing, output: output)
        }
      }
    }
    accept(tasks, tokens, result.samples)
  }

  /// Notes the chosen tokens: of a row behind drafts only when each of them was chosen.
  private func accept(_ tasks: [Task], _ tokens: [TokenID], _ samples: [Sample]) {
    var holds = true
    var last: TokenID?
    for task in tasks where task.promptToken == nil {
      holds = task.drafted.isEmpty || holds && tokens[task.drafted.upperBound - 1] == last
      last = samples[task.result].token
      if holds { slots[task.slot]?.append(samples[task.result].token) }
    }
  }

  /// Where a tile's results go: reserved places, each written by one row.
  struct Output {
    var samples: UnsafeMutableBufferPointer<Sample>
    var prompts: UnsafeMutableBufferPointer<PromptLogprob>
    var alternatives: UnsafeMutableBufferPointer<TokenLogprob>
  }

  private func prepareStatistics(_ tasks: [Task], _ tile: Tensor) {
    var scales = false
    for (row, task) in tasks.enumerated() {
      guard let slot = slots[task.slot], !slot.isGreedy else {
        factors[row] = 1
        continue
      }
      factors[row] = 1 / Temperature.effective(slot.sampling.params.temperature)
      scales = scales || factors[row] != 1
    }
    let used = tile.first(tasks.count)
    let factors = self.factors
    if scales { device.scaleRows(used, by: factors.span) }
    processed.update(used, device: device)
  }

  /// The stages before temperature, on a copy where the raw row is still needed.
  func process(
    _ task: Task, _ drafted: DraftedTokens, row: Int, from logits: Tensor, in processing: Tensor, lane: Int
  ) {
    if processing.pointer != logits.pointer {
      (processing.float32 + row * processing.rowStride).update(
        from: logits.float32 + row * logits.rowStride, count: logits.rowStride)
    }
    guard let slot = slots[task.slot], slot.changesLogits else { return }
    Processors.apply(slot, drafted: drafted, to: line(processing, row), scratch: floats(lane))
  }

  /// The stages after it, and log-probabilities.
  func finish(
    _ task: Task, row: Int, raw logits: Tensor, processed processing: Tensor, lane: Int, output: Output
  ) {
    guard let slot = slots[task.slot] else { return }
    var candidates = candidates(lane)
    if let token = task.promptToken {
      output.prompts[task.result].chosen = Logprobs.of(token, in: line(logits, row), statistics: raw.row(row))
    } else {
      let token = Choice.token(
        line(processing, row), statistics: processed.row(row), slot: slot,
        position: slot.tokenCount + task.drafted.count, candidates: &candidates)
      output.samples[task.result].token = token
      if task.wantsLogprobs {
        let chosen = Logprobs.of(token, in: line(logits, row), statistics: raw.row(row))
        output.samples[task.result].logprob = chosen.logprob
        output.samples[task.result].rank = chosen.rank
      }
    }
    guard task.alternativeCount > 0 else { return }
    let places = UnsafeMutableBufferPointer(
      rebasing: output.alternatives[task.firstAlternative..<task.firstAlternative + task.alternativeCount])
    let count: Int
    if task.promptToken == nil, let listed = slot.listed {
      count = Logprobs.listed(
        listed, line(logits, row), statistics: raw.row(row), candidates: &candidates, into: places)
    } else {
      count = Logprobs.mostLikely(line(logits, row), statistics: raw.row(row), candidates: &candidates, into: places)
    }
    if task.promptToken == nil {
      output.samples[task.result].alternativeCount = Int32(count)
    } else {
      output.prompts[task.result].alternativeCount = Int32(count)
    }
  }

  private func line(_ tile: Tensor, _ row: Int) -> LogitsRow {
    LogitsRow(start: tile.float32 + row * tile.rowStride, count: vocabularySize)
  }
}
