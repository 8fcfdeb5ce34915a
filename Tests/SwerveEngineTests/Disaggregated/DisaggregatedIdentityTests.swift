import Foundation
import SwerveCore
import SwerveEngine
import Testing

/// A prompt computed by one engine and gone on with by another gives the tokens and log-probabilities, bit for bit, that
/// one engine gives alone; and its blocks went over, so that only the rest was computed twice.
@Suite(.serialized) struct DisaggregatedIdentityTests {
  struct Kind: Sendable, CustomTestStringConvertible {
    var type: EngineConfiguration.DType
    var way: Way
    var isSealed = false
    var testDescription: String { "\(type.rawValue), \(way.rawValue)\(isSealed ? ", sealed" : "")" }
  }

  static let kinds = [
    Kind(type: .float32, way: .push), Kind(type: .bfloat16, way: .push), Kind(type: .float32, way: .pull),
    Kind(type: .bfloat16, way: .pull), Kind(type: .float32, way: .push, isSealed: true),
    Kind(type: .bfloat16, way: .pull, isSealed: true),
  ]

  private func alone(
    _ requests: [GenerationRequest], _ change: (inout EngineConfiguration) -> Void
  ) async throws -> [Answer] {
    let engine = try await Engine.start(
      storyConfiguration {
        change(&$0)
        $0.enablePrefixCaching = false
      })
    var answers: [Answer] = []
    for request in requests { answers.append(try await engine.answer(request)) }
    await engine.stop()
    return answers
  }

  /// Whole blocks of a prompt that need not be computed.
  private func blocks(_ answer: Answer) -> Int { (answer.prompt.count - 1) / 16 }

  @Test(arguments: kinds) func promptsThatWereHandedOverGiveTheSameBits(kind: Kind) async throws {
    let folder = try TestFolder()
    let key = kind.isSealed ? try folder.keyFile() : nil
    let requests = handoverRequests(10)
    let alone = try await alone(requests) { $0.dtype = kind.type }
    let producer = try await Engine.start(
      storyConfiguration {
        $0.dtype = kind.type
        $0.hand(.producer) { $0.linkKeyFile = key }
      })
    let consumer = try await Engine.start(
      storyConfiguration {
        $0.dtype = kind.type
        $0.hand(.consumer) { $0.linkKeyFile = key }
      })
    for (index, request) in requests.enumerated() {
      let answer = try await disaggregated(request, producer, consumer, kind.way)
      #expect(answer.choices == alone[index].choices, "request \(index)")
      #expect(answer.cachedTokens >= 16 * blocks(answer), "request \(index) computed more than the rest")
    }
    #expect(try await producer.settles { $0.sent == requests.count && $0.sendBytesHeld == 0 }, "\(producer.transfers)")
    let (sent, received) = (producer.transfers, consumer.transfers)
    let hits = requests.indices.reduce(0) { $0 + 16 * blocks(alone[$1]) }
    #expect(received.received == requests.count, "\(received)")
    #expect(sent.failures.isEmpty && received.failures.isEmpty, "\(sent.failures) \(received.failures)")
    #expect(received.receivedBytes > 0 && sent.sentBytes >= received.receivedBytes)
    // Beginnings that requests share the consumer has itself by then.
    let own = consumer.statistics.prefixHitTokens
    #expect(received.hitTokens > 0 && received.hitTokens + own >= hits, "\(received.hitTokens) and \(own) of \(hits)")
    #expect(received.receiveBlocksUsed == 0)
    await producer.stop()
    await consumer.stop()
  }

  @Test(arguments: [Way.push, .pull]) func manyAtOnceInChunksGiveTheSameBits(way: Way) async throws {
    let requests = handoverRequests(24)
    let alone = try await alone(requests) { _ in }
    let producer = try await Engine.start(
      storyConfiguration {
        $0.maxBatchedTokens = 24
        $0.maxSequences = 8
        $0.hand(.both)
      })
    let consumer = try await Engine.start(storyConfiguration { $0.hand(.both) })
    try await withThrowingTaskGroup(of: (Int, Answer).self) { group in
      for (index, request) in requests.enumerated() {
        group.addTask { (index, try await disaggregated(request, producer, consumer, way)) }
      }
      for try await (index, answer) in group {
        #expect(answer.choices == alone[index].choices, "request \(index)")
      }
    }
    #expect(consumer.transfers.received == requests.count && consumer.transfers.failures.isEmpty)
    #expect(producer.statistics.generationTokens == requests.count)
    // And the other way round: both roles in both.
    let back = try await disaggregated(requests[4], consumer, producer, way)
    #expect(back.choices == alone[4].choices)
    #expect(producer.transfers.received == 1)
    await producer.stop()
    await consumer.stop()
  }

  @Test func prefixHitsOfBothSidesAreUsed() async throws {
    let requests = handoverRequests(6)
    let alone = try await alone(requests) { _ in }
    let producer = try await Engine.start(storyConfiguration { $0.hand(.producer) })
    let consumer = try await Engine.start(storyConfiguration { $0.hand(.consumer) })
    for round in 0..<3 {
      for (index, request) in requests.enumerated() {
        let answer = try await disaggregated(request, producer, consumer)
        #expect(answer.choices == alone[index].choices, "request \(index), round \(round)")
      }
    }
    // The producer computed each prompt once; the consumer took it once, and had it afterwards.
    #expect(producer.statistics.prefixHitTokens > 0 && consumer.statistics.prefixHitTokens > 0)
    #expect(try await producer.settles { $0.sent == 18 } && producer.transfers.failures.isEmpty)
    let prompts = alone.reduce(0) { $0 + 16 * blocks($1) }
    #expect(consumer.transfers.hitTokens > 0 && consumer.transfers.hitTokens <= prompts)
    // The consumer's own blocks after a reset come from the producer again.
    let before = consumer.transfers.hitTokens
    #expect(await consumer.resetPrefixCache())
    let answer = try await disaggregated(requests[1], producer, consumer)
    #expect(answer.choices == alone[1].choices)
    #expect(consumer.transfers.hitTokens == before + 16 * blocks(answer))
    await producer.stop()
    await consumer.stop()
  }

  @Test func tiersBelowTheConsumerGoOnWorking() async throws {
    let requests = handoverRequests(12)
    let alone = try await alone(requests) { _ in }
    let producer = try await Engine.start(storyConfiguration { $0.hand(.producer) })
    let consumer = try await Engine.start(
      storyConfiguration {
        $0.kvBlocks = 40
        $0.kvCacheBytes = nil
        $0.kvTiers = "host=64MiB"
        $0.hand(.consumer)
      })
    for round in 0..<2 {
      try await withThrowingTaskGroup(of: (Int, Answer).self) { group in
        for (index, request) in requests.enumerated() {
          group.addTask { (index, try await disaggregated(request, producer, consumer)) }
        }
        for try await (index, answer) in group {
          #expect(answer.choices == alone[index].choices, "request \(index), round \(round)")
        }
      }
    }
    #expect(consumer.transfers.hitTokens > 0)
    // What came over is found again, on the device or below it.
    for index in [0, 11] {
      #expect(try await consumer.answer(requests[index]).choices == alone[index].choices)
    }
    #expect((consumer.statistics.tiers?.hitTokens ?? []).reduce(0, +) + consumer.statistics.prefixHitTokens > 0)
    try await idle(consumer)
    #expect(consumer.transfers.receiveBlocksUsed == 0)
    await producer.stop()
    await consumer.stop()
  }

  @Test(arguments: ["llama_mha", "llama_gqa_llama3", "mistral_swa", "qwen2", "qwen3"])
  func everyFamilyGivesTheSameBits(model: String) async throws {
    let tests = #filePath.dropLast("SwerveEngineTests/Disaggregated/DisaggregatedIdentityTests.swift".utf8.count)
    let folder = String(tests + "SwerveInferenceTests/Fixtures/models/" + model)
    for type in [EngineConfiguration.DType.float32, .bfloat16] {
      func configuration(_ role: KVTransferConfiguration.Role?) -> EngineConfiguration {
        storyConfiguration {
          $0.modelFolder = folder
          $0.skipTokenizerInit = true
          $0.dtype = type
          $0.maxModelLength = nil
          $0.kvCacheBytes = 16 << 20
          if let role { $0.hand(role) }
        }
      }
      let unified = try await Engine.start(configuration(nil))
      let producer = try await Engine.start(configuration(.producer))
      let consumer = try await Engine.start(configuration(.consumer))
      for index in 0..<6 {
        var params = SamplingParams(temperature: index % 2 == 0 ? 0 : 1, maxTokens: 10)
        params.seed = index
        params.logprobs = 3
        params.ignoreEos = true
        let prompt = (0..<(20 + 17 * index)).map { TokenID(3 + ($0 * 7 + index) % 40) }
        let request = GenerationRequest(id: "family-\(index)", prompt: .tokens(prompt), params: params)
        let alone = try await unified.answer(request)
        let answer = try await disaggregated(request, producer, consumer)
        #expect(answer.choices == alone.choices, "\(type.rawValue), request \(index)")
        #expect(answer.cachedTokens >= 16 * blocks(answer))
      }
      #expect(consumer.transfers.received == 6 && consumer.transfers.failures.isEmpty)
      for engine in [unified, producer, consumer] { await engine.stop() }
    }
  }

  @Test(arguments: [KVType.int8, .fp8E4M3]) func everyKVTypeGivesTheSameBits(type: KVType) async throws {
    let requests = handoverRequests(5)
    let alone = try await alone(requests) { $0.kvCacheType = type }
    let producer = try await Engine.start(
      storyConfiguration {
        $0.kvCacheType = type
        $0.hand(.producer)
      })
    let consumer = try await Engine.start(
      storyConfiguration {
        $0.kvCacheType = type
        $0.hand(.consumer)
      })
    for (index, request) in requests.enumerated() {
      #expect(try await disaggregated(request, producer, consumer).choices == alone[index].choices)
    }
    #expect(consumer.transfers.received == requests.count && consumer.transfers.hitTokens > 0)
    await producer.stop()
    await consumer.stop()
  }

  @Test func shortPromptsAndOrdinaryRequestsNeedNoTransfer() async throws {
    let producer = try await Engine.start(storyConfiguration { $0.hand(.producer) })
    let consumer = try await Engine.start(storyConfiguration { $0.hand(.consumer) })
    let request = textRequest("Once upon", id: "short")
    let alone = try await alone([request]) { _ in }
    #expect(try await consumer.answer(request).choices == alone[0].choices)
    #expect(try await disaggregated(request, producer, consumer).choices == alone[0].choices)
    #expect(producer.transfers.sent == 0 && consumer.transfers.failures.isEmpty)
    await producer.stop()
    await consumer.stop()
  }
}
