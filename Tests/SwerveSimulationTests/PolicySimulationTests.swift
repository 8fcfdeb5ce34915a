import SwerveCore
import SwerveScheduling
import SwerveSimulation
import Testing

/// What policies promise, on a simulated clock.
@Suite struct PolicySimulationTests {
  private static let promised = """
    {"vip": {"ttft_ms": 300, "tpot_ms": 40, "weight": 8, "preempt": true},
     "default": {"weight": 2}, "batch": {"weight": 1}}
    """

  /// The vip class asks for about a third of what the machine computes, all together for more than twice of it.
  private static func overload(seconds: Double = 60) -> Workload {
    Workload(
      streams: [
        stream("vip", rate: 6, prompt: 50...150, output: 20...60),
        stream("default", rate: 20, prompt: 50...400, output: 40...120),
        stream("batch", rate: 10, prompt: 100...600, output: 40...120, arrivals: .bursts),
      ], seconds: seconds, seed: 4)
  }

  @Test func `at twice the load a class keeps its targets, and the others share what is left`() throws {
    let classes = try classes(Self.promised)
    let slo = try simulate(Self.overload(), numbers(), ServiceLevels(), classes, until: 60)
    let vip = slo.of("vip")
    // It is an overload: most of the others' requests have not come through when the arrivals end.
    let others = [slo.of("default"), slo.of("batch")]
    #expect(others.reduce(0) { $0 + $1.finished } * 2 < others.reduce(0) { $0 + $1.arrived })
    #expect(Double(vip.metFirstToken) > 0.99 * Double(vip.finished), "\(slo.text)")
    #expect(Double(vip.metTokenTime) > 0.99 * Double(vip.finished), "\(slo.text)")
    #expect(Double(vip.finished) > 0.9 * Double(vip.arrived))
    // What is left goes to both of the others, by weight: 2 to 1 within a third.
    let served = others.map { Double($0.promptTokens + $0.outputTokens) }
    #expect(served[1] > 0 && abs(served[0] / served[1] / 2 - 1) < 0.35, "\(served)")
    // Without the policy the targets are lost.
    let fcfs = try simulate(Self.overload(), numbers(), FirstComeFirstServed(), classes, until: 60)
    #expect(fcfs.of("vip").metFirstToken * 2 < fcfs.of("vip").arrived, "\(fcfs.text)")
  }

  @Test func `no class starves, however much those above it ask for`() throws {
    // Even the vip class alone asks for more than there is; the bound is the one the policy states.
    let classes = try classes(Self.promised)
    let workload = Workload(
      streams: [
        stream("vip", rate: 60, prompt: 50...150, output: 20...60),
        stream("batch", rate: 0.2, prompt: 100...200, output: 20...40, arrivals: .uniform),
      ], seconds: 120, seed: 9)
    let configuration = numbers()
    let report = try simulate(workload, configuration, ServiceLevels(), classes, until: 120)
    let batch = report.of("batch")
    // Tokens that pass before its turn: the lead and one request more, times the weight; then itself. All at the pace of
    // the tokens computed so far.
    let lead = Double(4 * configuration.maxBatchedTokens + 210 + 16 * 60) * 8
    let bound = (lead + 400) / (Double(report.computedTokens) / report.seconds)
    #expect(batch.finished > 10)
    #expect(report.of("vip").finished * 2 < report.of("vip").arrived)
    #expect(batch.timeToFirstToken.largest < bound, "\(batch.timeToFirstToken.largest) s, bound \(bound) s")
    // Strict priority is what starves: the same load under it.
    var strict = workload
    strict.streams[1].priority = 1
    let priority = try simulate(strict, configuration, PriorityFirst(), classes, until: 120)
    #expect(priority.of("batch").finished < 2)
  }

  @Test func `tenants that ask for all get the same, and who asks for less gets it at once`() throws {
    let tenants = ["a", "b", "c", "d"]
    var streams = tenants.enumerated().map { index, name in
      // Different shapes of the same greed.
      stream(
        tenant: name, rate: 30 * Double(index + 1), prompt: 20...(100 + 100 * index), output: 10...(20 + 20 * index))
    }
    streams.append(stream(tenant: "small", rate: 0.5, prompt: 20...40, output: 10...20))
    let workload = Workload(streams: streams, seconds: 60, seed: 2)
    let requests = try workload.requests(ServiceClasses())
    let numberOf = Dictionary(
      uniqueKeysWithValues: (tenants + ["small"]).map { (WaitingRequest.number(ofTenant: $0), $0) })
    func served(_ policy: any SchedulingPolicy) throws -> (tokens: [String: Double], wait: Double) {
      var simulation = try Simulation(
        requests: requests, configuration: numbers(), policy: policy, device: device())
      var tokens: [String: Double] = [:]
      var wait = 0.0
      simulation.afterStep = { _, plan, now in
        for step in plan.sequences {
          let request = requests[Int(step.sequence.request.rawValue)]
          let name = numberOf[request.tenant] ?? ""
          tokens[name, default: 0] += Double(step.rowCount)
          let isFirst = step.samples && step.contextTokens + step.rowCount == step.promptTokens
          if name == "small" && isFirst { wait = max(wait, Double(now - request.arrival) * 1e-9) }
        }
      }
      try simulation.run(until: 60 * second)
      return (tokens, wait)
    }
    let fair = try served(FairShare())
    let shares = tenants.map { fair.tokens[$0] ?? 0 }
    #expect(jainIndex(shares) > 0.98, "\(fair.tokens)")
    let fcfs = try served(FirstComeFirstServed())
    #expect(jainIndex(tenants.map { fcfs.tokens[$0] ?? 0 }) < 0.9, "\(fcfs.tokens)")
    // 16 running sequences of at most 120 tokens each at about 1,500 tokens a second.
    #expect(fair.wait < 4 && fair.wait * 4 < fcfs.wait, "\(fair.wait) s against \(fcfs.wait) s")
  }

  @Test(arguments: [1.0, 2, 4])
  func `tenants' shares follow their classes' weights`(weight: Double) throws {
    let classes = try classes(#"{"heavy": {"weight": \#(weight), "tenants": ["big"]}}"#)
    let workload = Workload(
      streams: [
        stream("heavy", tenant: "big", rate: 50, prompt: 20...200, output: 10...60),
        stream(tenant: "other", rate: 50, prompt: 20...200, output: 10...60),
      ], seconds: 90, seed: 3)
    let report = try simulate(workload, numbers(), FairShare(), classes, until: 90)
    let served = ["heavy", "default"].map { Double(report.of($0).promptTokens + report.of($0).outputTokens) }
    #expect(abs(served[0] / served[1] / weight - 1) < 0.15, "\(served)")
  }

  @Test func `a full queue refuses, an old request is given up, and the rest is served`() throws {
    var configuration = numbers()
    configuration.queueTimeout = 2 * second
    let workload = Workload(streams: [stream(rate: 60, prompt: 50...100, output: 40...60)], seconds: 30, seed: 5)
    let report = try simulate(
      workload, configuration, FirstComeFirstServed(), limits: .init(requests: 40, tokens: 2_500))
    let all = report.of("default")
    #expect(all.refused > 0 && all.finished > 0 && report.unfinished == 0)
    #expect(all.arrived == all.refused + all.expired + all.finished)
    #expect(all.timeToFirstToken.percentile(99) < 2.5)
    // Without the limit the timeout alone does it.
    let timed = try simulate(workload, configuration, FirstComeFirstServed())
    #expect(timed.of("default").expired > 0 && timed.of("default").refused == 0)
    // A step and the prompt's pieces come on top of the timeout.
    #expect(timed.of("default").timeToFirstToken.largest < 2.3)
    #expect(timed.blocksPeak <= timed.blocksTotal)
  }

  @Test(arguments: Policies.all.map(\.name) + Policies.extensions.map(\.name))
  func `every policy finishes everything on a small pool, and a run can be repeated`(name: String) throws {
    let policy = try #require(Policies.named(name) ?? Policies.extensionNamed(name))
    let classes = try classes(Self.promised)
    var streams = Self.overload().streams
    for index in streams.indices {
      streams[index].tenant = "tenant \(index)"
      streams[index].priority = index
      streams[index].prefixTokens = 32
    }
    let workload = Workload(streams: streams, count: 400, seed: 7)
    let small = numbers(sequences: 12, blocks: 90)
    let report = try simulate(workload, small, policy, classes, checksEvery: 7)
    #expect(report.finished == 400 && report.unfinished == 0)
    #expect(report.preemptions > 0 && report.prefixHitTokens > 0)
    let again = try simulate(workload, small, policy, classes, checksEvery: 7)
    #expect(report.json == again.json)
  }
}
