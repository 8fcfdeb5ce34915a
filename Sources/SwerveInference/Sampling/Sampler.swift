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
  /// Of the rows as the head's product gives them, but for the temperature of rows that nothing else changes.
  let direct: TileStatistics
  /// Of rows that processors changed, or whose raw logits are wanted beside the scaled ones.
  private let processed: TileStatistics
  /// [tile rows] what `direct` holds of each
  let requests: UnsafeMutableBufferPointer<RowRequest>
  /// [lanes] of `laneBytes`: masses, candidates, then a row of floats
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
    direct = TileStatistics(rows: tileRows, pieces: pieces)
    processed = TileStatistics(rows: tileRows, pieces: pieces)
    requests = .allocate(capacity: tileRows)
    requests.initialize(repeating: RowRequest(.nothing))
    laneBytes = Self.laneBytes(vocabularySize)
    laneCount = device.threadCount
    do {
      laneMemory = try device.allocate(byteCount: laneBytes * laneCount)
    } catch {
      requests.deallocate()
      throw error
    }
  }

  deinit { requests.deallocate() }

  static func pieces(_ vocabularySize: Int) -> Int { StatisticsTable.pieces(vocabularySize) }

  /// Floats of a row of a tile: the vocabulary and its padding, which is not read.
  package static func paddedWidth(_ vocabularySize: Int) -> Int { pieces(vocabularySize) * RowStatistics.width }

  static func laneBytes(_ vocabularySize: Int) -> Int {
    let masses = Rejection.byteCount(pieces: pieces(vocabularySize))
    return (masses + Candidates.byteCount(vocabularySize: vocabularySize) + vocabularySize * 4 + 63) / 64 * 64
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

  /// Works off a tile of raw logits, f32 [tasks, vocabulary], of which nothing is known yet.
  ///
  /// - Parameters:
  ///   - tokens: as in `choose`.
  ///   - work: as in `choose`.
  package func run(
    _ tasks: [Task], tokens: [TokenID] = [], logits: Tensor, work: Tensor, result: inout StepResult
  ) {
    guard !tasks.isEmpty else { return }
    let request = prepare(tasks)
    device.statistics(
      logits.first(tasks.count).columns(0..<vocabularySize), requests: request.requests, into: request.statistics)
    choose(tasks, tokens: tokens, logits: logits, work: work, result: &result)
  }

  /// Works off a tile whose logits and statistics are there as `prepare` asked for them.
  ///
  /// - Parameters:
  ///   - tokens: the step's tokens, to which `Task.drafted` refers.
  ///   - work: a second tile of the same shape, used where raw logits must survive the processing; the first one is
  ///     overwritten otherwise.
  package func choose(
    _ tasks: [Task], tokens: [TokenID] = [], logits: Tensor, work: Tensor, result: inout StepResult
  ) {
    result.samples.withUnsafeMutableBufferPointer { samples in
      result.promptLogprobs.withUnsafeMutableBufferPointer { prompts in
        result.alternatives.withUnsafeMutableBufferPointer { alternatives in
          let output = Output(samples: samples, prompts: prompts, alternatives: alternatives)
          runLanes(tasks, tokens, logits: logits, work: work, output: output)
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

  func finish(
    _ task: Task, _ drafted: DraftedTokens, row: Int, logits: Tensor, work: Tensor, lane: Int, output: Output
  ) {
    guard let slot = slots[task.slot] else { return }
    var candidates = candidates(lane)
    let statistics = direct.row(row)
    let raw = scan(logits, row, statistics)
    if let token = task.promptToken {
      output.prompts[task.result].chosen = Logprobs.of(token, in: raw, statistics: statistics)
    } else {
      let (ready, readyStatistics) = ready(
        task, drafted, row: row, slot, raw: raw, logits: logits, work: work, lane: lane)
      let token = Choice.token(
        ready, statistics: readyStatistics, slot: slot, position: slot.tokenCount + drafted.count,
        candidates: &candidates, rejection: rejection(lane))
      output.samples[task.result].token = token
      if task.wantsLogprobs {
        let chosen = Logprobs.of(token, in: raw, statistics: statistics)
        output.samples[task.result].logprob = chosen.logprob
        output.samples[task.result].rank = chosen.rank
      }
    }
    guard task.alternativeCount > 0 else { return }
    let places = UnsafeMutableBufferPointer(
      rebasing: output.alternatives[task.firstAlternative..<task.firstAlternative + task.alternativeCount])
    let count: Int
    if task.promptToken == nil, let listed = slot.listed {
      count = Logprobs.listed(listed, raw, statistics: statistics, candidates: &candidates, into: places)
    } else {
      count = Logprobs.mostLikely(raw, statistics: statistics, candidates: &candidates, into: places)
    }
    if task.promptToken == nil {
      output.samples[task.result].alternativeCount = Int32(count)
    } else {
      output.prompts[task.result].alternativeCount = Int32(count)
    }
  }

  /// A row through the stages before the choice, on a copy where the raw one is still needed.
  private func ready(
    _ task: Task, _ drafted: DraftedTokens, row: Int, _ slot: borrowing SamplerSlot, raw: RowScan, logits: Tensor,
    work: Tensor, lane: Int
  ) -> (RowScan, RowStatistics) {
    let request = choiceRequest(slot)
    let isReady = !slot.changesLogits && (!task.wantsLogprobs || request.factor == 1)
    if isReady { return (raw, direct.row(row)) }
    var line = logits.rows(row..<row + 1).columns(0..<vocabularySize)
    if task.wantsLogprobs {
      let copy = work.rows(row..<row + 1).columns(0..<vocabularySize)
      copy.float32.update(from: line.float32, count: vocabularySize)
      line = copy
    }
    if slot.changesLogits {
      Processors.apply(
        slot, drafted: drafted, to: LogitsRow(start: line.float32, count: vocabularySize), scratch: floats(lane))
    }
    withUnsafePointer(to: request) {
      device.statisticsHere(line, requests: $0, into: processed.table.from(row))
    }
    let statistics = processed.row(row)
    return (scan(line, 0, statistics), statistics)
  }

  private func scan(_ tile: Tensor, _ row: Int, _ statistics: RowStatistics) -> RowScan {
    guard let maxima = statistics.maxima.baseAddress else { preconditionFailure("an empty vocabulary") }
    return device.scan(
      LogitsRow(start: tile.float32 + row * tile.rowStride, count: vocabularySize), maxima: maxima)
  }
}
