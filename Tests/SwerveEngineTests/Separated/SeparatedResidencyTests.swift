import Foundation
import SwerveCore
import SwerveEngine
import Testing

/// Sequences larger than a data worker's pool: their blocks lie in host memory that all workers read, and the tokens are
/// those of one process.
@Suite(.serialized) struct SeparatedResidencyTests {
  private func long(_ seed: Int, tokens: Int = 40) -> GenerationRequest {
    textRequest(String(repeating: ResidencyTests.text + " ", count: 6), id: "long-\(seed)") {
      $0.temperature = seed == 0 ? 0 : 0.9
      $0.seed = seed
      $0.logprobs = 2
      $0.maxTokens = tokens
      $0.ignoreEos = true
    }
  }

  private func start(
    _ kind: SeparatedTierTests.Kind, device: Int, host: Int, _ change: (inout EngineConfiguration) -> Void = { _ in }
  ) async throws -> Engine {
    let launch = try kind.launch()
    return try await Engine.start(
      storyConfiguration {
        $0.dtype = kind.type
        $0.kvBlocks = device * kind.workers
        $0.kvCacheBytes = nil
        var overflow = OverflowConfiguration()
        overflow.hostBlocks = host
        $0.overflow = overflow
        $0.separate(kind.workers, launch)
        change(&$0)
      })
  }

  @Test(arguments: SeparatedTierTests.kinds)
  func sequencesLargerThanAPoolGiveTheSameBits(kind: SeparatedTierTests.Kind) async throws {
    let requests = [long(0), long(7), long(3, tokens: 20)] + SeparatedTierTests.growing(10)
    let expected = try await unifiedAnswers(requests) { $0.dtype = kind.type }
    for caching in [true, false] {
      let engine = try await start(kind, device: 10, host: 64) { $0.enablePrefixCaching = caching }
      #expect(try await engine.answers(requests).map(\.choices) == expected, "prefix caching \(caching)")
      await engine.stop()
      let now = engine.statistics
      #expect(now.overflow.blocksToHost > 20 && now.overflow.hostBlocksUsed == 0, "\(now.overflow)")
      #expect(now.data.recoveries.isEmpty && now.data.workers.allSatisfy { $0.blocksUsed == 0 })
    }
  }

  @Test func tiersGiveOneSequenceOfTheGreatestLengthItsPlaces() async throws {
    let requests = [long(0), long(7)] + SeparatedTierTests.growing(6)
    let expected = try await unifiedAnswers(requests) { _ in }
    let launch = try workerProcess()
    let plan = try StartPlan(
      storyConfiguration {
        $0.kvBlocks = 12
        $0.kvCacheBytes = nil
        $0.kvTiers = "host=8MiB"
        $0.separate(2, launch)
      })
    let given = try #require(plan.configuration.overflow)
    #expect(given.hostBlocks + 6 == MemorySizing.blocksFor(plan.sizing.maxModelLength, 16) && given.makeStore == nil)
    let engine = try await Engine.start(plan)
    #expect(try await engine.answers(requests).map(\.choices) == expected)
    await engine.stop()
    #expect(engine.statistics.overflow.blocksToHost > 0 && engine.statistics.tiers?.deviceToHostBytes ?? 0 > 0)
  }

  /// A worker dies while sequences have blocks in its pool and below it: its replacement finds both.
  @Test(arguments: [1, 2]) func whatLiesBelowOutlivesAWorker(workers: Int) async throws {
    let requests = [long(0, tokens: 150), long(5, tokens: 150)] + SeparatedTierTests.growing(8)
    let expected = try await unifiedAnswers(requests) { _ in }
    let kind = SeparatedTierTests.Kind(workers: workers, type: .auto, isProcess: true)
    let engine = try await start(kind, device: 10, host: 80)
    async let answers = engine.answers(requests)
    var dead: Set<Int32> = []
    for kills in 1...2 {
      let from = engine.statistics.generationTokens + 40
      try #require(try await engine.waits { $0.generationTokens >= from && $0.overflow.blocksToHost > 0 })
      @Sendable func ready(_ now: EngineStatistics, _ gone: Set<Int32>) -> Int32? {
        now.data.workers.first { $0.isReady && $0.process > 0 && !gone.contains($0.process) }?.process
      }
      let gone = dead
      try #require(try await engine.waits { ready($0, gone) != nil })
      let victim = try #require(ready(engine.statistics, gone))
      dead.insert(victim)
      #expect(kill(victim, SIGKILL) == 0)
      try #require(try await engine.waits { $0.data.recoveries["data_worker_lost", default: 0] >= kills })
    }
    #expect(try await answers.map(\.choices) == expected)
    await engine.stop()
    let now = engine.statistics
    #expect(now.data.keptSequences > 0 && now.data.recoveredSequences == 0 && now.overflow.hostBlocksUsed == 0)
  }

  @Test func whatDataWorkersCannotReadIsRefused() throws {
    let keeper = StoreKeeper()
    let problems = storyConfiguration {
      $0.overflow = keeper.overflow(host: 4, store: 40)
      $0.separate(1)
    }.problems()
    #expect(problems.count == 1 && problems[0].contains("in memory only"), "\(problems)")
    #expect(throws: EngineStartError.self) {
      try StartPlan(
        storyConfiguration {
          $0.kvBlocks = 4
          $0.kvCacheBytes = nil
          $0.kvTiers = "host=128KiB"
          $0.separate(1)
        })
    }
  }
}
