import SwerveCore
import SwerveScheduling
import Testing

@Suite struct SchedulerTests {
  @Test func `a request is prefilled, decoded and ended at max tokens`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<10), sampling(maxTokens: 3))
    try harness.step()
    #expect(harness.shares == [[1, 10]])
    #expect(harness.started[sequence(1)]?.token == harness.tokens(1).first)
    try harness.step()
    #expect(harness.shares == [[1, 1]])
    try harness.drain()
    #expect(harness.tokens(1).count == 3)
    #expect(harness.reason(1) == .length)
    #expect(harness.statistics.blocksUsed == 0)
    #expect(harness.statistics.promptTokens == 10)
    #expect(harness.statistics.generationTokens == 3)
  }

  @Test func `decodes come first, then running prompts in order, then admissions`() throws {
    let harness = try Harness(configuration(budget: 10))
    try harness.add(1, tokens(0..<4))
    try harness.step()
    try harness.add(2, tokens(100..<130))
    try harness.step()
    #expect(harness.shares == [[1, 1], [2, 9]])
    try harness.add(3, tokens(200..<204))
    try harness.step()
    #expect(harness.shares == [[1, 1], [2, 9]])
    try harness.step()
    try harness.step()
    #expect(harness.shares == [[1, 1], [2, 3], [3, 4]])
  }

  @Test func `a long prompt is cut at the threshold and leaves room for others`() throws {
    var numbers = configuration(budget: 32)
    numbers.longPrefillThreshold = 8
    let harness = try Harness(numbers)
    try harness.add(1, tokens(0..<20))
    try harness.add(2, tokens(100..<103))
    try harness.step()
    #expect(harness.shares == [[1, 8], [2, 3]])
    #expect(harness.plan.sequences.map(\.samples) == [false, true])
    try harness.step()
    try harness.step()
    #expect(harness.shares == [[2, 1], [1, 4]])
    #expect(harness.plan.sequences.map(\.samples) == [true, true])
  }

  @Test func `without chunked prefill a prompt waits until it fits whole`() throws {
    var numbers = configuration(budget: 24)
    numbers.enableChunkedPrefill = false
    numbers.longPrefillThreshold = 2
    let harness = try Harness(numbers)
    try harness.add(1, tokens(0..<16), sampling(maxTokens: 4))
    try harness.add(2, tokens(100..<116), sampling(maxTokens: 4))
    try harness.step()
    #expect(harness.shares == [[1, 16]])
    try harness.step()
    #expect(harness.shares == [[1, 1], [2, 16]])
  }

  @Test func `a full prefix is shared and one token at least is computed`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<8))
    try harness.drain()
    try harness.add(2, tokens(0..<8))
    try harness.step()
    // One block whole, and three tokens of the next by copy.
    #expect(harness.shares == [[2, 1]])
    #expect(harness.cached(2) == 7)
    try harness.add(3, tokens(0..<9))
    try harness.step()
    #expect(harness.cached(3) == 8)
    #expect(harness.statistics.prefixQueriedTokens == 25)
    #expect(harness.statistics.prefixHitTokens == 15)
    try harness.drain()
    #expect(harness.tokens(2) == harness.tokens(1))
  }

  @Test func `output tokens are found again by a longer conversation`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<6), sampling(maxTokens: 7))
    try harness.drain()
    // 6 + 7 tokens, of which 12 were computed: three full blocks.
    try harness.add(2, tokens(0..<6) + harness.tokens(1) + tokens([60]))
    try harness.step()
    #expect(harness.cached(2) == 12)
  }

  @Test func `requests of another salt share nothing`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<9), salt: [1])
    try harness.drain()
    try harness.add(2, tokens(0..<9), salt: [2])
    try harness.add(3, tokens(0..<9), salt: [1])
    try harness.drain()
    #expect(harness.cached(2) == 0)
    #expect(harness.cached(3) == 8)
    #expect(harness.tokens(1) == harness.tokens(3))
    #expect(harness.tokens(1) != harness.tokens(2))
  }

  @Test func `prompt log-probabilities compute every row once and still fill the cache`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<9))
    try harness.drain()
    try harness.add(2, tokens(0..<9) + tokens(20..<28), n: 2, promptLogprobs: true)
    try harness.step()
    #expect(harness.shares == [[2, 17], [2, 0]])
    #expect(harness.cached(2, 0) == 0 && harness.cached(2, 1) == 0)
    try harness.drain()
    try harness.add(3, tokens(0..<9) + tokens(20..<28))
    try harness.step()
    #expect(harness.cached(3) == 16)
  }

  @Test func `equal prompts computed side by side end up in one set of blocks`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<16))
    try harness.add(2, tokens(0..<16), skip: true)
    try harness.step()
    #expect(harness.shares == [[1, 16], [2, 16]])
    // Four shared blocks; the next token of each needs one of its own.
    #expect(harness.statistics.blocksUsed == 4)
    try harness.step()
    #expect(harness.statistics.blocksUsed == 6)
  }

  @Test func `a prefix that arrives several times at once is computed once`() throws {
    let harness = try Harness(configuration())
    let prefix = 0..<16
    for id in 1...3 { try harness.add(UInt64(id), tokens(Array(prefix) + [100 + id, id])) }
    // Shares too little of what it has to compute to wait for it.
    try harness.add(4, tokens(Array(0..<4) + Array(200..<210)))
    try harness.step()
    #expect(harness.shares == [[1, 18], [4, 14]])
    try harness.step()
    #expect(harness.shares == [[1, 1], [4, 1], [2, 2], [3, 2]])
    #expect(harness.cached(2) == 16 && harness.cached(3) == 16)
    try harness.drain()
  }

  @Test func `who waits for a prefix goes on when its computation is cancelled`() throws {
    let harness = try Harness(configuration(budget: 8))
    try harness.add(1, tokens(0..<16))
    try harness.add(2, tokens(0..<16))
    try harness.step()
    #expect(harness.shares == [[1, 8]])
    harness.cancel(1)
    try harness.step()
    #expect(harness.shares == [[2, 8]])
    #expect(harness.cached(2) == 8)
    try harness.drain()
  }

  @Test func `the latest gives its blocks back when the pool runs out, and loses no token`() throws {
    let harness = try Harness(configuration(blockSize: 2, blocks: 8, length: 16))
    for id in 1...3 { try harness.add(UInt64(id), tokens([id * 100, id]), sampling(maxTokens: 10)) }
    try harness.drain()
    #expect(harness.statistics.preemptions > 0)
    #expect(harness.finished[sequence(1)]?.preemptions == 0)
    #expect(harness.finished[sequence(3)].map { $0.preemptions > 0 } == true)
    for id in 1...3 {
      let alone = FakeModel.reference(
        prompt: tokens([id * 100, id]), salt: [], sampling: sampling(maxTokens: 10), choice: 0, contextLimit: 16)
      #expect(harness.tokens(UInt64(id)) == alone.tokens)
    }
  }

  @Test func `a preempted sequence goes before those that came later`() throws {
    let harness = try Harness(configuration(sequences: 3, blockSize: 2, blocks: 6, length: 12))
    try harness.add(1, tokens([1, 2]), sampling(maxTokens: 10))
    try harness.add(2, tokens([3, 4]), sampling(maxTokens: 10))
    try harness.step()
    while harness.statistics.preemptions == 0 { try harness.step() }
    try harness.add(3, tokens([5, 6]), sampling(maxTokens: 2))
    var admitted: [UInt64] = []
    while harness.hasWork {
      try harness.step()
      admitted += harness.plan.admissions.map(\.sequence.request.rawValue)
    }
    #expect(admitted == [2, 3])
  }

  @Test func `eviction takes the end of an old chain and keeps its beginning`() throws {
    let harness = try Harness(configuration(blockSize: 2, blocks: 8, length: 16))
    try harness.add(1, tokens(0..<10), sampling(maxTokens: 1))
    try harness.drain()
    // Three free blocks were never cached; two of the five cached ones must go.
    try harness.add(2, tokens(100..<110), sampling(maxTokens: 1))
    try harness.drain()
    try harness.add(3, tokens(0..<10), sampling(maxTokens: 1))
    try harness.step()
    #expect(harness.cached(3) == 6)
  }

  @Test func `the watermark keeps blocks free beside others and never locks out a lone request`() throws {
    var numbers = configuration(blockSize: 2, blocks: 10, length: 20)
    numbers.watermark = 0.5
    let harness = try Harness(numbers)
    try harness.add(1, tokens(0..<16), sampling(maxTokens: 3))
    try harness.add(2, tokens(50..<52), sampling(maxTokens: 2))
    try harness.step()
    #expect(harness.shares == [[1, 16]])
    try harness.drain()
    #expect(harness.reason(2) == .length)
  }

  @Test func `terminators end a sequence and say so, but not before min tokens`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<3), sampling(maxTokens: 9, minTokens: 2, terminators: [5, 6]))
    try harness.scheduler.checkInvariants()
    var ends: [FinishReason?] = []
    for token: TokenID in [5, 6, 6] {
      harness.scheduler.schedule(into: &harness.plan)
      harness.result.removeAll()
      harness.result.samples = [Sample(sequenceIndex: 0, token: token)]
      harness.apply()
      ends.append(harness.outputs.first?.finish)
    }
    #expect(ends == [nil, nil, .stop])
    #expect(harness.tokens(1) == [5, 6, 6])
  }

  @Test func `a sequence ends where the context is full`() throws {
    let harness = try Harness(configuration(length: 12))
    try harness.add(1, tokens(0..<9), sampling(maxTokens: nil))
    try harness.add(2, tokens(20..<29), sampling(maxTokens: 100))
    try harness.drain()
    #expect(harness.tokens(1).count == 3 && harness.reason(1) == .length)
    #expect(harness.tokens(2).count == 3 && harness.reason(2) == .length)
  }

  @Test func `without max tokens a sequence ends where the pool is full`() throws {
    let harness = try Harness(configuration(blockSize: 2, blocks: 4, length: 64))
    try harness.add(1, tokens(0..<5), sampling(maxTokens: nil))
    try harness.drain()
    // Eight tokens have a place and the last one needs none.
    #expect(harness.tokens(1).count == 4 && harness.reason(1) == .length)
  }

  @Test func `scoring computes a prompt in pieces and samples nothing`() throws {
    let harness = try Harness(configuration(budget: 4))
    try harness.add(1, tokens(0..<10), sampling(maxTokens: 0), promptLogprobs: true)
    try harness.step()
    try harness.step()
    #expect(harness.reason(1) == nil)
    try harness.step()
    #expect(harness.reason(1) == .length)
    #expect(harness.tokens(1).isEmpty)
    #expect(harness.statistics.steps == 3)
  }

  @Test func `cancelling frees blocks and slots within the step`() throws {
    let harness = try Harness(configuration(budget: 8, sequences: 3))
    try harness.add(1, tokens(0..<6), n: 2)
    try harness.add(2, tokens(50..<56))
    try harness.step()
    #expect(harness.shares == [[1, 6], [1, 0], [2, 2]])
    try harness.step()
    #expect(harness.shares == [[1, 1], [1, 1], [2, 4]])
    #expect(harness.cancel(1))
    #expect(!harness.cancel(1))
    try harness.check()
    #expect(harness.statistics.blocksUsed == 2)
    try harness.step()
    #expect(harness.plan.releases.count == 2)
    #expect(harness.shares == [[2, 1]])
  }

  @Test func `what is cancelled while its step runs produces nothing`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<6))
    try harness.add(2, tokens(50..<56))
    try harness.step { harness.cancel(1) }
    #expect(harness.outputs.map(\.sequence) == [sequence(2)])
    #expect(harness.outputs.map(\.sequenceIndex) == [1])
    #expect(harness.outputs.map(\.sampleIndex) == [1])
  }

  @Test func `a result counts once and for its own plan only`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<6))
    try harness.step()
    harness.apply()
    #expect(harness.outputs.isEmpty)
    let (oldPlan, oldResult) = (harness.plan, harness.result)
    harness.scheduler.schedule(into: &harness.plan)
    harness.scheduler.apply(oldPlan, oldResult, into: &harness.outputs)
    #expect(harness.outputs.isEmpty)
    #expect(harness.tokens(1).count == 1)
    try harness.check()
  }

  @Test func `finishing is for sequences that started and have not ended`() throws {
    let harness = try Harness(configuration(budget: 4))
    try harness.add(1, tokens(0..<6), n: 2)
    try harness.step()
    #expect(!harness.finish(sequence(1, 1)))
    #expect(!harness.finish(sequence(9)))
    #expect(!harness.finish(sequence(1, -1)))
    #expect(harness.finish(sequence(1, 0)))
    #expect(!harness.finish(sequence(1, 0)))
    try harness.drain()
    #expect(harness.reason(1, 0) == nil && harness.reason(1, 1) == .length)
  }

  @Test func `a failed step ends its sequences and nobody else's`() throws {
    let harness = try Harness(configuration(budget: 8, sequences: 2))
    try harness.add(1, tokens(0..<6))
    try harness.add(2, tokens(50..<56))
    try harness.add(3, tokens(100..<106))
    harness.scheduler.schedule(into: &harness.plan)
    try harness.runner.begin(harness.plan)
    harness.scheduler.fail(harness.plan, into: &harness.outputs)
    harness.collect()
    try harness.check()
    #expect(harness.reason(1) == .error && harness.reason(2) == .error)
    try harness.drain()
    #expect(harness.reason(3) == .length)
    // Nothing the failed step wrote is found again.
    try harness.add(4, tokens(0..<6))
    try harness.step()
    #expect(harness.cached(4) == 0)
  }

  @Test func `a sequence whose sample is missing ends with an error`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<6))
    try harness.add(2, tokens(50..<56))
    try harness.step { harness.result.samples.removeFirst() }
    #expect(harness.reason(1) == .error)
    #expect(harness.tokens(2).count == 1)
  }

  @Test func `resetting the cache keeps what runs and forgets the rest`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<9))
    try harness.drain()
    try harness.add(2, tokens(50..<59))
    try harness.step()
    #expect(!harness.resetPrefixCache())
    try harness.check()
    try harness.add(3, tokens(0..<9))
    try harness.add(4, tokens(50..<59))
    try harness.drain()
    #expect(harness.cached(3) == 0)
    #expect(harness.cached(4) == 8)
    #expect(harness.resetPrefixCache())
  }

  @Test func `a policy decides who is admitted and who gives way`() throws {
    let harness = try Harness(configuration(blockSize: 2, blocks: 8, length: 16), policy: PriorityFirst())
    try harness.add(1, tokens([1, 2]), sampling(maxTokens: 10), priority: 5)
    try harness.add(2, tokens([3, 4]), sampling(maxTokens: 10), priority: 1)
    try harness.add(3, tokens([5, 6]), sampling(maxTokens: 10), priority: 1)
    try harness.step()
    #expect(harness.shares == [[2, 2], [3, 2], [1, 2]])
    try harness.drain()
    #expect(harness.finished[sequence(1)].map { $0.preemptions > 0 } == true)
    #expect(harness.finished[sequence(2)]?.preemptions == 0)
  }

  @Test func `blocks taken back are not given to somebody else in the same step`() throws {
    let harness = try Harness(configuration(sequences: 2, blockSize: 2, blocks: 8, length: 16), policy: PriorityFirst())
    try harness.add(1, tokens([1, 2]), sampling(maxTokens: 14), priority: 0)
    try harness.add(3, tokens([5, 6]), sampling(maxTokens: 14), priority: 2)
    try harness.step()
    // Waits for a slot only: it needs a single block.
    try harness.add(2, tokens([3, 4]), sampling(maxTokens: 1), priority: 1)
    while harness.statistics.preemptions == 0 {
      #expect(harness.plan.admissions.allSatisfy { $0.sequence != sequence(2) })
      try harness.step()
    }
    #expect(harness.plan.admissions.isEmpty)
    try harness.step()
    #expect(harness.plan.admissions.map(\.sequence) == [sequence(2)])
    try harness.drain()
  }

  @Test func `arrival decides even when a request is handed over late`() throws {
    let harness = try Harness(configuration(sequences: 1))
    try harness.add(1, tokens(0..<3), arrival: 20)
    try harness.add(2, tokens(3..<6), arrival: 10)
    try harness.add(3, tokens(6..<9), arrival: 20)
    var order: [UInt64] = []
    while harness.hasWork {
      try harness.step()
      order += harness.plan.admissions.map(\.sequence.request.rawValue)
    }
    #expect(order == [2, 1, 3])
  }
}

@Suite struct RefusalTests {
  @Test func `what can never run is refused with its numbers`() throws {
    let harness = try Harness(configuration(blockSize: 4, blocks: 4, length: 64))
    #expect(throws: SchedulingError.emptyPrompt) { try harness.add(1, []) }
    #expect(throws: SchedulingError.promptTooLong(tokens: 64, limit: 63)) { try harness.add(1, tokens(0..<64)) }
    #expect(throws: SchedulingError.exceedsPool(blocks: 5, available: 4, blockSize: 4)) {
      try harness.add(1, tokens(0..<10), sampling(maxTokens: 8))
    }
    #expect(throws: SchedulingError.invalidChoiceCount(0)) { try harness.add(1, tokens(0..<2), n: 0) }
    try harness.add(1, tokens(0..<10), sampling(maxTokens: 7))
    #expect(throws: SchedulingError.duplicateRequest(RequestID(rawValue: 1))) { try harness.add(1, tokens(0..<2)) }
    try harness.check()
    try harness.drain()
    #expect(harness.tokens(1).count == 7)
    let fits = harness.scheduler.fits(promptTokens: 16, maxTokens: 1)
    let tooLong = harness.scheduler.fits(promptTokens: 16, maxTokens: 2)
    let open = harness.scheduler.fits(promptTokens: 16, maxTokens: nil)
    let scoring = harness.scheduler.fits(promptTokens: 64, maxTokens: 0)
    #expect(fits && !tooLong && open && !scoring)
  }

  @Test func `without chunked prefill a step must hold what may be recomputed`() throws {
    var numbers = configuration(budget: 16)
    numbers.enableChunkedPrefill = false
    let harness = try Harness(numbers)
    #expect(throws: SchedulingError.exceedsStep(tokens: 17, budget: 16)) {
      try harness.add(1, tokens(0..<10), sampling(maxTokens: 8))
    }
    try harness.add(1, tokens(0..<10), sampling(maxTokens: nil))
    try harness.drain()
    #expect(harness.tokens(1).count == 7)
  }

  @Test func `extreme numbers are clamped or refused, never trapped on`() throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens([1]), sampling(maxTokens: .max, minTokens: .max))
    try harness.add(2, tokens([1]), sampling(maxTokens: 1, minTokens: .min), priority: .min, arrival: .max)
    #expect(throws: SchedulingError.negativeMaxTokens(.min)) {
      try harness.add(4, tokens([1]), sampling(maxTokens: .min))
    }
    try harness.add(3, tokens([-5, Int(Int32.max)]), sampling(maxTokens: 2), priority: .max)
    #expect(throws: SchedulingError.self) { try harness.add(4, tokens([1]), n: .max) }
    try harness.drain()
    #expect(harness.tokens(1).count == 63)
  }

  @Test func `an unusable configuration names all its problems`() {
    var numbers = configuration(budget: 0, sequences: -1)
    numbers.watermark = .nan
    #expect(numbers.problems().count == 2)
    #expect(throws: SchedulingError.invalidConfiguration(numbers.problems())) {
      _ = try Scheduler(configuration: numbers)
    }
    var others = configuration()
    others.watermark = .nan
    others.blockHashBits = 0
    others.longPrefillThreshold = -1
    #expect(others.problems().count == 3)
    let huge = configuration(budget: 1 << 29, sequences: 1 << 29, blockSize: 1, blocks: 1 << 29, length: 1 << 29)
    #expect(huge.problems().count == 1)
  }
}
