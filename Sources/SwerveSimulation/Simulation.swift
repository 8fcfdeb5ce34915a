// Days of traffic in seconds: the real scheduler and block manager over a modelled device and a modelled clock.
// This room must not compute a token, read a clock or draw. Start with Simulation.run().

package import SwerveCore
package import SwerveScheduling

/// Replays requests through a `Scheduler` and measures what their clients would have seen.
///
/// Everything is modelled time: a step takes what the device model says, requests arrive when the trace says, and the
/// same input gives the same report. A running sequence costs some tens of nanoseconds of real time per token.
package struct Simulation: ~Copyable {
  package let classes: ServiceClasses
  private let device: any StepTimer
  private let limits: QueueLimits
  private let requests: [SimulatedRequest]
  package private(set) var scheduler: Scheduler
  package private(set) var report: SimulationReport
  /// Nanoseconds of modelled time.
  package private(set) var now: UInt64 = 0
  /// Called after every step, for tests that look inside.
  package var afterStep: ((borrowing Scheduler, borrowing StepPlan, UInt64) throws -> Void)?

  private var lives: [Life]
  private var next = 0
  /// Requests that waited when the last step ended.
  private var waitingAfterStep = 0
  private var plan = StepPlan()
  private var result = StepResult()
  private var outputs: [SequenceOutput] = []
  private var expired: [RequestID] = []

  /// What the front of the engine refuses.
  package struct QueueLimits: Sendable {
    package var requests: Int?
    package var tokens: Int?
    package init(requests: Int? = nil, tokens: Int? = nil) {
      self.requests = requests
      self.tokens = tokens
    }
  }

  private struct Life {
    var first: UInt64 = 0
    var last: UInt64 = 0
    var tokens: Int32 = 0
  }

  /// - Parameter requests: in order of arrival; each names a class by its index in `classes`.
  package init(
    requests: [SimulatedRequest], configuration: SchedulerConfiguration,
    policy: any SchedulingPolicy = FirstComeFirstServed(), classes: ServiceClasses = ServiceClasses(),
    device: any StepTimer = DeviceModel(), limits: QueueLimits = QueueLimits()
  ) throws(SchedulingError) {
    var configuration = configuration
    configuration.serviceRules = classes.all.map { ServiceRule($0) }
    self.classes = classes
    self.device = device
    self.limits = limits
    self.requests = requests
    scheduler = try Scheduler(configuration: configuration, policy: policy)
    report = SimulationReport(classes: classes.all)
    lives = [Life](repeating: Life(), count: requests.count)
  }

  /// Runs to the end of the trace and of all its requests, or until `end` (nanoseconds of modelled time).
  package mutating func run(until end: UInt64 = .max) throws {
    while now < end, next < requests.count || scheduler.hasWork {
      if !scheduler.hasWork { now = max(now, requests[next].arrival) }
      arrive()
      if scheduler.hasWork { try step() }
    }
    finish()
  }

  private mutating func arrive() {
    while next < requests.count, requests[next].arrival <= now {
      let request = requests[next]
      let waiting = scheduler.statistics
      report.arrived(request)
      if isQueueFull(waiting)
        || waiting.waitingTokens > 0
          && waiting.waitingTokens + Int(request.promptTokens) > limits.tokens ?? .max
      {
        report.refused(request)
      } else {
        do {
          try scheduler.add(request.waiting(id: UInt64(next)))
        } catch {
          report.refused(request, because: error)
        }
      }
      next += 1
    }
  }

  /// As the engine's front sees it: what waited after the last step, and what came since as far as slots may take it.
  private func isQueueFull(_ now: EngineStatistics) -> Bool {
    guard let limit = limits.requests else { return false }
    return waitingAfterStep >= limit
      || now.runningRequests + now.waitingRequests >= limit + scheduler.configuration.maxSequences
  }

  private mutating func step() throws {
    scheduler.schedule(into: &plan, now: now, expired: &expired)
    for id in expired { report.expired(requests[Int(id.rawValue)]) }
    let cost = device.nanoseconds(of: plan)
    // A modelled clock may be set to run out; it then stands still at its end.
    now = now.addingReportingOverflow(cost).overflow ? .max : now + cost
    result.removeAll()
    for index in 0..<plan.sequences.count where plan.sequences[index].samples {
      result.samples.append(Sample(sequenceIndex: Int32(index), token: TokenID(0)))
    }
    if !plan.isEmpty { scheduler.observeStep(rows: plan.tokens.count, nanoseconds: cost) }
    scheduler.apply(plan, result, into: &outputs)
    report.stepped(seconds: Double(cost) * 1e-9, plan, blocks: scheduler.pool.usedCount)
    for output in outputs { take(output) }
    waitingAfterStep = scheduler.statistics.waitingRequests
    try afterStep?(scheduler, plan, now)
  }

  private mutating func take(_ output: SequenceOutput) {
    let index = Int(output.sequence.request.rawValue)
    if output.token != nil {
      if lives[index].tokens == 0 {
        lives[index].first = now
        report.firstToken(requests[index], at: now)
      } else {
        report.nextToken(requests[index], after: now - lives[index].last)
      }
      lives[index].last = now
      lives[index].tokens += 1
    }
    if output.finish != nil {
      let life = lives[index]
      report.finished(
        requests[index], first: life.first, last: life.last, tokens: Int(life.tokens),
        preemptions: Int(output.preemptions))
    }
  }

  private mutating func finish() {
    let statistics = scheduler.statistics
    report.seconds = Double(now) * 1e-9
    report.preemptions = statistics.preemptions
    report.prefixHitTokens = statistics.prefixHitTokens
    report.blocksTotal = statistics.blocksTotal
    report.unfinished = statistics.runningRequests + statistics.waitingRequests + requests.count - next
  }
}
