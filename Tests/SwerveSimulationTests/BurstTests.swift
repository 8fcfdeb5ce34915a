import SwerveCore
import SwerveScheduling
import SwerveSimulation
import Testing

@Suite struct BurstTests {
  /// The engine's front lets a burst in as far as slots and queue together take it: it cannot know what the next step
  /// admits. What comes while a queue stands is refused.
  @Test func `a burst is refused where the engine refuses it`() throws {
    func refused(_ arrivals: [UInt64]) throws -> Int {
      let requests = arrivals.map { SimulatedRequest(arrival: $0, promptTokens: 16, outputTokens: 50) }
      var simulation = try Simulation(
        requests: requests, configuration: numbers(sequences: 4), device: device(), limits: .init(requests: 3))
      try simulation.run()
      return simulation.report.of("default").refused
    }
    // Four slots and three places.
    #expect(try refused([UInt64](repeating: 0, count: 7)) == 0)
    #expect(try refused([UInt64](repeating: 0, count: 10)) == 3)
    // Two steps later three wait.
    #expect(try refused([UInt64](repeating: 0, count: 7) + [second / 20, second / 20]) == 2)
  }

  /// Prompts of 100,000 tokens and of 100 on a device where attention costs what it costs: times to first token of the
  /// short ones with and without way being given.
  @Test func `short requests are not held up by a prompt of a hundred thousand tokens`() throws {
    func slowest(_ adapts: Bool) throws -> Double {
      var configuration = numbers(budget: 2_048, sequences: 16, blockSize: 128, blocks: 2_000, length: 131_072)
      configuration.adaptsLongPrefill = adapts
      var requests = [SimulatedRequest(arrival: 0, promptTokens: 100_000, outputTokens: 1)]
      for index in 1...20 {
        requests.append(
          SimulatedRequest(arrival: UInt64(index) * second / 2, promptTokens: 100, outputTokens: 2))
      }
      var simulation = try Simulation(requests: requests, configuration: configuration, device: device())
      var slowest = 0.0
      var seen = Set<UInt64>()
      simulation.afterStep = { _, plan, now in
        for step in plan.sequences where step.samples && step.sequence.request.rawValue > 0 {
          if seen.insert(step.sequence.request.rawValue).inserted {
            let arrival = requests[Int(step.sequence.request.rawValue)].arrival
            slowest = max(slowest, Double(now - arrival) * 1e-9)
          }
        }
      }
      try simulation.run()
      #expect(seen.count == 20)
      return slowest
    }
    // Alone: 10 ms for the step and 100 tokens of 0.1 ms; a step of the long prompt is 10 ms and 2,048 tokens.
    let alone = 0.010 + 100 * 0.0001
    let step = 0.010 + 2_048 * 0.0001
    #expect(try slowest(true) <= 2 * alone + step)
    #expect(try slowest(false) > 5)
  }
}
