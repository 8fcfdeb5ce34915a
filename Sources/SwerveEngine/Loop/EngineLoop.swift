import SwerveCore
import SwerveScheduling

/// The engine thread's state: scheduler, executor and the buffers between them. Built inside the thread's body and never
/// leaves it, so nothing here is locked or `Sendable`.
struct EngineLoop<Executor: StepExecutor & ~Copyable>: ~Copyable {
  private var scheduler: Scheduler
  private var executor: Executor
  private let inbox: Mailbox<InboxMessage>
  private let publisher: Mailbox<PublisherMessage>
  private let spares: Mailbox<StepOutputs>
  private let board: StatusBoard
  private let clock: EngineClock

  // Reused by every step: nothing is allocated while tokens flow.
  private var messages: [InboxMessage] = []
  private var plan = StepPlan()
  private var result = StepResult()
  private var emptied: [StepOutputs] = []
  private var totals = EngineStatistics()
  private var isRunning = true

  init(
    scheduler: consuming Scheduler, executor: consuming Executor, inbox: Mailbox<InboxMessage>,
    publisher: Mailbox<PublisherMessage>, spares: Mailbox<StepOutputs>, board: StatusBoard, clock: EngineClock,
    totals: EngineStatistics
  ) {
    self.scheduler = scheduler
    self.executor = executor
    self.inbox = inbox
    self.publisher = publisher
    self.spares = spares
    self.board = board
    self.clock = clock
    self.totals = totals
    messages.reserveCapacity(64)
    emptied.reserveCapacity(4)
  }

  /// Steps until told to stop; parks only when there is nothing to run.
  mutating func run() {
    while isRunning { step() }
  }

  /// One step: drain → schedule → execute (and sample) → apply → publish.
  mutating func step() {
    drain(waits: !scheduler.hasWork)
    let start = clock.now()
    scheduler.schedule(into: &plan)
    guard execute() else { return }
    var outputs = spareOutputs()
    scheduler.apply(plan, result, into: &outputs.outputs)
    publish(&outputs, since: start)
  }

  // MARK: In

  private mutating func drain(waits: Bool) {
    inbox.take(into: &messages, waits: waits)
    for message in messages {
      switch message {
      case .submit(let request): scheduler.add(request)
      case .cancel(let request):
        scheduler.cancel(request)
        publisher.post(.drop(request, nil))
      case .finish(let sequence, let reason): scheduler.finish(sequence, reason)
      case .resetPrefixCache(let answer): answer(scheduler.resetPrefixCache())
      case .stop: isRunning = false
      }
    }
  }

  // MARK: Run

  /// Runs the plan. A failing step ends its sequences with an error and leaves the loop running.
  private mutating func execute() -> Bool {
    result.removeAll()
    if plan.isEmpty { return true }
    do {
      try executor.execute(plan, into: &result)
      return true
    } catch {
      var failed: Set<RequestID> = []
      for sequence in plan.sequences { failed.insert(sequence.sequence.request) }
      for request in failed {
        scheduler.cancel(request)
        publisher.post(.drop(request, RequestError(.internalError, "The step that computed this request failed: \(error)")))
      }
      board.update(statistics: statistics(), now: clock.now())
      return false
    }
  }

  // MARK: Out

  private mutating func spareOutputs() -> StepOutputs {
    if emptied.isEmpty { spares.take(into: &emptied, waits: false) }
    return emptied.popLast() ?? StepOutputs()
  }

  private mutating func publish(_ outputs: inout StepOutputs, since start: EngineInstant) {
    let now = clock.now()
    totals.steps += plan.sequences.isEmpty ? 0 : 1
    outputs.tokenCount = plan.tokens.count
    outputs.seconds = now.seconds(since: start)
    outputs.now = now
    board.update(statistics: statistics(), now: now)
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
  private func statistics() -> EngineStatistics {
    var all = scheduler.statistics
    all.steps = totals.steps
    all.weightBytes = totals.weightBytes
    all.kvBytes = totals.kvBytes
    all.loadSeconds = totals.loadSeconds
    return all
  }
}
