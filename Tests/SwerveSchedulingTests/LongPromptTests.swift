import SwerveCore
import SwerveScheduling
import Testing

/// Short requests beside a prompt of very many steps.
@Suite struct LongPromptTests {
  private func harness(budget: Int = 64, adapts: Bool = true, length: Int = 131_072) throws -> Harness {
    var numbers = configuration(budget: budget, sequences: 8, blockSize: 16, blocks: 8_400, length: length)
    numbers.adaptsLongPrefill = adapts
    let harness = try Harness(numbers)
    harness.checks = false
    return harness
  }

  @Test func `a short request waits for the step under way and then runs at once`() throws {
    let harness = try harness()
    try harness.add(1, tokens(0..<3_000), sampling(maxTokens: 1))
    for _ in 0..<5 { try harness.step() }
    try harness.add(2, tokens(10_000..<10_020), sampling(maxTokens: 4))
    try harness.step()
    // Its prompt is whole, and the long one has no more than as much.
    #expect(harness.shares.first == [2, 20])
    let long = harness.shares.first { $0[0] == 1 }?[1] ?? 0
    #expect(long > 0 && long <= 20)
    #expect(harness.tokens(2).count == 1)
    // Then the long one has its turn, beside the decode.
    try harness.step()
    #expect(harness.shares == [[2, 1], [1, 63]])
    try harness.drain()
    #expect(harness.reason(1) == .length && harness.reason(2) == .length)
  }

  @Test func `without it the short request waits for the whole prompt`() throws {
    let harness = try harness(adapts: false)
    try harness.add(1, tokens(0..<3_000), sampling(maxTokens: 1))
    try harness.step()
    try harness.add(2, tokens(10_000..<10_020))
    try harness.step()
    #expect(harness.shares == [[1, 64]])
  }

  @Test func `a stream of short requests takes half of the steps and no more`() throws {
    let harness = try harness()
    try harness.add(1, tokens(0..<2_000), sampling(maxTokens: 1))
    var id: UInt64 = 2
    var steps = 0
    while harness.finished[sequence(1)] == nil {
      for _ in 0..<2 {
        try harness.add(id, tokens(Int(id) * 100..<Int(id) * 100 + 30), sampling(maxTokens: 1))
        id += 1
      }
      try harness.step()
      steps += 1
      #expect(steps < 200)
    }
    // Alone it takes 32 steps.
    #expect(steps <= 2 * 32 + 2, "\(steps)")
    #expect(harness.finished.count > 40)
    try harness.drain()
  }

  @Test func `two long prompts let a short one that came behind them pass`() throws {
    let harness = try harness()
    try harness.add(1, tokens(0..<2_000), sampling(maxTokens: 1))
    try harness.add(2, tokens(5_000..<7_000), sampling(maxTokens: 1))
    try harness.step()
    try harness.add(3, tokens(9_000..<9_010), sampling(maxTokens: 1))
    try harness.step()
    try harness.step()
    try harness.step()
    #expect(harness.reason(3) == .length)
    #expect(harness.reason(1) == nil && harness.reason(2) == nil)
    try harness.drain()
  }

  @Test func `a less urgent request does not pass`() throws {
    var numbers = configuration(budget: 64, sequences: 8, blockSize: 16, blocks: 400, length: 4_096)
    numbers.adaptsLongPrefill = true
    let harness = try Harness(numbers, policy: PriorityFirst())
    try harness.add(1, tokens(0..<1_000), sampling(maxTokens: 1), priority: 1)
    try harness.step()
    try harness.add(2, tokens(5_000..<5_010), sampling(maxTokens: 1), priority: 2)
    try harness.step()
    #expect(harness.shares == [[1, 64]])
    try harness.drain()
  }

  /// 131,072 tokens of context, steps of 2,048 rows: the time to the first token of short requests, in rows computed
  /// where a row costs more the more context it has, is at most twice what it is alone and one step of the long prompt.
  @Test(arguments: [32, 200, 1_500]) func `a short request's first token comes within twice its own work and one step`(
    length: Int
  ) throws {
    var numbers = configuration(budget: 2_048, sequences: 8, blockSize: 128, blocks: 1_100, length: 131_072)
    numbers.adaptsLongPrefill = true
    var scheduler = try Scheduler(configuration: numbers)
    func add(_ id: UInt64, _ prompt: [TokenID]) throws {
      try scheduler.add(
        WaitingRequest(request: RequestID(rawValue: id), promptTokens: prompt, sampling: sampling(maxTokens: 1)))
    }
    func cost(_ plan: StepPlan) -> Double {
      plan.sequences.reduce(0) { sum, step in
        let context = Double(step.contextTokens) + Double(step.rowCount) / 2
        return sum + Double(step.rowCount) * (1 + context / Double(numbers.attentionCostTokens))
      }
    }
    try add(1, tokens(0..<130_000))
    let alone = Double(length) * (1 + Double(length) / 2 / Double(numbers.attentionCostTokens))
    var plan = StepPlan()
    var result = StepResult()
    var outputs: [SequenceOutput] = []
    var id: UInt64 = 2
    var isLongDone = false
    var worst = 0.0
    var last = 0.0
    while !isLongDone {
      // It comes while a step is under way: that one it waits for.
      scheduler.schedule(into: &plan)
      var waited = cost(plan)
      let step = waited
      if id % 3 == 0 { try add(id, tokens(Int(id) * 2_000..<Int(id) * 2_000 + length)) }
      let waits = id % 3 == 0
      func run() {
        result.removeAll()
        for index in plan.sequences.indices where plan.sequences[index].samples {
          result.samples.append(Sample(sequenceIndex: Int32(index), token: 7))
        }
        scheduler.apply(plan, result, into: &outputs)
        if outputs.contains(where: { $0.sequence.request.rawValue == 1 && $0.finish != nil }) { isLongDone = true }
      }
      run()
      while waits, !outputs.contains(where: { $0.sequence.request.rawValue == id && $0.token != nil }) {
        scheduler.schedule(into: &plan)
        waited += cost(plan)
        run()
      }
      if waits && !isLongDone {
        worst = max(worst, (waited - step) / alone)
        last = waited
      }
      id += 1
    }
    #expect(worst > 0 && worst <= 2.05, "\(worst)")
    #expect(last > 0 && id > 40)
    try scheduler.checkInvariants()
  }
}
