// From logits to tokens: one file a stage, in the order stated below. This room must not know where logits come from;
// a row's token depends on that row, its request and its position alone.
// Start with Sampler, then Choice.

package import SwerveCore
package import SwerveHardware

/// Chooses the tokens of a step, and reports log-probabilities.
///
/// The order of stages: allowed ids → logit bias (−100 bans) → bad words → min_tokens mask → repetition, frequency and
/// presence penalties → temperature → min-p → top-k → top-p → draw. Greedy rows take the argmax after the penalties, the
/// lowest token among equals. Log-probabilities are those of the raw logits.
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
    /// Range reserved in `StepResult.alternatives`.
    package var firstAlternative = 0
    package var alternativeCount = 0
    package var wantsLogprobs: Bool

    package init(slot: Int, result: Int, promptToken: TokenID? = nil, alternativeCount: Int, wantsLogprobs: Bool) {
      self.slot = slot
      self.result = result
      self.promptToken = promptToken
      self.alternativeCount = alternativeCount
      self.wantsLogprobs = wantsLogprobs
    }
  }

  package let vocabularySize: Int
  private let device: CPUDevice
  private let contextTokens: Int
  /// [maxSequences]; nil = free.
  package private(set) var slots: [SamplerSlot?]
  private let raw: TileStatistics
  private let processed: TileStatistics
  /// [tile rows] 1 / temperature
  private var factors: [Float]
  /// [lanes] of `laneBytes`: candidates, then a row of floats
  private let laneMemory: DeviceBuffer
  private let laneBytes: Int
  private let laneCount: Int

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
  /// - Parameter work: a second tile of the same shape, used where raw logits must survive the processing; the first one
  ///   is overwritten otherwise.
  package func run(_ tasks: [Task], logits: Tensor, work: Tensor, result: inout StepResult) {
    let wantsLogprobs = tasks.contains { $0.wantsLogprobs }
    if wantsLogprobs { raw.update(logits, device: device) }
    let samples = tasks.contains { $0.promptToken == nil }
    let processing = wantsLogprobs && samples ? work : logits
    if samples {
      let changes = tasks.contains { slots[$0.slot]?.changesLogits ?? false }
      if changes || wantsLogprobs {
        runLanes(tasks, raw: logits, processing: processing, output: nil)
      }
      prepareStatistics(tasks, processing)
    }
    result.samples.withUnsafeMutableBufferPointer { samples in
      result.promptLogprobs.withUnsafeMutableBufferPointer { prompts in
        result.alternatives.withUnsafeMutableBufferPointer { alternatives in
          let output = Output(samples: samples, prompts: prompts, alternatives: alternatives)
          runLanes(tasks, raw: logits, processing: processing, output: output)
        }
      }
    }
    for task in tasks where task.promptToken == nil { slots[task.slot]?.append(result.samples[task.result].token) }
  }

  /// Where a tile's results go: reserved places, each written by one row.
  private struct Output {
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
  private func process(_ task: Task, row: Int, from logits: Tensor, in processing: Tensor, lane: Int) {
    if processing.pointer != logits.pointer {
      (processing.float32 + row * processing.rowStride).update(
        from: logits.float32 + row * logits.rowStride, count: logits.rowStride)
    }
    guard let slot = slots[task.slot], slot.changesLogits else { return }
    Processors.apply(slot, to: line(processing, row), scratch: floats(lane))
  }

  private func finish(
    _ task: Task, row: Int, raw logits: Tensor, processed processing: Tensor, lane: Int, output: Output
  ) {
    guard let slot = slots[task.slot] else { return }
    var candidates = candidates(lane)
    if let token = task.promptToken {
      output.prompts[task.result].chosen = Logprobs.of(token, in: line(logits, row), statistics: raw.row(row))
    } else {
      let token = Choice.token(
        line(processing, row), statistics: processed.row(row), slot: slot, candidates: &candidates)
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

  // MARK: Lanes

  private func candidates(_ lane: Int) -> Candidates {
    Candidates(memory: laneMemory.pointer + lane * laneBytes, vocabularySize: vocabularySize)
  }

  /// [vocabulary]
  private func floats(_ lane: Int) -> UnsafeMutableBufferPointer<Float> {
    let start = laneMemory.pointer + lane * laneBytes + Candidates.byteCount(vocabularySize: vocabularySize)
    return UnsafeMutableBufferPointer(
      start: start.bindMemory(to: Float.self, capacity: vocabularySize), count: vocabularySize)
  }

  /// One pass over the rows of a tile, handed through the pool as a pointer: what it is and what it works on. It outlives
  /// the call because `runLanes` waits for all lanes. No closure: one would be allocated.
  private struct LaneJob {
    var sampler: Unmanaged<Sampler>
    var tasks: UnsafeBufferPointer<Task>
    var lanes: Int
    var raw: Tensor
    var processing: Tensor
    /// nil = the stages before temperature.
    var output: Output?
  }

  /// Runs a pass over every row; lane i takes rows i, i + lanes, … so that each lane owns its scratch.
  private func runLanes(_ tasks: [Task], raw: Tensor, processing: Tensor, output: Output?) {
    tasks.withUnsafeBufferPointer { tasks in
      let lanes = min(laneCount, tasks.count)
      var job = LaneJob(
        sampler: .passUnretained(self), tasks: tasks, lanes: lanes, raw: raw, processing: processing, output: output)
      withUnsafePointer(to: &job) { pointer in
        device.runLanes(lanes, job: UnsafeRawPointer(pointer)) { context, begin, end, _ in
          guard let holder = context?.assumingMemoryBound(to: UnsafeRawPointer.self).pointee else { return }
          let job = holder.assumingMemoryBound(to: LaneJob.self).pointee
          for lane in begin..<end { job.sampler.takeUnretainedValue().run(job, lane: lane) }
        }
      }
    }
  }

  private func run(_ job: borrowing LaneJob, lane: Int) {
    for row in stride(from: lane, to: job.tasks.count, by: job.lanes) {
      if let output = job.output {
        finish(job.tasks[row], row: row, raw: job.raw, processed: job.processing, lane: lane, output: output)
      } else {
        process(job.tasks[row], row: row, from: job.raw, in: job.processing, lane: lane)
      }
    }
  }
}
