package import SwerveCore
import SwerveScheduling

/// What the clients of a simulation saw, by service class, and what the machine did meanwhile. Seconds are modelled.
package struct SimulationReport: Sendable {
  package struct ClassReport: Sendable {
    package let serviceClass: ServiceClass
    package var arrived = 0
    package var refused = 0
    /// Waited longer than the queue timeout.
    package var expired = 0
    package var finished = 0
    /// Finished within all targets of the class; all of them where there is none.
    package var met = 0
    package var metFirstToken = 0
    package var metTokenTime = 0
    package var promptTokens = 0
    package var outputTokens = 0
    package var preemptions = 0
    /// Arrival to first token.
    package var timeToFirstToken = Histogram()
    /// Between two tokens.
    package var interToken = Histogram()
    /// A request's mean time between tokens.
    package var timePerToken = Histogram()
    /// Arrival to last token.
    package var total = Histogram()
  }

  package var classes: [ClassReport]
  /// Modelled time from the start of the trace to its end.
  package var seconds = 0.0
  package var steps = 0
  package var computedTokens = 0
  package var preemptions = 0
  package var prefixHitTokens = 0
  package var blocksTotal = 0
  package var blocksPeak = 0
  /// Used blocks × seconds.
  package var blockSeconds = 0.0
  /// Requests still under way, or not arrived, when the simulation ended.
  package var unfinished = 0
  /// Why the first request was refused for its size; nil when none was.
  package var refusal: String?

  init(classes: [ServiceClass]) { self.classes = classes.map { ClassReport(serviceClass: $0) } }

  package var finished: Int { classes.reduce(0) { $0 + $1.finished } }
  package var outputTokens: Int { classes.reduce(0) { $0 + $1.outputTokens } }
  /// Mean share of blocks in use, 0…1.
  package var meanBlockUse: Double {
    seconds > 0 && blocksTotal > 0 ? blockSeconds / seconds / Double(blocksTotal) : 0
  }

  // MARK: Recording

  mutating func arrived(_ request: SimulatedRequest) { classes[Int(request.serviceClass)].arrived += 1 }

  mutating func refused(_ request: SimulatedRequest, because error: SchedulingError? = nil) {
    classes[Int(request.serviceClass)].refused += 1
    if refusal == nil, let error { refusal = "\(error)" }
  }

  mutating func expired(_ request: SimulatedRequest) { classes[Int(request.serviceClass)].expired += 1 }

  mutating func stepped(seconds: Double, _ plan: borrowing StepPlan, blocks: Int) {
    steps += 1
    computedTokens += plan.tokens.count
    blocksPeak = max(blocksPeak, blocks)
    blockSeconds += Double(blocks) * seconds
  }

  mutating func firstToken(_ request: SimulatedRequest, at now: UInt64) {
    classes[Int(request.serviceClass)].timeToFirstToken.record(Double(now - request.arrival) * 1e-9)
  }

  mutating func nextToken(_ request: SimulatedRequest, after time: UInt64) {
    classes[Int(request.serviceClass)].interToken.record(Double(time) * 1e-9)
  }

  mutating func finished(_ request: SimulatedRequest, first: UInt64, last: UInt64, tokens: Int, preemptions: Int) {
    let index = Int(request.serviceClass)
    // Milliseconds.
    let wait = Double(first - request.arrival) * 1e-6
    let perToken = tokens > 1 ? Double(last - first) / Double(tokens - 1) * 1e-6 : 0
    let metFirst = wait <= classes[index].serviceClass.ttftMilliseconds ?? .infinity
    let metToken = perToken <= classes[index].serviceClass.tpotMilliseconds ?? .infinity
    classes[index].finished += 1
    classes[index].metFirstToken += metFirst ? 1 : 0
    classes[index].metTokenTime += metToken ? 1 : 0
    classes[index].met += metFirst && metToken ? 1 : 0
    classes[index].promptTokens += Int(request.promptTokens)
    classes[index].outputTokens += tokens
    classes[index].preemptions += preemptions
    if tokens > 1 { classes[index].timePerToken.record(perToken * 1e-3) }
    classes[index].total.record(Double(last - request.arrival) * 1e-9)
  }
}
