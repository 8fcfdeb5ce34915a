package import SwerveCore
package import SwerveScheduling
package import SwerveTransfer

/// The engine thread's state: scheduler, executor and the buffers between them. Built inside the thread's body and never
/// leaves it, so nothing here is locked or `Sendable`.
package struct EngineLoop: ~Copyable {
  var scheduler: Scheduler
  private let executor: any StepExecutor
  /// Where blocks of running sequences may be; only its counters are read here.
  private let overflow: (any OverflowStore)?
  /// What moved for gathered weights; nil where all are resident.
  private let gatherTraffic: (() -> GatherTraffic)?
  private let inbox: Mailbox<InboxMessage>
  private let publisher: Mailbox<PublisherMessage>
  private let spares: Mailbox<StepOutputs>
  private let board: StatusBoard
  let clock: EngineClock
  /// Blocks below the device; nil without.
  private let tiers: BlockTiers?
  /// Workers that have the keys and values; nil where this process has them.
  private let data: DataSet?
  /// Prompts whose blocks go to other engines; nil without.
  private let handover: BlockHandover?
  /// Only its counters are read here.
  private let exchange: BlockExchange?

  // Reused by every step: nothing is allocated while tokens flow.
  private var messages: [InboxMessage] = []
  var plan = StepPlan()
  var result = StepResult()
  private var emptied: [StepOutputs] = []
  private var totals = EngineStatistics()
  /// Keys and values of one block over all layers.
  private let blockBytes: Int
  /// What drafts cost; kept only where there are some.
  private var rowCost: RowCost?
  /// What a step may read from the overflow store; kept only where that is to be measured.
  private var storeBudget: StoreBudget?
  /// Submitted requests taken from the inbox, and their prompt tokens.
  private var taken = StatusBoard.Taken()
  /// Beam searches under way.
  var searches: [RequestID: BeamSearch] = [:]
  /// Searches that this step decided, for the publisher, which hears of the step first.
  var decided: [PublisherMessage] = []
  /// Requests that waited too long.
  private var expired: [RequestID] = []
  private var isRunning = true
  /// Whether what executes plans is being started again.
  private var isRestarting = false
  /// Whether the last step had nothing to compute although there was work.
  private var isWaitingForBlocks = false
  /// Steps that failed since the last one that did not.
  private var failedSteps = 0
  /// Why no step will run again; nil while the engine lives.
  private var death: RequestError?

  /// Steps that may fail one after the other before the engine counts as dead: a fault of one request ends with that
  /// request, a fault of the device does not.
  static var mostFailedSteps: Int { 16 }

  package init(
    scheduler: consuming Scheduler, executor: any StepExecutor, overflow: (any OverflowStore)? = nil,
    storeBudget: StoreBudget? = nil, inbox: Mailbox<InboxMessage>,
    publisher: Mailbox<PublisherMessage>, spares: Mailbox<StepOutputs>, board: StatusBoard, clock: EngineClock,
    totals: EngineStatistics, tiers: BlockTiers? = nil, data: DataSet? = nil,
    handover: BlockHandover? = nil, exchange: BlockExchange? = nil,
    gatherTraffic: (() -> GatherTraffic)? = nil
  ) {
    self.scheduler = scheduler
    self.executor = executor
    self.overflow = overflow
    self.storeBudget = overflow == nil ? nil : storeBudget
    self.inbox = inbox
    self.publisher = publisher
    self.spares = spares
    self.board = board
    self.clock = clock
    self.totals = totals
    self.tiers = tiers
    self.data = data
    self.handover = handover
    self.exchange = exchange
    self.gatherTraffic = gatherTraffic
    blockBytes = totals.kvBytes / max(self.scheduler.statistics.blocksTotal, 1)
    if let speculation = self.scheduler.configuration.speculation, speculation.rowCost == nil {
      rowCost = RowCost(prior: SchedulerConfiguration.rowCost)
    }
    // From the first look on, reports know who has what.
    if let data { self.totals.data = data.statistics(self.scheduler) }
    messages.reserveCapacity(64)
    emptied.reserveCapacity(4)
    let now = clock.now()
    board.update(statistics: statistics(now: now), taken: taken, now: now)
  }

  /// Steps until told to stop; parks only when there is nothing to run.
  package mutating func run() {
    while isRunning { step() }
  }

  /// Ends what moves blocks; nothing is stepped afterwards. Waits for disks, some seconds at most.
  package mutating func close() {
    if let data {
      totals.data = data.statistics(scheduler)
      data.close()
    }
    if let tiers {
      tiers.close()
      if tiers.keepsBlocks { totals.tiers = tiers.statistics }
    }
    totals.ranks = executor.rankTraffic(isLast: true)
    if tiers == nil && data == nil && totals.ranks == nil { return }
    let now = clock.now()
    board.update(statistics: statistics(now: now), taken: taken, now: now)
  }

  /// One step: drain → schedule → execute, sample and apply → publish; around the plan, blocks move between tiers.
  package mutating func step() {
    if death != nil { return drain() }
    drain()
    isRestarting = !executor.isReady()
    if isRestarting {
      let now = clock.now()
      return board.update(statistics: statistics(now: now), taken: taken, now: now)
    }
    var outputs = spareOutputs()
    outputs.start = clock.now()
    if let tiers {
      scheduler.collectReads(now: outputs.start.nanoseconds)
      tiers.advance(&scheduler)
      for (request, why) in tiers.takeMissing() { drop(request, .missingBlocks(why)) }
    }
    data?.advance(&scheduler)
    scheduler.schedule(into: &plan, now: outputs.start.nanoseconds, expired: &expired)
    for request in expired {
      searches[request] = nil
      endTransfer(of: request)
      publisher.post(.drop(request, .waitedTooLong(retryAfter: board.retryAfter)))
    }
    tiers?.swapOut(&scheduler, executor)
    executor.move(plan)
    tiers?.load(&scheduler, executor)
    execute(into: &outputs)
    tiers?.keep(&scheduler, executor)
    if exchange != nil { endTransfers(outputs.outputs) }
    measure(since: outputs.start)
    measureStore(since: outputs.start)
    publish(&outputs)
    for message in decided { publisher.post(message) }
    decided.removeAll(keepingCapacity: true)
  }

  // MARK: In

  /// Takes the messages that are there. Waits for the first when there is nothing to run: not for ever while blocks move,
  /// and hardly at all while sequences wait for theirs.
  private mutating func drain() {
    if death != nil {
      inbox.take(into: &messages, waits: true)
    } else if isRestarting {
      inbox.take(into: &messages, within: 0.005)
    } else if scheduler.hasWork {
      if (tiers != nil || data != nil) && isWaitingForBlocks {
        inbox.take(into: &messages, within: 0.001)
      } else {
        inbox.take(into: &messages, waits: false)
      }
    } else if tiers?.hasPending == true || data?.isChanging == true {
      inbox.take(into: &messages, within: 0.005)
    } else {
      inbox.take(into: &messages, waits: true)
    }
    for message in messages {
      switch message {
      case .submit(let request, let search): add(request, search)
      case .cancel(let request):
        drop(request, nil)
      case .handOver(let request, let transfer): handover?.add(request, transfer)
      case .expect(let request, let transfer): tiers?.expect(transfer, for: request)
      case .finish(let sequence): _ = scheduler.finish(sequence)
      case .resetPrefixCache(let answer):
        let isEmpty = death == nil && scheduler.resetPrefixCache()
        if let tiers { tiers.removeAll { answer($0 && isEmpty) } } else { answer(isEmpty) }
      case .attachWorker(let endpoint, let answer):
        if let data { data.attach(at: endpoint, &scheduler, answer) } else { answer(.failure(.isUnified)) }
      case .drainWorker(let worker, let seconds, let answer):
        if let data {
          data.drain(worker, within: seconds, &scheduler, answer)
        } else {
          answer(.failure(.isUnified))
        }
      case .stop: isRunning = false
      }
    }
  }

  private mutating func drop(_ request: RequestID, _ error: RequestError?) {
    _ = scheduler.cancel(request: request)
    searches[request] = nil
    endTransfer(of: request)
    publisher.post(.drop(request, error))
  }

  /// What was to go out of a request, or to come in, is wanted no more.
  private func endTransfer(of request: RequestID) {
    handover?.end(request)
    tiers?.forget(request)
  }

  private func endTransfers(_ outputs: [SequenceOutput]) {
    for output in outputs where output.finish != nil { endTransfer(of: output.sequence.request) }
  }

  private mutating func add(_ request: WaitingRequest, _ search: BeamSettings?) {
    taken.requests += 1
    taken.tokens += request.promptTokens.count
    if let death {
      endTransfer(of: request.request)
      return publisher.post(.drop(request.request, death))
    }
    do {
      try scheduler.add(request)
      if let search, let maxTokens = scheduler.maxNewTokens(of: request.request) {
        searches[request.request] = BeamSearch(search, promptTokens: request.promptTokens, maxTokens: maxTokens)
      }
    } catch SchedulingError.beamsTooWide(let width, let limit) {
      endTransfer(of: request.request)
      let error = SchedulingError.beamsTooWide(width: width, limit: limit)
      publisher.post(.drop(request.request, .badRequest("\(error)", param: "n")))
    } catch {
      endTransfer(of: request.request)
      publisher.post(.drop(request.request, .badRequest("\(error)", param: "prompt")))
    }
  }

  // MARK: Run

  /// Runs the plan. A failing step ends its sequences with an error and leaves the loop running.
  private mutating func execute(into step: inout StepOutputs) {
    result.removeAll()
    do {
      if !plan.isEmpty { try executor.execute(plan, into: &result) }
      handover?.collect(plan, result.incomplete, executor)
      data?.suspendLost(&scheduler)
      scheduler.apply(plan, result, into: &step.outputs)
      if !result.incomplete.isEmpty { step.cause = data?.lastLoss }
      if !plan.sequences.isEmpty { failedSteps = 0 }
      if !searches.isEmpty { continueSearches() }
    } catch let interrupted as StepInterrupted {
      result.removeAll()
      scheduler.interrupt(plan, into: &step.outputs)
      step.cause = interrupted.reason
    } catch {
      board.record(failure: "\(error)")
      result.removeAll()
      scheduler.fail(plan, into: &step.outputs)
      step.cause = "\(error)"
      failedSteps += 1
      if failedSteps == Self.mostFailedSteps { die(of: error) }
    }
  }

  /// Gives up: whoever waits or comes is told why, and `health` says it.
  private mutating func die(of error: any Error) {
    let why = "\(failedSteps) steps failed one after the other, the last one with: \(error)"
    let refusal = RequestError(.unavailable, "The engine has stopped: \(why)", retryAfter: 30)
    death = refusal
    board.record(failure: "The engine stops: \(why)")
    board.set(.dead(why))
    publisher.post(.dropAll(refusal))
  }

  /// Tells the scheduler what a row costs. Steps that compute prompts say little about decoding.
  private mutating func measure(since start: EngineInstant) {
    guard rowCost != nil, !plan.sequences.isEmpty else { return }
    for sequence in plan.sequences where sequence.rowCount - sequence.draftCount > 1 { return }
    rowCost?.record(rows: plan.tokens.count, seconds: clock.now().seconds(since: start))
    if let value = rowCost?.value { scheduler.setRowCost(value) }
  }

  /// Tells the scheduler how much of the overflow store a step may read.
  private mutating func measureStore(since start: EngineInstant) {
    guard storeBudget != nil, let overflow else { return }
    storeBudget?.record(readBytes: overflow.traffic.readBytes, seconds: clock.now().seconds(since: start))
    if let blocks = storeBudget?.blocksPerStep { scheduler.setStoreBlocksPerStep(blocks) }
  }

  // MARK: Out

  private mutating func spareOutputs() -> StepOutputs {
    if emptied.isEmpty { spares.take(into: &emptied, waits: false) }
    return emptied.popLast() ?? StepOutputs()
  }

  private mutating func publish(_ outputs: inout StepOutputs) {
    let now = clock.now()
    totals.steps += plan.sequences.isEmpty ? 0 : 1
    totals.kvReadBytes += plan.blocks.count * blockBytes
    let duration = now.nanoseconds > outputs.start.nanoseconds ? now.nanoseconds - outputs.start.nanoseconds : 0
    if !plan.sequences.isEmpty { totals.stepSeconds += Double(duration) * 1e-9 }
    scheduler.observeStep(rows: plan.tokens.count, nanoseconds: duration)
    if let tiers, plan.sequences.contains(where: { $0.rowCount - $0.draftCount > 1 }) {
      tiers.observe(promptRows: plan.tokens.count, seconds: Double(duration) * 1e-9)
    }
    isWaitingForBlocks = plan.sequences.isEmpty && scheduler.hasWork
    outputs.tokenCount = plan.tokens.count
    outputs.now = now
    if let changed = tiers?.takeStatistics() { totals.tiers = changed }
    if let changed = data?.takeStatistics(scheduler, isLast: !scheduler.hasWork) { totals.data = changed }
    if let changed = executor.rankTraffic(isLast: false) { totals.ranks = changed }
    board.update(statistics: statistics(now: now), taken: taken, now: now)
    if outputs.outputs.isEmpty && result.promptLogprobs.isEmpty && outputs.tokenCount == 0 {
      emptied.append(outputs)
      return
    }
    swap(&outputs.samples, &result.samples)
    swap(&outputs.alternatives, &result.alternatives)
    swap(&outputs.promptLogprobs, &result.promptLogprobs)
    if !outputs.promptLogprobs.isEmpty {
      for sequence in plan.sequences { outputs.sequences.append(sequence.sequence) }
    }
    publisher.post(.step(outputs))
  }

  /// The scheduler's gauges and counters over the constants known at start.
  private func statistics(now: EngineInstant) -> EngineStatistics {
    var all = scheduler.statistics
    all.steps = totals.steps
    all.tiers = totals.tiers
    if let oldest = all.oldestArrival { all.oldestSeconds = now.seconds(since: EngineInstant(nanoseconds: oldest)) }
    all.stepSeconds = totals.stepSeconds
    all.kvReadBytes = totals.kvReadBytes
    all.weightBytes = totals.weightBytes
    all.scratchBytes = totals.scratchBytes
    all.device = totals.device
    all.kvBytes = data == nil ? totals.kvBytes : blockBytes * all.blocksTotal
    all.data = totals.data
    all.ranks = totals.ranks
    all.groupRestarts = executor.restarts
    all.loadSeconds = totals.loadSeconds
    if let overflow { all.overflow.traffic = overflow.traffic }
    all.gather = gatherTraffic?()
    if var transfer = exchange?.statistics {
      tiers?.describe(in: &transfer)
      all.transfer = transfer
    }
    return all
  }
}
