import SwerveCore
import SwerveScheduling

func tokens(_ values: some Sequence<Int>) -> [TokenID] { values.map { TokenID($0) } }

func sampling(
  maxTokens: Int? = 8, minTokens: Int = 0, terminators: [TokenID] = [], seed: UInt64 = 1, topK: Int = 0
) -> SamplingState {
  var params = SamplingParams()
  params.topK = topK
  params.maxTokens = maxTokens
  params.minTokens = minTokens
  return SamplingState(params: params, seed: seed, badWordTokens: [], terminators: terminators)
}

func configuration(
  budget: Int = 64, sequences: Int = 8, blockSize: Int = 4, blocks: Int = 64, length: Int = 64
) -> SchedulerConfiguration {
  SchedulerConfiguration(
    maxBatchedTokens: budget, maxSequences: sequences, blockSize: blockSize, blockCount: blocks, maxModelLength: length)
}

/// A scheduler with a fake runner, stepped by hand; invariants are checked around every step.
final class Harness {
  var scheduler: Scheduler
  var runner: FakeRunner
  var plan = StepPlan()
  var result = StepResult()
  var outputs: [SequenceOutput] = []
  /// All sampled tokens and ends so far.
  var produced: [SequenceID: [TokenID]] = [:]
  var finished: [SequenceID: SequenceOutput] = [:]
  /// First outputs, which carry the cached tokens.
  var started: [SequenceID: SequenceOutput] = [:]
  var checks = true
  var now: UInt64 = 0
  var stepTime: UInt64 = 1
  /// Requests that the last step gave up.
  var expired: [RequestID] = []
  /// Beam searches under way, and those that came to their end.
  var searches: [UInt64: FakeSearch] = [:]
  var endedSearches: [UInt64] = []

  init(_ configuration: SchedulerConfiguration, policy: any SchedulingPolicy = FirstComeFirstServed()) throws {
    scheduler = try Scheduler(configuration: configuration, policy: policy)
    runner = FakeRunner(configuration)
  }

  var hasWork: Bool { scheduler.hasWork }
  var statistics: EngineStatistics { scheduler.statistics }

  func add(
    _ id: UInt64, _ prompt: [TokenID], n: Int = 1, _ state: SamplingState = sampling(), priority: Int = 0,
    arrival: UInt64 = 0, salt: [UInt8] = [], skip: Bool = false, promptLogprobs: Bool = false, tenant: UInt64 = 0,
    serviceClass: Int32 = 0
  ) throws {
    let request = RequestID(rawValue: id)
    var waiting = WaitingRequest(
      request: request, promptTokens: prompt, n: n, sampling: state, priority: priority, arrival: arrival,
      prefixSalt: salt, skipPrefixCacheRead: skip, wantsPromptLogprobs: promptLogprobs)
    waiting.tenant = tenant
    waiting.serviceClass = serviceClass
    try scheduler.add(waiting)
    runner.salts[request] = salt
  }

  // `#expect` takes its subject apart and cannot hold a scheduler, which is not copyable: hence these.
  @discardableResult func cancel(_ id: UInt64) -> Bool {
    searches[id] = nil
    return scheduler.cancel(request: RequestID(rawValue: id))
  }
  @discardableResult func finish(_ sequence: SequenceID) -> Bool { scheduler.finish(sequence) }
  func setRowCost(_ cost: Float) { scheduler.setRowCost(cost) }
  @discardableResult func resetPrefixCache() -> Bool { scheduler.resetPrefixCache() }

  func check() throws { if checks { try scheduler.checkInvariants() } }

  /// One step; `between` runs after the plan is made and executed and before its result is applied. The clock goes on by
  /// `stepTime` first.
  func step(between: () throws -> Void = {}) throws {
    now += stepTime
    scheduler.schedule(into: &plan, now: now, expired: &expired)
    for request in expired { searches[request.rawValue] = nil }
    try runner.execute(plan, into: &result)
    scheduler.observeStep(rows: plan.tokens.count, nanoseconds: stepTime)
    try between()
    apply()
    try continueSearches()
    try check()
  }

  func apply() {
    scheduler.apply(plan, result, into: &outputs)
    collect()
  }

  func collect() {
    for output in outputs {
      if output.isFirstScheduled { started[output.sequence] = output }
      if let token = output.token { produced[output.sequence, default: []].append(token) }
      if output.finish != nil { finished[output.sequence] = output }
      if output.finish == .error { searches[output.sequence.request.rawValue] = nil }
    }
  }

  /// Steps until nothing is left; throws when that takes more than `limit` steps.
  func drain(limit: Int = 10_000) throws {
    var steps = 0
    while hasWork {
      if steps == limit { throw RunnerFault(description: "work is left after \(limit) steps") }
      try step()
      steps += 1
    }
    // The last releases.
    try step()
  }

  func tokens(_ id: UInt64, _ choice: Int32 = 0) -> [TokenID] { produced[sequence(id, choice)] ?? [] }
  func reason(_ id: UInt64, _ choice: Int32 = 0) -> FinishReason? { finished[sequence(id, choice)]?.finish }
  func cached(_ id: UInt64, _ choice: Int32 = 0) -> Int32? { started[sequence(id, choice)]?.cachedTokens }

  /// (request, rows) of the last plan.
  var shares: [[Int]] { plan.sequences.map { [Int($0.sequence.request.rawValue), Int($0.rowCount)] } }
}

func sequence(_ id: UInt64, _ choice: Int32 = 0) -> SequenceID {
  SequenceID(request: RequestID(rawValue: id), index: choice)
}
