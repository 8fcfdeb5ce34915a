import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveTransfer

/// Attention at data workers: each sequence's rows go to the worker that has its blocks, to all of them before any answer
/// is awaited. Where one worker has all rows, they are written into and read from its channel in place.
///
/// A step may come in micro-batches, which are with workers at once. Sequences that lie with several workers go through
/// each layer in turns (`FanoutAttention+Turns.swift`); a step with such a sequence comes in one piece.
///
/// A worker that is lost in a step makes its sequences `incomplete`; the others go on as if nothing had happened.
final class FanoutAttention: AttentionPort {
  let shape: AttentionShape
  let workers: DataSet
  private let device: CPUDevice
  private let banks: StepPlan.Banks
  private let failsSteps: Bool
  /// A [maxRows, Hq × d]: output gathered from several workers, and what stands for rows that none computed.
  private let outputBuffer: DeviceBuffer
  let output: Tensor
  /// [maxRows, rowStateBytes]: running values on their way from worker to worker; empty where no sequence lies with
  /// several.
  let states: DeviceBuffer
  let rowStateBytes: Int

  /// Of the step that workers were told last: a plan may come in pieces, each of which is a step to them.
  private var stepNumber: UInt64 = 0
  /// Whether a step was begun and has not been ended.
  private var isUnderWay = false

  // Of the step; storage is kept.
  /// Micro-batches, or turns.
  var parts: [FanoutPart]
  /// Turns of a step that comes in one piece; 1: every sequence lies with one worker.
  var turnCount = 1
  private var microBatchCount = 1
  /// Which sequence has blocks with which worker.
  private var holders: [(sequence: Int32, worker: Int32)] = []
  /// [micro-batches] a layer's rows, when they were handed over.
  var submitted: [AttentionRows?]
  private var submittedAt: [UInt64]
  private var rule: OverlapRule
  private var begunAt: UInt64 = 0
  private var waited: UInt64 = 0

  /// - Parameters:
  ///   - microBatches: of a step; nil: as the steps suggest.
  ///   - leastRows: of a micro-batch, where that is so.
  ///   - failsSteps: whether a step ends where a worker is lost: what is computed from there on goes to ranks that know
  ///     nothing of single sequences.
  init(
    shape: AttentionShape, type: ElementType, limits: RunnerLimits, workers: DataSet, device: CPUDevice,
    microBatches: Int? = 1, leastRows: Int = StepPieces.leastRows, failsSteps: Bool = false
  ) throws(HardwareError) {
    self.shape = shape
    self.workers = workers
    self.device = device
    banks = StepPlan.Banks(
      blocks: workers.bankBlocks, blockTokens: limits.blockTokens, hasPlaces: workers.hasPlaces)
    self.failsSteps = failsSteps
    outputBuffer = try device.allocate(byteCount: limits.rows * shape.queryWidth * type.byteCount)
    output = outputBuffer.tensor(type, rows: limits.rows, columns: shape.queryWidth)
    let most = Int(workers.template.parts)
    rowStateBytes = Int(workers.template.rowStateBytes)
    states = try device.allocate(byteCount: limits.rows * rowStateBytes)
    parts = (0..<most).map { _ in FanoutPart(workers: workers.links.count, sequences: limits.sequences) }
    submitted = [AttentionRows?](repeating: nil, count: most)
    submittedAt = [UInt64](repeating: 0, count: most)
    rule = OverlapRule(wanted: microBatches, leastRows: leastRows, most: min(most, StepPieces.most))
    holders.reserveCapacity(limits.sequences + workers.links.count)
  }

  var blocks: (any BlockMemory)? { workers.pools == nil ? nil : workers }

  // MARK: The step

  func microBatches(_ plan: borrowing StepPlan) -> Int {
    for index in plan.sequences.indices where isSpread(plan.sequences[index], plan) { return 1 }
    var sharesCores = false
    for link in workers.links where link?.greeting.sharesCores == true { sharesCores = true }
    return rule.count(rows: plan.tokens.count, sharesCores: sharesCores)
  }

  private func isSpread(_ step: SequenceStep, _ plan: borrowing StepPlan) -> Bool {
    !banks.hasPlaces && step.blockCount > 1
      && workers.owner(of: plan.blocks[Int(step.firstBlock)])
        != workers.owner(of: plan.blocks[Int(step.firstBlock + step.blockCount) - 1])
  }

  func begin(_ plan: borrowing StepPlan) -> StepHandle {
    start(plan, pieces: 1)
    turnCount = 0
    while begin(plan, part: turnCount, turn: turnCount, firstRow: 0) {
      turnCount += 1
      precondition(turnCount < parts.count, "a sequence lies with more workers than can take turns")
    }
    turnCount += 1
    return StepHandle(plan: plan.id)
  }

  func begin(_ plan: borrowing StepPlan, parts pieces: [StepPlan]) -> StepHandle {
    start(plan, pieces: pieces.count)
    turnCount = 1
    var firstRow = 0
    for part in pieces.indices {
      _ = begin(pieces[part], part: part, turn: 0, firstRow: firstRow)
      firstRow += pieces[part].tokens.count
    }
    return StepHandle(plan: plan.id)
  }

  private func start(_ plan: borrowing StepPlan, pieces: Int) {
    isUnderWay = true
    stepNumber += 1
    begunAt = TransferClock.now
    waited = 0
    microBatchCount = pieces
    workers.steps.begin(pieces)
    holders.removeAll(keepingCapacity: true)
    for index in plan.sequences.indices where plan.sequences[index].blockCount > 0 {
      let step = plan.sequences[index]
      var turn = 0
      while let stretch = plan.stretch(turn, of: step, in: banks) {
        holders.append((Int32(index), Int32(stretch.bank)))
        turn += 1
      }
    }
  }

  /// The step failed between two layers for a reason that was not a worker's: those that still have rows of it would answer
  /// for them later, and are replaced by ones that find their blocks.
  func giveUpStep() {
    guard isUnderWay else { return }
    isUnderWay = false
    for part in parts {
      for worker in part.active {
        guard let link = workers.links[worker] else { continue }
        link.lose("\(link.name) was told of a step that was given up half-way")
      }
    }
  }

  /// Tells the workers of a part. Whether any sequence of it has another turn.
  private func begin(_ plan: borrowing StepPlan, part: Int, turn: Int, firstRow: Int) -> Bool {
    parts[part].active.removeAll(keepingCapacity: true)
    for index in workers.links.indices {
      if workers.links[index]?.begin(plan, number: stepNumber, part: part, turn: turn) == true {
        parts[part].active.append(index)
      }
    }
    return parts[part].list(plan, turn: turn, firstRow: firstRow, in: banks)
  }

  func end(_ handle: StepHandle) -> ResidencyChanges {
    var changes = ResidencyChanges()
    isUnderWay = false
    for link in workers.links { link?.giveBack() }
    for holder in holders where workers.links[Int(holder.worker)]?.state != .ready {
      if changes.incomplete.last != holder.sequence { changes.incomplete.append(holder.sequence) }
    }
    if microBatchCount == 1 {
      rule.measured(rows: parts[0].rowCount, nanoseconds: TransferClock.now - begunAt, waited: waited)
    }
    return changes
  }

  // MARK: Layers

  func places(layer: Int, microbatch: Int, rows: Int) -> AttentionRows? {
    parts[microbatch].isWhole
      ? workers.links[parts[microbatch].active[0]]?.places(shape, part: microbatch)?.rows : nil
  }

  func submit(layer: Int, microbatch: Int, q: Tensor, k: Tensor, v: Tensor) {
    let rows = AttentionRows(q: q, k: k, v: v)
    submitted[microbatch] = rows
    post(layer: layer, part: microbatch, rows)
    submittedAt[microbatch] = TransferClock.now
  }

  /// Sends a part's rows to the workers that have them.
  func post(layer: Int, part: Int, _ rows: AttentionRows) {
    for worker in parts[part].active {
      guard let link = workers.links[worker] else { continue }
      let bytes = turnCount == 1 ? 0 : parts[part].stateRows(of: worker) { $0.continues } * rowStateBytes
      if let places = link.places(shape, part: part, states: bytes) {
        // Where it is whole the rows are there, unless the worker was lost since they were written elsewhere.
        if places.rows.q.pointer != rows.q.pointer { copy(rows, to: places.rows, part: part, worker: worker) }
        if bytes > 0 { copyStates(to: places.states, part: part, worker: worker) }
      }
      link.post(layer: layer, part: part)
    }
  }

  private func copy(_ rows: AttentionRows, to places: AttentionRows, part: Int, worker: Int) {
    copy(rows.q, to: places.q, part: part, worker: worker)
    copy(rows.k, to: places.k, part: part, worker: worker)
    copy(rows.v, to: places.v, part: part, worker: worker)
  }

  private func copy(_ from: Tensor, to: Tensor, part: Int, worker: Int) {
    let bytes = from.columns * from.type.byteCount
    for run in parts[part].runs where run.worker == Int32(worker) {
      for row in 0..<Int(run.rowCount) {
        (to.pointer + (Int(run.localRow) + row) * bytes).copyMemory(
          from: from.pointer + (Int(run.firstRow) + row) * from.rowBytes, byteCount: bytes)
      }
    }
  }

  func result(layer: Int, microbatch: Int) throws -> Tensor {
    let asked = TransferClock.now
    // Kernel threads leave their cores to those that are waited for.
    if workers.sharesCores { device.pool.rest() }
    let found = collect(layer: layer, part: microbatch)
    for turn in 1..<max(turnCount, 1) { takeTurn(turn, layer: layer) }
    if failsSteps {
      for link in workers.links { if case .lost(let reason)? = link?.state { throw TransferError.refused(reason) } }
    }
    let now = TransferClock.now
    waited += now - asked
    workers.steps.note(waited: now - asked, of: now - min(submittedAt[microbatch], asked))
    return found
  }

  /// The output of a part's rows, in place where one worker has all of them.
  @discardableResult
  func collect(layer: Int, part: Int) -> Tensor {
    let rows = parts[part].firstRow..<parts[part].firstRow + parts[part].rowCount
    if parts[part].isWhole {
      guard let link = workers.links[parts[part].active[0]] else { return output.rows(rows) }
      // What was read before has been used.
      link.giveBack()
      return link.output(layer: layer, part: part, shape)?.rows ?? output.rows(rows)
    }
    for worker in parts[part].active {
      guard let link = workers.links[worker] else { continue }
      link.giveBack()
      let bytes = turnCount == 1 ? 0 : parts[part].stateRows(of: worker) { $0.goesOn } * rowStateBytes
      guard let answer = link.output(layer: layer, part: part, shape, states: bytes) else { continue }
      let begin = TransferClock.now
      takeOutput(answer.rows, part: part, worker: worker)
      if bytes > 0 { takeStates(from: answer.states, part: part, worker: worker) }
      link.giveBack()
      link.noteDone(since: begin)
    }
    return output.rows(rows)
  }

  private func takeOutput(_ rows: Tensor, part: Int, worker: Int) {
    let bytes = output.rowBytes
    for run in parts[part].runs where run.worker == Int32(worker) && !run.goesOn {
      (output.pointer + (parts[part].firstRow + Int(run.firstRow)) * bytes).copyMemory(
        from: rows.pointer + Int(run.localRow) * bytes, byteCount: Int(run.rowCount) * bytes)
    }
  }
}
