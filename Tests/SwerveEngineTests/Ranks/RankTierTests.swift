import Foundation
import SwerveCore
import SwerveEngine
import Testing

/// Blocks of several ranks below the device: copied out of all of them, and back.
@Suite(.serialized) struct RankTierTests {
  private func configuration(
    _ change: (inout EngineConfiguration) throws -> Void
  ) rethrows -> EngineConfiguration {
    try storyConfiguration {
      $0.kvCacheBytes = nil
      $0.kvBlocks = 72
      $0.maxSequences = 8
      $0.maxBatchedTokens = 64
      $0.threads = 2
      $0.rankProgram = RankProcessTests.program
      try change(&$0)
    }
  }

  private func alone(_ type: EngineConfiguration.DType, _ requests: [GenerationRequest]) async throws -> [[Outcome]] {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.dtype = type
        $0.enablePrefixCaching = false
      })
    var all: [[Outcome]] = []
    for request in requests { all.append(try await engine.answer(request).choices) }
    await engine.stop()
    return all
  }

  struct Ways: Sendable, CustomTestStringConvertible {
    var tensor: Int
    var stages: Int
    var executor: EngineConfiguration.Executor
    var type: EngineConfiguration.DType
    var data = Data.ranks
    var testDescription: String { "tp \(tensor), pp \(stages), \(executor.rawValue), \(type.rawValue), \(data)" }

    /// Who has keys and values.
    enum Data: Sendable, Hashable {
      case ranks, workers(Int), quota(Int)
    }

    func change(_ configuration: inout EngineConfiguration) throws {
      configuration.dtype = type
      configuration.tensorParallelSize = tensor
      configuration.pipelineParallelSize = stages
      configuration.executor = executor
      let launch: DataWorkerConfiguration.Launch = executor == .shm ? try workerProcess(version: "") : .thread
      switch data {
      case .ranks: break
      case .workers(let count):
        configuration.separate(count, launch)
        configuration.dataWorkers.version = ""
        configuration.kvBlocks = 36 * count
      case .quota(let count):
        configuration.placement = .pipelineData
        configuration.dataWorkers.count = count
        configuration.dataWorkers.launch = launch
        configuration.kvBlocks = 36 * (1 + count)
      }
    }

    func check(_ now: EngineStatistics) {
      let ranks = now.ranks?.ranks ?? []
      #expect(ranks.count == tensor * stages)
      switch data {
      case .ranks: #expect(ranks.allSatisfy { $0.kvBytes > 0 && $0.dataBytes == 0 })
      case .workers(let count):
        #expect(now.data.workers.count { $0.exchanges > 0 } == count && ranks.allSatisfy { $0.kvBytes == 0 })
        #expect(ranks.dropFirst().allSatisfy { $0.dataBytes > 0 })
      case .quota: #expect(ranks.allSatisfy { $0.kvBytes > 0 } && ranks.contains { $0.dataBytes > 0 })
      }
    }
  }

  static let ways = [
    Ways(tensor: 2, stages: 1, executor: .threads, type: .float32),
    Ways(tensor: 2, stages: 1, executor: .shm, type: .bfloat16),
    Ways(tensor: 1, stages: 2, executor: .threads, type: .bfloat16),
    Ways(tensor: 2, stages: 2, executor: .shm, type: .float32),
    Ways(tensor: 2, stages: 1, executor: .threads, type: .bfloat16, data: .workers(1)),
    Ways(tensor: 2, stages: 1, executor: .shm, type: .float32, data: .workers(2)),
    Ways(tensor: 1, stages: 2, executor: .shm, type: .bfloat16, data: .workers(1)),
    Ways(tensor: 1, stages: 2, executor: .threads, type: .float32, data: .quota(1)),
    Ways(tensor: 1, stages: 2, executor: .shm, type: .bfloat16, data: .quota(2)),
  ]

  @Test(arguments: ways.indices) func blocksOfAllRanksComeBackAsTheyWere(_ place: Int) async throws {
    let way = Self.ways[place]
    // About 26 blocks each, in a pool of 72: prompts push one another out, and find themselves below.
    let requests = (0..<6).map { longRequest($0) }
    let expected = try await alone(way.type, requests)
    let engine = try await Engine.start(
      try configuration {
        try way.change(&$0)
        $0.kvTiers = "host=64MiB"
        $0.preemptionMode = .swap
      })
    for round in 0..<2 {
      let found = try await engine.answers(requests)
      #expect(found.map(\.choices) == expected, "\(way.testDescription), round \(round)")
      if round == 1 { #expect(found.contains { $0.cachedTokens > 0 }) }
    }
    await engine.stop()
    let tiers = try #require(engine.statistics.tiers)
    #expect(tiers.deviceToHostBytes > 0 && tiers.hostToDeviceBytes > 0, "\(tiers)")
    way.check(engine.statistics)
  }

  @Test(arguments: [EngineConfiguration.DType.float32, .bfloat16])
  func everySizeFindsTheBlocksOfAnotherInFiles(type: EngineConfiguration.DType) async throws {
    let folder = try TestFolder()
    let key = try folder.keyFile()
    let requests = (0..<3).map { longRequest($0) }
    let expected = try await alone(type, requests)
    func run(_ tensor: Int, _ stages: Int, _ data: Ways.Data = .ranks) async throws -> Int {
      let way = Ways(tensor: tensor, stages: stages, executor: .threads, type: type, data: data)
      let engine = try await Engine.start(
        try configuration {
          try way.change(&$0)
          $0.kvTiers = "host=64MiB,nvme=64MiB:\(folder.blocks)"
          $0.kvKeyFile = key
        })
      #expect(try await engine.answers(requests).map(\.choices) == expected, "tp \(tensor), pp \(stages)")
      try await idle(engine)
      await engine.stop()
      return engine.statistics.tiers?.fileToHostBytes ?? 0
    }
    #expect(try await run(2, 1) == 0)
    #expect(try await run(2, 1) > 0, "the same ranks find theirs")
    #expect(try await run(1, 2) > 0, "stages read what tensor ranks wrote")
    #expect(try await run(2, 2) > 0, "both")
    #expect(try await run(2, 1, .workers(1)) > 0, "ranks whose blocks are with data workers")
    #expect(try await run(1, 2, .quota(1)) > 0, "ranks of which one has a quota")
    #expect(try await run(1, 1) > 0, "one rank")
  }

  @Test func whatRanksCannotKeepIsRefused() {
    for (tiers, part) in [("host=1GiB:dtype=int8", "dtype= converts whole blocks")] {
      #expect {
        _ = try StartPlan(
          configuration {
            $0.tensorParallelSize = 2
            $0.kvTiers = tiers
          })
      } throws: {
        "\($0)".contains(part)
      }
    }
  }

  /// Ranks that only hold weights leave the pool to rank 0, whose blocks go below it as ever.
  @Test func gatheredWeightsAndBlocksBelowGoTogether() async throws {
    let folder = PackedFolder()
    _ = try PackedModel(storyConfiguration { $0.dtype = .bfloat16 }).write(to: folder.path, overwrites: false) { _ in }
    let requests = (0..<4).map { longRequest($0) }
    let expected = try await alone(.bfloat16, requests)
    let path = folder.path
    let engine = try await Engine.start(
      configuration {
        $0.modelFolder = path
        $0.gathering = GatheredTests.gathering(.peers, depth: 1)
        $0.executor = .threads
        // The longest sequence does not fit the pool: running sequences have blocks below it.
        $0.kvBlocks = 20
        $0.kvTiers = "host=64MiB"
      })
    #expect(try await engine.answers(requests).map(\.choices) == expected)
    await engine.stop()
    #expect(engine.statistics.gather?.fetchedBytes ?? 0 > 0)
  }
}
