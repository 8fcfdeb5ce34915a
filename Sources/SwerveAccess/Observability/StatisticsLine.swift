import SwerveCore

/// The periodic line with throughput and queue lengths, in the wording that log readers know.
struct StatisticsLine {
  let engine: Int
  /// `CPU` or `GPU`.
  let deviceWord: String
  private var previous = EngineStatistics()

  init(engine: Int, deviceWord: String) {
    self.engine = engine
    self.deviceWord = deviceWord
  }

  /// The line for the time since the last call, with a second one where tokens were drafted, and whether anything happened in it.
  mutating func next(_ now: EngineStatistics, seconds: Double) -> (text: String, isBusy: Bool) {
    defer { previous = now }
    func rate(_ path: KeyPath<EngineStatistics, Int>) -> Double {
      seconds > 0 ? Double(now[keyPath: path] - previous[keyPath: path]) / seconds : 0
    }
    func fixed(_ value: Double) -> String { Decimals.fixed(value, 1) }
    let prompt = rate(\.promptTokens)
    let generation = rate(\.generationTokens)
    let hitRate = now.prefixQueriedTokens == 0 ? 0 : Double(now.prefixHitTokens) / Double(now.prefixQueriedTokens)
    let preempted = now.preemptions - previous.preemptions
    let digits = String(engine)
    let number = String(repeating: "0", count: max(0, 3 - digits.count)) + digits
    let text = """
      Engine \(number): Avg prompt throughput: \(fixed(prompt)) tokens/s, \
      Avg generation throughput: \(fixed(generation)) tokens/s, Running: \(now.runningRequests) reqs, \
      Waiting: \(now.waitingRequests) reqs,\(preempted > 0 ? " Preemptions: \(preempted)," : "") \
      \(deviceWord) KV cache usage: \(fixed(now.kvUsage * 100))%, Prefix cache hit rate: \(fixed(hitRate * 100))%
      """
    let isBusy = prompt > 0 || generation > 0 || now.runningRequests > 0 || now.waitingRequests > 0
    let drafts = SpeculationLine.text(now, since: previous, seconds: seconds)
    return (text + (drafts.map { "\n" + $0 } ?? ""), isBusy)
  }
}
