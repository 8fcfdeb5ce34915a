import Foundation
import SwerveCore
import SwerveEngine
import SwerveHardware
import SwerveInference
import Testing

/// Prompts handed over between engines of any numbers of ranks: blocks go over as one rank has them.
@Suite(.serialized) struct DisaggregatedRankTests {
  /// An engine's ranks, and data workers of each.
  struct Side: Sendable, CustomTestStringConvertible {
    var workers = 0
    var tensor = 1
    var stages = 1
    var executor = EngineConfiguration.Executor.threads
    var testDescription: String {
      (tensor * stages == 1 ? "one" : "tp \(tensor), pp \(stages), \(executor.rawValue)")
        + (workers > 0 ? ", \(workers) data workers" : "")
    }

    func change(_ configuration: inout EngineConfiguration) {
      let isOne = tensor * stages == 1
      if workers > 0 {
        configuration.separate(workers, workers == 1 && isOne ? (try? workerProcess()) ?? .thread : .thread)
      }
      if isOne { return }
      configuration.tensorParallelSize = tensor
      configuration.pipelineParallelSize = stages
      configuration.executor = executor
      configuration.rankProgram = RankProcessTests.program
    }
  }

  struct Pair: Sendable, CustomTestStringConvertible {
    var producer: Side
    var consumer: Side
    var type: EngineConfiguration.DType
    var way = Way.push
    var kv: KVType?
    var testDescription: String {
      "\(producer.testDescription) to \(consumer.testDescription), \(type.rawValue), \(way.rawValue)"
        + (kv.map { ", \($0.rawValue)" } ?? "")
    }
  }

  static let pairs = [
    Pair(producer: Side(tensor: 2), consumer: Side(), type: .float32),
    Pair(producer: Side(), consumer: Side(tensor: 2), type: .bfloat16),
    Pair(producer: Side(stages: 2, executor: .shm), consumer: Side(tensor: 2, executor: .shm), type: .bfloat16),
    Pair(producer: Side(tensor: 2, stages: 2), consumer: Side(stages: 2), type: .float32, way: .pull),
    Pair(producer: Side(tensor: 2, executor: .shm), consumer: Side(stages: 2), type: .bfloat16, kv: .int8),
    Pair(producer: Side(stages: 2), consumer: Side(tensor: 2), type: .bfloat16, way: .pull, kv: .fp8E4M3),
    Pair(producer: Side(workers: 2), consumer: Side(), type: .bfloat16),
    Pair(producer: Side(), consumer: Side(workers: 2), type: .float32, way: .pull),
    Pair(producer: Side(workers: 1), consumer: Side(workers: 2), type: .bfloat16, kv: .int8),
    Pair(producer: Side(tensor: 2), consumer: Side(workers: 1), type: .bfloat16),
    Pair(producer: Side(workers: 1, tensor: 2), consumer: Side(), type: .bfloat16),
    Pair(producer: Side(), consumer: Side(workers: 2, stages: 2), type: .float32, way: .pull),
    Pair(producer: Side(workers: 2, tensor: 2), consumer: Side(workers: 1, tensor: 2), type: .bfloat16, kv: .int8),
  ]

  @Test(arguments: pairs.indices) func promptsAreHandedOverBetweenRanks(_ place: Int) async throws {
    let pair = Self.pairs[place]
    let requests = handoverRequests(8)
    func configuration(_ change: (inout EngineConfiguration) -> Void) -> EngineConfiguration {
      storyConfiguration {
        $0.dtype = pair.type
        $0.kvCacheType = pair.kv
        change(&$0)
      }
    }
    let one = try await Engine.start(configuration { $0.enablePrefixCaching = false })
    var alone: [[Outcome]] = []
    for request in requests { alone.append(try await one.answer(request).choices) }
    await one.stop()
    let producer = try await Engine.start(
      configuration {
        pair.producer.change(&$0)
        // Prompts of several chunks.
        $0.maxBatchedTokens = 48
        $0.maxSequences = 8
        $0.hand(.producer)
      })
    let consumer = try await Engine.start(
      configuration {
        pair.consumer.change(&$0)
        $0.hand(.consumer)
      })
    for (index, request) in requests.enumerated() {
      let answer = try await disaggregated(request, producer, consumer, pair.way)
      #expect(answer.choices == alone[index], "request \(index), \(pair.testDescription)")
      #expect(answer.cachedTokens >= (answer.prompt.count - 1) / 16 * 16, "request \(index) was computed twice")
    }
    #expect(try await producer.settles { $0.sent == requests.count && $0.sendBytesHeld == 0 }, "\(producer.transfers)")
    let (sent, received) = (producer.transfers, consumer.transfers)
    #expect(received.received == requests.count, "\(received)")
    #expect(sent.failures.isEmpty && received.failures.isEmpty && received.hitTokens > 0)
    #expect(received.receiveBlocksUsed == 0)
    await producer.stop()
    await consumer.stop()
    for (engine, side) in [(producer, pair.producer), (consumer, pair.consumer)] {
      let ranks = side.tensor * side.stages
      #expect(engine.statistics.ranks?.ranks.count == (ranks > 1 ? ranks : nil))
      #expect(engine.statistics.data.workers.count == side.workers)
      #expect(side.workers == 0 || engine.statistics.data.workers.contains { $0.exchanges > 0 })
    }
  }

  @Test func sumsInAnotherOrderAreOtherBlocks() async throws {
    let producer = try await Engine.start(
      storyConfiguration {
        $0.tensorParallelSize = 2
        $0.reduction = .fast
        $0.hand(.producer)
      })
    let consumer = try await Engine.start(storyConfiguration { $0.hand(.consumer) })
    do {
      _ = try await disaggregated(handoverRequests(1)[0], producer, consumer)
      Issue.record("blocks of fast sums were taken")
    } catch {
      #expect("\(error)".contains("model"), "\(error)")
    }
    await producer.stop()
    await consumer.stop()
  }

  // MARK: Order

  @Test(arguments: [KVType.float32, .bfloat16, .int8], [(1, 1), (2, 1), (4, 1), (1, 3), (2, 2), (8, 2)])
  func partsAreTheBlockOnceAndComeBack(type: KVType, sizes: (Int, Int)) throws {
    let model = try #require(try TopologyShape.model(keyValueHeads: 8, layers: 4))
    let layout = try RankLayout(model, tensorSize: sizes.0, stageCount: sizes.1)
    let order = try #require(try RankBlockOrder(layout, model: model, type: type, blockTokens: 16))
    let whole = (0..<order.byteCount).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    var parts = [UInt8](repeating: 0, count: whole.count)
    var again = parts
    whole.withUnsafeBytes { from in parts.withUnsafeMutableBytes { order.cut(from, into: $0) } }
    parts.withUnsafeBytes { from in again.withUnsafeMutableBytes { order.join(from, into: $0) } }
    #expect(again == whole)
    #expect((parts == whole) == (sizes == (1, 1)))
    // The first rank's part begins with its keys of its first layer: the last stage's.
    let first = layout.shape(0).layers.lowerBound * order.byteCount / 4
    #expect(Array(parts.prefix(64)) == Array(whole[first..<first + 64]))
  }
}

/// Sizes of a model that no file has.
enum TopologyShape {
  static func model(keyValueHeads: Int, layers: Int) throws -> ModelConfiguration? {
    let folder = FileManager.default.temporaryDirectory.appending(path: "swerve-shape-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let original = RankIdentityTests.fixture(RankIdentityTests.families[0])
    guard var config = try JSON(parsing: [UInt8](try Data(contentsOf: URL(filePath: original + "/config.json")))).object
    else { return nil }
    let changes: JSONObject = [
      "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": .int(layers), "num_attention_heads": 16,
      "num_key_value_heads": .int(keyValueHeads), "head_dim": 32, "layer_types": .null,
    ]
    for key in changes.keys { config[key] = changes[key] }
    try JSON.object(config).text.write(to: folder.appending(path: "config.json"), atomically: false, encoding: .utf8)
    return try ModelConfiguration(ModelFiles(folder: folder.path()), overrides: JSONObject())
  }
}
