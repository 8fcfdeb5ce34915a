import SwerveCore
import SwerveEngine
import Testing

/// A step that goes to data workers in micro-batches gives the bits it gives as a whole, and really went in pieces.
@Suite(.serialized) struct MicroBatchTests {
  struct Kind: Sendable, CustomTestStringConvertible {
    var workers: Int
    var microBatches: Int
    var type: EngineConfiguration.DType
    var testDescription: String { "\(workers) workers, \(microBatches) micro-batches, \(type.rawValue)" }
  }

  static let kinds = [1, 2, 3].flatMap { workers in
    [1, 2, 3].flatMap { count in
      [EngineConfiguration.DType.float32, .bfloat16].map { Kind(workers: workers, microBatches: count, type: $0) }
    }
  }

  /// What one process answers, one request at a time: computed once for each type.
  private actor Expected {
    static let shared = Expected()
    private var known: [EngineConfiguration.DType: Task<[[Outcome]], any Error>] = [:]

    func answers(_ type: EngineConfiguration.DType) async throws -> [[Outcome]] {
      if let task = known[type] { return try await task.value }
      let task = Task { try await unifiedAnswers(MicroBatchTests.requests) { $0.dtype = type } }
      known[type] = task
      return try await task.value
    }
  }

  static let requests = separationRequests(24)

  /// Prompts in chunks beside decoding sequences, greedy and seeded, alone, shared, preempted.
  @Test(arguments: kinds) func noNumberOfPiecesChangesABit(kind: Kind) async throws {
    let alone = try await Expected.shared.answers(kind.type)
    for chunk in [nil, 24] as [Int?] {
      let engine = try await Engine.start(
        storyConfiguration {
          $0.dtype = kind.type
          $0.microBatches = kind.microBatches
          if let chunk {
            $0.maxBatchedTokens = chunk
            $0.maxSequences = 12
          }
          $0.separate(kind.workers)
        })
      #expect(try await engine.answers(Self.requests).map(\.choices) == alone, "in chunks of \(chunk ?? 0)")
      await engine.stop()
      let data = engine.statistics.data
      #expect(data.workers.allSatisfy { $0.exchanges > 0 && $0.receivedBytes > 0 } && data.recoveries.isEmpty)
      // Steps of fewer rows than pieces are rare, and all others were cut as asked.
      let counts = data.stepsByMicroBatches
      #expect(counts.count == 3 && counts[kind.microBatches - 1] > 10, "\(counts)")
      #expect(counts[kind.microBatches - 1] * 2 > counts.reduce(0, +), "\(counts)")
      #expect((0...1).contains(data.overlapRatio))
      if kind.microBatches > 1 { #expect(data.overlapRatio > 0) }
    }
  }

  @Test func piecesOfPreemptedSequencesAndDraftsAreTheSameBits() async throws {
    let alone = try await Expected.shared.answers(.float32)
    let engine = try await Engine.start(
      storyConfiguration {
        $0.dtype = .float32
        $0.microBatches = 2
        $0.kvBlocks = 36
        $0.kvCacheBytes = nil
        $0.maxModelLength = 256
        $0.speculation = SpeculationConfiguration()
        $0.speculation?.rowCost = 1e-4
        $0.separate(2)
      })
    #expect(try await engine.answers(Self.requests).map(\.choices) == alone)
    await engine.stop()
    #expect(engine.statistics.preemptions > 0 && engine.statistics.data.stepsByMicroBatches[1] > 10)
  }

  @Test func aWorkerLostBetweenPiecesCostsNothing() async throws {
    let alone = try await Expected.shared.answers(.bfloat16)
    guard case .process(let path, let arguments) = try workerProcess() else { return }
    let engine = try await Engine.start(
      storyConfiguration {
        $0.dtype = .bfloat16
        $0.microBatches = 3
        $0.separate(2, .process(path: path, arguments: arguments + ["cuts", "9"]))
      })
    #expect(try await engine.answers(Self.requests).map(\.choices) == alone)
    await engine.stop()
    #expect(engine.statistics.data.recoveries["data_worker_lost", default: 0] > 0)
    #expect(engine.statistics.data.stepsByMicroBatches[2] > 10)
  }

  /// Both roles on the same cores: what one does the other does not, so `auto` cuts nothing.
  @Test func autoLeavesStepsWholeWhereCoresAreShared() async throws {
    let engine = try await Engine.start(storyConfiguration { $0.separate(2) })
    _ = try await engine.answers(Self.requests)
    await engine.stop()
    let counts = engine.statistics.data.stepsByMicroBatches
    #expect(counts[0] > 0 && counts[1] == 0 && counts[2] == 0)
  }
}

@Suite struct OverlapRuleTests {
  private func rule(_ wanted: Int? = nil, most: Int = 3) -> OverlapRule {
    OverlapRule(wanted: wanted, leastRows: 100, most: most)
  }

  @Test func whatIsAskedForIsDone() {
    var rule = rule(2)
    #expect(rule.count(rows: 500, sharesCores: true) == 2 && rule.count(rows: 1, sharesCores: false) == 1)
  }

  @Test func nothingIsCutBeforeWaitingWasMeasured() {
    var rule = rule()
    #expect(rule.count(rows: 1000, sharesCores: false) == 1)
    rule.measured(rows: 1000, nanoseconds: 1000, waited: 300)
    #expect(rule.count(rows: 1000, sharesCores: false) == 2)
    // Pieces must have rows enough, and workers cores of their own.
    #expect(rule.count(rows: 199, sharesCores: false) == 1 && rule.count(rows: 1000, sharesCores: true) == 1)
  }

  @Test func littleWaitingIsNotWorthIt() {
    var rule = rule()
    rule.measured(rows: 1000, nanoseconds: 1000, waited: 140)
    #expect(rule.count(rows: 1000, sharesCores: false) == 1)
    // More waiting than computing is hidden by two others.
    for _ in 0..<20 { rule.measured(rows: 1000, nanoseconds: 1000, waited: 700) }
    #expect(rule.count(rows: 1000, sharesCores: false) == 3 && rule.count(rows: 250, sharesCores: false) == 2)
    var two = self.rule(most: 2)
    two.measured(rows: 1000, nanoseconds: 1000, waited: 700)
    #expect(two.count(rows: 1000, sharesCores: false) == 2)
  }

  @Test func waitingIsMeasuredAnewNowAndThen() {
    var rule = rule()
    rule.measured(rows: 1000, nanoseconds: 1000, waited: 400)
    var whole = 0
    for _ in 0..<(3 * OverlapRule.measuredEvery) where rule.count(rows: 1000, sharesCores: false) == 1 {
      whole += 1
      rule.measured(rows: 1000, nanoseconds: 1000, waited: 400)
    }
    #expect(whole == 3)
    // Steps too small to be cut say nothing.
    for _ in 0..<50 { rule.measured(rows: 10, nanoseconds: 1000, waited: 0) }
    #expect(rule.count(rows: 1000, sharesCores: false) == 2)
  }
}
