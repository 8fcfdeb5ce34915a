import Foundation
import SwerveCore
import SwerveEngine
import SwerveHardware
import Testing

// Ranks whose keys and values are with data workers, each rank's with its own: what happens when any of them is lost.
extension GroupRecoveryTests {
  /// Two tensor ranks, one a process, with two data workers each: processes with a word of their own.
  private func separated(_ tag: String) throws -> EngineConfiguration {
    var configuration = ranks(tag, blocks: 2 * 48)
    configuration.separate(2, try workerProcess(version: ""))
    // Of the programs that stand for the command where a rank starts its workers.
    configuration.dataWorkers.version = ""
    configuration.tensorParallelSize = 2
    return configuration
  }

  /// Workers of rank 0 that live.
  private static func own(_ engine: Engine) -> [Int32] {
    engine.statistics.data.workers.filter(\.isReady).map(\.process)
  }

  @Test func ranksAndTheDataWorkersOfAllOfThemComeBack() async throws {
    let requests = requests()
    let alone = try await alone(requests)
    let tag = UUID().uuidString
    let engine = try await Engine.start(try separated(tag))
    #expect(Self.group(tag).ranks.count == 1 && Self.group(tag).workers.count == 2 && Self.own(engine).count == 2)
    try await kill(Self.kills, engine, requests, alone) {
      let group = Self.group(tag)
      return group.workers.count == 2 ? group.ranks + group.workers : []
    }
    // A step that ended between two layers leaves rows with rank 0's workers, which are replaced and find their blocks.
    #expect(engine.statistics.data.recoveries.values.reduce(0, +) > 0)
    // Rank 0's own: nobody else is started again.
    let group = engine.statistics.groupRestarts
    let before = engine.statistics.data.recoveries.values.reduce(0, +)
    async let answers = engine.answers(requests)
    let from = engine.statistics.generationTokens + 50
    try #require(try await engine.waits { $0.generationTokens >= from })
    for worker in Self.own(engine) { Glibc.kill(worker, SIGKILL) }
    compare(try await answers.map(\.choices), alone, "rank 0's workers")
    await engine.stop()
    let now = engine.statistics
    #expect(now.groupRestarts == group && now.data.recoveries.values.reduce(0, +) >= before + 2)
    #expect(now.data.keptSequences > 0 && now.resumedSequences > 0)
    #expect(now.ranks?.ranks.allSatisfy { $0.kvBytes == 0 } == true)
    #expect(now.ranks?.ranks.last?.dataBytes ?? 0 > 0)
  }

  /// Devices with a CPU each, the same for weights and for data, with host memory and files below: a rank that keeps to its CPU
  /// starts workers on the other.
  @Test(.enabled(if: KernelPool.processCPUs.count > 1, "there is one CPU"))
  func ranksAndTheirDataWorkersShareNamedDevices() async throws {
    let requests = requests()
    let alone = try await alone(requests)
    let folder = try TestFolder()
    let devices = KernelPool.processCPUs.prefix(2).map { [Int($0)] as [Int]? }
    var configuration = try separated(UUID().uuidString)
    configuration.parameterDevices = devices
    configuration.dataWorkers.cpus = devices
    configuration.kvTiers = "host=16MiB,nvme=16MiB:\(folder.blocks)"
    let engine = try await Engine.start(configuration)
    compare(try await engine.answers(requests).map(\.choices), alone, "named devices")
    let data = engine.statistics.data
    #expect(data.workers.count == 2 && data.workers.allSatisfy { $0.kvBytes > 0 && $0.receivedBytes > 0 }, "\(data)")
    await engine.stop()
  }

  /// Pools of all ranks' workers with host memory below: blocks that were to be copied out or in when a rank was lost are,
  /// when it is back.
  @Test func whatTiersKeepOfTheDataWorkersOutlivesThem() async throws {
    let requests = requests()
    let alone = try await alone(requests)
    let tag = UUID().uuidString
    var configuration = try separated(tag)
    // Less than the requests need at once.
    configuration.kvBlocks = 2 * 24
    configuration.kvTiers = "host=64MiB"
    configuration.preemptionMode = .swap
    let engine = try await Engine.start(configuration)
    try await kill(Self.kills, engine, requests, alone) {
      let group = Self.group(tag)
      return group.workers.count == 2 ? group.ranks + group.workers : []
    }
    await engine.stop()
    let tiers = try #require(engine.statistics.tiers)
    #expect(tiers.deviceToHostBytes > 0 && tiers.hostToDeviceBytes > 0 && engine.statistics.preemptions > 0)
  }

  @Test func aSequenceLiesWithSeveralWorkersOfEachRank() async throws {
    let prompt = (0..<400).map { TokenID(($0 * 37) % 4000 + 20) }
    var params = SamplingParams(temperature: 0, maxTokens: 40)
    params.ignoreEos = true
    params.logprobs = 2
    let request = GenerationRequest(id: "long", prompt: .tokens(prompt), params: params)
    let alone = try await alone([request])
    var configuration = storyConfiguration {
      $0.separate(2)
      $0.tensorParallelSize = 2
      $0.maxModelLength = 500
      $0.kvCacheBytes = nil
      // 256 tokens with each worker of each rank.
      $0.kvBlocks = 2 * 16
      $0.maxSequences = 2
    }
    configuration.maxBatchedTokens = 64
    let engine = try await Engine.start(configuration)
    compare(try await engine.answers([request]).map(\.choices), alone, "two workers")
    await engine.stop()
    #expect(engine.statistics.data.workers.allSatisfy { $0.exchanges > 0 })
    #expect(engine.statistics.data.handedStateBytes > 0)
  }

  @Test func workersOfSeveralRanksAreThoseOfTheStart() async throws {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.separate(2)
        $0.tensorParallelSize = 2
      })
    for answer in [await engine.attachDataWorker(), await engine.drainDataWorker(1, within: 1)] {
      guard case .failure(let error) = answer else {
        Issue.record("a worker of one of two ranks came or went")
        continue
      }
      #expect("\(error)".contains("data workers of its own"), "\(error)")
    }
    await engine.stop()
  }
}
