import Foundation
import SwerveCore
import SwerveEngine
import SwerveTiers
import Testing

/// Host memory and files below the pools of data workers: what leaves a worker comes back, to the same one or another, with
/// the same bits.
@Suite(.serialized) struct SeparatedTierTests {
  struct Kind: Sendable, CustomTestStringConvertible {
    var workers: Int
    var type: EngineConfiguration.DType
    var isProcess: Bool
    var testDescription: String { "\(workers) \(isProcess ? "processes" : "threads"), \(type.rawValue)" }

    func launch() throws -> DataWorkerConfiguration.Launch { isProcess ? try workerProcess() : .thread }
  }

  static let kinds = [
    Kind(workers: 1, type: .float32, isProcess: true), Kind(workers: 2, type: .bfloat16, isProcess: true),
    Kind(workers: 2, type: .float32, isProcess: false), Kind(workers: 3, type: .bfloat16, isProcess: false),
  ]

  /// Each about 26 blocks long.
  static let requests = (0..<8).map { longRequest($0) }

  /// Short ones that outgrow a small pool together.
  static func growing(_ count: Int) -> [GenerationRequest] {
    (0..<count).map { index in
      textRequest(
        String(repeating: InvarianceTests.prompts[index % 4] + " ", count: 1 + index % 5), id: "growing-\(index)"
      ) {
        $0.temperature = index % 3 == 0 ? 0 : 0.9
        $0.seed = index
        $0.logprobs = 2
        $0.maxTokens = 24 + index % 17
        $0.ignoreEos = true
      }
    }
  }

  private func start(
    _ kind: Kind, blocks: Int, _ tiers: String, _ change: (inout EngineConfiguration) throws -> Void = { _ in }
  ) async throws -> Engine {
    let launch = try kind.launch()
    var configuration = storyConfiguration {
      $0.dtype = kind.type
      $0.kvCacheBytes = nil
      $0.kvBlocks = blocks * kind.workers
      $0.kvTiers = tiers
      $0.separate(kind.workers, launch)
    }
    try change(&configuration)
    return try await Engine.start(configuration)
  }

  private func expectQuiet(_ engine: Engine) {
    let now = engine.statistics
    #expect(now.blocksUsed == 0 && now.keptSequences == 0 && now.overflow.hostBlocksUsed == 0)
    #expect(now.data.workers.allSatisfy { $0.blocksUsed == 0 })
    #expect(now.tiers?.hostBlocksPinned == 0)
  }

  // MARK: Prefixes

  @Test(arguments: kinds) func prefixesComeBackFromHostMemoryAndFiles(kind: Kind) async throws {
    let expected = try await unifiedAnswers(Self.requests) { $0.dtype = kind.type }
    let folder = try TestFolder()
    let key = try folder.keyFile()
    for life in 0..<2 {
      // Then a host that cannot hold them: they come through it, from files.
      let host = life == 0 ? "host=64MiB" : "host=6MiB"
      let engine = try await start(kind, blocks: 40, "\(host),nvme=1GiB:\(folder.blocks)") { $0.kvKeyFile = key }
      for round in 0..<2 {
        for (number, request) in Self.requests.enumerated() {
          let answer = try await engine.answer(request)
          #expect(answer.choices == expected[number], "life \(life), round \(round), prompt \(number)")
          if life + round > 0 { #expect(answer.cachedTokens * 100 >= answer.prompt.count * 90) }
        }
      }
      await engine.stop()
      expectQuiet(engine)
      let tiers = try #require(engine.statistics.tiers)
      #expect(tiers.deviceToHostBytes > 0 || life > 0)
      #expect(tiers.hostToDeviceBytes > 0)
      if life == 0 { #expect(tiers.hostToFileBytes > 0) } else { #expect(tiers.hitTokens[1] > 0, "files: \(tiers)") }
      #expect(engine.statistics.data.recoveries.isEmpty && engine.statistics.data.workers.count == kind.workers)
    }
    // One process reads what data workers' pools were packed into, for the bytes are the same.
    let unified = try await Engine.start(
      storyConfiguration {
        $0.dtype = kind.type
        $0.kvTiers = "host=16MiB,nvme=1GiB:\(folder.blocks)"
        $0.kvKeyFile = key
      })
    #expect(try await unified.answers(Self.requests).map(\.choices) == expected)
    await unified.stop()
    #expect(unified.statistics.tiers?.hitTokens[1] ?? 0 > 0)
  }

  @Test func whatOneWorkerComputedIsLoadedByAnother() async throws {
    let expected = try await unifiedAnswers(Self.requests) { _ in }
    let kind = Kind(workers: 1, type: .auto, isProcess: true)
    let engine = try await start(kind, blocks: 40, "host=64MiB") { $0.dataWorkers.maximum = 2 }
    for (number, request) in Self.requests.prefix(4).enumerated() {
      #expect(try await engine.answer(request).choices == expected[number])
    }
    #expect(await engine.attachDataWorker() == .success("data worker d1"))
    #expect(await engine.drainDataWorker(0, within: 10) == .success("data worker d0"))
    for (number, request) in Self.requests.prefix(4).enumerated() {
      let answer = try await engine.answer(request)
      #expect(answer.choices == expected[number] && answer.cachedTokens * 100 >= answer.prompt.count * 90)
    }
    await engine.stop()
    expectQuiet(engine)
    #expect(engine.statistics.tiers?.hostToDeviceBytes ?? 0 > 0)
  }

  // MARK: Preemption

  @Test(arguments: kinds) func preemptedSequencesAreSwapped(kind: Kind) async throws {
    let requests = Self.growing(40)
    let expected = try await unifiedAnswers(requests) { $0.dtype = kind.type }
    for sharesPrefixes in [true, false] {
      let engine = try await start(kind, blocks: 18, "host=64MiB") {
        $0.maxModelLength = 256
        $0.maxBatchedTokens = 128
        $0.preemptionMode = .swap
        $0.enablePrefixCaching = sharesPrefixes
      }
      #expect(try await engine.answers(requests).map(\.choices) == expected)
      await engine.stop()
      expectQuiet(engine)
      let now = engine.statistics
      #expect(now.swappedPreemptions > 0 && now.tiers?.swapInBytes ?? 0 > 0, "\(now.preemptions) preemptions")
      #expect(now.data.recoveries.isEmpty)
    }
  }

  /// §14, 4: it is the tiers that kept them.
  @Test func withoutTiersTheyAreComputedAgain() async throws {
    let requests = Self.growing(24)
    let expected = try await unifiedAnswers(requests) { _ in }
    let engine = try await Engine.start(
      storyConfiguration {
        $0.kvCacheBytes = nil
        $0.kvBlocks = 36
        $0.maxModelLength = 256
        $0.separate(2)
      })
    #expect(try await engine.answers(requests).map(\.choices) == expected)
    await engine.stop()
    #expect(engine.statistics.preemptions > 0 && engine.statistics.swappedPreemptions == 0)
    #expect(engine.statistics.tiers == nil && engine.statistics.overflow.hostBlocks == 0)
  }

  @Test func cachedBlocksMayBeEvictedByCost() async throws {
    let requests = Self.growing(24) + Self.requests
    let expected = try await unifiedAnswers(requests) { _ in }
    let engine = try await Engine.start(
      storyConfiguration {
        $0.kvCacheBytes = nil
        $0.kvBlocks = 80
        $0.prefixCachePolicy = .cost
        $0.separate(2)
      })
    for _ in 0..<2 { #expect(try await engine.answers(requests).map(\.choices) == expected) }
    await engine.stop()
    #expect(engine.statistics.prefixHitTokens > 0)
  }

  @Test func aLowerPrecisionIsSaid() async throws {
    let kind = Kind(workers: 2, type: .bfloat16, isProcess: false)
    let engine = try await start(kind, blocks: 40, "host=64MiB:dtype=int8")
    #expect(engine.model.mayReadLossy)
    let exact = try await engine.answer(longRequest(0))
    #expect(!exact.hasReadLossy)
    for number in 1..<8 { _ = try await engine.answer(longRequest(number)) }
    let again = try await engine.answer(longRequest(0))
    #expect(again.hasReadLossy && again.cachedTokens > 0)
    let computed = try await engine.answer(longRequest(0) { $0.skipReadingPrefixCache = true })
    #expect(!computed.hasReadLossy && computed.choices == exact.choices)
    await engine.stop()
    #expect(engine.statistics.lossySequences > 0)
  }

  @Test func microBatchesAndTiersAreRefusedTogether() async throws {
    let kind = Kind(workers: 1, type: .auto, isProcess: false)
    for count in [2, 3] {
      let error = await #expect(throws: EngineStartError.self) {
        _ = try await start(kind, blocks: 34, "host=64MiB") { $0.microBatches = count }
      }
      #expect(error?.description.contains("--micro-batches \(count) cannot be combined with tiers") == true)
    }
    let one = try await start(kind, blocks: 34, "host=64MiB") { $0.microBatches = 1 }
    await one.stop()
  }

  // MARK: Loss

  private func process(_ engine: Engine, besides dead: Set<Int32>) async throws -> Int32 {
    @Sendable func ready(_ now: EngineStatistics) -> Int32? {
      now.data.workers.first { $0.isReady && $0.process > 0 && !dead.contains($0.process) }?.process
    }
    try #require(try await engine.waits { ready($0) != nil })
    return try #require(ready(engine.statistics))
  }

  @Test(arguments: [1, 2]) func workersThatDieWhileBlocksMoveChangeNothing(workers: Int) async throws {
    let requests = Self.growing(32) + Self.requests
    let expected = try await unifiedAnswers(requests) { _ in }
    let kind = Kind(workers: workers, type: .auto, isProcess: true)
    let engine = try await start(kind, blocks: 34, "host=64MiB") { $0.preemptionMode = .swap }
    var dead: Set<Int32> = []
    for kills in 1...(isLong ? 40 : 4) {
      async let answers = engine.answers(requests)
      let from = engine.statistics.generationTokens + 30 + kills * 37 % 200
      try #require(try await engine.waits { $0.generationTokens >= from })
      let victim = try await process(engine, besides: dead)
      dead.insert(victim)
      #expect(kill(victim, SIGKILL) == 0)
      #expect(try await answers.map(\.choices) == expected, "kill \(kills)")
      // An engine that has nothing to do does not look.
      #expect(try await engine.answer(requests[0]).choices == expected[0])
      try #require(try await engine.waits { $0.data.recoveries["data_worker_lost", default: 0] >= kills })
    }
    await engine.stop()
    expectQuiet(engine)
    let now = engine.statistics
    #expect(now.tiers?.hostToDeviceBytes ?? 0 > 0 && now.swappedPreemptions > 0)
    #expect(now.data.keptSequences > 0 && now.data.recoveredSequences == 0, "\(now.data)")
  }

  /// What such a worker holds is not believed: its sequences come back from copies made before, and are computed from there.
  @Test func aWorkerThatDisagreesIsReplacedFromTheHost() async throws {
    let requests = Self.requests
    let expected = try await unifiedAnswers(requests) { _ in }
    guard case .process(let path, let arguments) = try workerProcess() else { return }
    let engine = try await Engine.start(
      storyConfiguration {
        $0.kvCacheBytes = nil
        $0.kvBlocks = 64
        $0.kvTiers = "host=64MiB"
        $0.separate(1, .process(path: path, arguments: arguments + ["reuses", "14"]))
      })
    #expect(try await engine.answers(requests).map(\.choices) == expected)
    await engine.stop()
    let now = engine.statistics
    #expect(now.data.verifyFailures["generation", default: 0] > 0 && now.data.keptSequences == 0)
    #expect(now.tiers?.swapInBytes ?? 0 > 0, "\(String(describing: now.tiers))")
    expectQuiet(engine)
  }

  @Test(arguments: [true, false]) func aDrainedWorkersSequencesGoOnFromTheHost(isProcess: Bool) async throws {
    let requests = Self.growing(16).map { request in
      var longer = request
      longer.params.maxTokens = 300
      return longer
    }
    let expected = try await unifiedAnswers(requests) { _ in }
    let kind = Kind(workers: 2, type: .auto, isProcess: isProcess)
    let engine = try await start(kind, blocks: 300, "host=64MiB") {
      $0.preemptionMode = .swap
      $0.dataWorkers.maximum = 3
    }
    async let answers = engine.answers(requests)
    try #require(try await engine.waits { $0.generationTokens >= 200 })
    #expect(engine.statistics.preemptions == 0)
    #expect(await engine.drainDataWorker(0, within: 0) == .success("data worker d0"))
    #expect(await engine.attachDataWorker() == .success("data worker d0"))
    #expect(await engine.drainDataWorker(1, within: 0) == .success("data worker d1"))
    #expect(try await answers.map(\.choices) == expected)
    await engine.stop()
    expectQuiet(engine)
    let now = engine.statistics
    #expect(now.swappedPreemptions > 0 && now.tiers?.swapInBytes ?? 0 > 0)
    #expect(now.data.recoveries.isEmpty)
  }

  @Test func aWorkerOfAnotherHostIsNotAttached() async throws {
    let engine = try await start(Kind(workers: 1, type: .auto, isProcess: false), blocks: 40, "host=16MiB")
    guard case .failure(.refused(let reason)) = await engine.attachDataWorker(at: "127.0.0.1:9") else {
      Issue.record("a worker of another host is attached above tiers")
      return
    }
    #expect(reason.contains("--kv-tiers"))
    #expect(try await engine.answer(longRequest(0)).choices[0].tokens.count == 12)
    await engine.stop()
  }
}
