import SwerveCore
import SwerveEngine
import Testing

/// The product's promise: a prompt's tokens and log-probabilities do not depend on what else runs, on how it is cut, on
/// what is cached, or on whether it was interrupted. Bit for bit.
@Suite(.serialized) struct InvarianceTests {
  static let prompts = [
    "Once upon a time there was a king who had three daughters, and the youngest of them",
    "The fox",
    "In the middle of the forest stood a little house, and in it lived an old woman with a black cat. One day",
    "\"Who are you?\" said the bear.",
  ]

  /// Greedy and sampled requests over prompts of many lengths, with log-probabilities.
  private func mixed(_ count: Int) -> [GenerationRequest] {
    (0..<count).map { index in
      let repeated = String(repeating: Self.prompts[index % 4] + " ", count: 1 + index % 5)
      return textRequest(repeated, id: "mixed-\(index)") { params in
        params.temperature = index % 3 == 0 ? 0 : 0.9
        params.seed = index
        params.topP = index % 2 == 0 ? 1 : 0.9
        params.topK = index % 4 == 1 ? 40 : 0
        params.repetitionPenalty = index % 7 == 3 ? 1.2 : 1
        params.logprobs = 3
        params.maxTokens = 8 + index % 17
        params.ignoreEos = true
      }
    }
  }

  private func reference(_ requests: [GenerationRequest], _ type: EngineConfiguration.DType) async throws -> [[Outcome]]
  {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.dtype = type; $0.enablePrefixCaching = false
      })
    var alone: [[Outcome]] = []
    for request in requests { alone.append(try await engine.answer(request).choices) }
    await engine.stop()
    return alone
  }

  @Test(arguments: [EngineConfiguration.DType.float32, .bfloat16])
  func aloneInABatchChunkedCachedAndPreemptedAreTheSameBits(type: EngineConfiguration.DType) async throws {
    let requests = mixed(64)
    let alone = try await reference(requests, type)
    #expect(alone.allSatisfy { !$0[0].tokens.isEmpty && !$0[0].logprobBits.isEmpty })

    let batched = try await Engine.start(storyConfiguration { $0.dtype = type })
    #expect(try await batched.answers(requests).map(\.choices) == alone, "in a batch of 64")
    let again = try await batched.answers(requests)
    #expect(again.map(\.choices) == alone, "with prefix hits")
    #expect(again.contains { $0.cachedTokens > 0 })
    await batched.stop()

    let chunked = try await Engine.start(
      storyConfiguration {
        $0.dtype = type; $0.maxBatchedTokens = 16; $0.maxSequences = 8; $0.enablePrefixCaching = false
      })
    #expect(try await chunked.answers(requests).map(\.choices) == alone, "chunked at 16")
    await chunked.stop()

    let tiny = try await Engine.start(
      storyConfiguration {
        $0.dtype = type; $0.kvBlocks = 24; $0.kvCacheBytes = nil; $0.maxModelLength = 256
      })
    #expect(try await tiny.answers(requests).map(\.choices) == alone, "after preemptions")
    #expect(tiny.statistics.preemptions > 0)
    await tiny.stop()
  }

  @Test(arguments: KVType.allCases)
  func everyKVTypeGivesTheSameBitsAloneBatchedChunkedCachedAndPreempted(kvType: KVType) async throws {
    let requests = mixed(20)
    func engine(_ change: (inout EngineConfiguration) -> Void = { _ in }) async throws -> Engine {
      try await Engine.start(
        storyConfiguration {
          $0.dtype = .bfloat16
          $0.kvCacheType = kvType
          change(&$0)
        })
    }
    let plain = try await engine { $0.enablePrefixCaching = false }
    var alone: [[Outcome]] = []
    for request in requests { alone.append(try await plain.answer(request).choices) }
    await plain.stop()
    #expect(plain.report.logLines.contains { $0.hasPrefix("KV cache type: \(kvType.rawValue), ") })
    #expect(alone.allSatisfy { !$0[0].tokens.isEmpty && !$0[0].text.isEmpty })

    let batched = try await engine { $0.blockSize = 32 }
    #expect(try await batched.answers(requests).map(\.choices) == alone, "in a batch of 20, in blocks of 32")
    let again = try await batched.answers(requests)
    #expect(again.map(\.choices) == alone, "with prefix hits")
    #expect(again.contains { $0.cachedTokens > 0 })
    await batched.stop()

    let tiny = try await engine {
      $0.maxBatchedTokens = 32; $0.maxSequences = 20; $0.kvBlocks = 18; $0.kvCacheBytes = nil; $0.maxModelLength = 256
    }
    #expect(try await tiny.answers(requests).map(\.choices) == alone, "chunked at 32, after preemptions")
    #expect(tiny.statistics.preemptions > 0)
    await tiny.stop()
  }

  @Test func eightBitKeysAndValuesHardlyChangeWhatTheModelExpects() async throws {
    let request = textRequest(Self.prompts[2]) {
      $0.promptLogprobs = 0
      $0.maxTokens = 1
    }
    func logprobs(_ kvType: KVType?) async throws -> (values: [Float], bytes: Int) {
      let engine = try await Engine.start(
        storyConfiguration {
          $0.dtype = .float32; $0.kvCacheType = kvType
        })
      let answer = try await engine.answer(request)
      await engine.stop()
      let values = try #require(answer.promptLogprobs).compactMap { $0?.chosen.logprob }
      return (values, engine.statistics.kvBytes / engine.statistics.blocksTotal)
    }
    let exact = try await logprobs(nil)
    for (kvType, allowed) in [(KVType.bfloat16, 0.05), (.int8, 0.1), (.fp8E4M3, 0.3), (.fp8E5M2, 0.6)] {
      let found = try await logprobs(kvType)
      let worst = zip(found.values, exact.values).map { abs(Double($0) - Double($1)) }.max() ?? .infinity
      #expect(worst > 0 && worst < allowed, "\(kvType): \(worst)")
      #expect(Double(found.bytes) / Double(exact.bytes) < (kvType == .bfloat16 ? 0.501 : 0.27))
    }
  }

  @Test func blockSizeAndThreadsDoNotMatter() async throws {
    let requests = mixed(12)
    let alone = try await reference(requests, .bfloat16)
    for (blockSize, threads) in [(32, 1), (64, 2), (128, 1)] {
      let engine = try await Engine.start(
        storyConfiguration {
          $0.dtype = .bfloat16; $0.blockSize = blockSize; $0.threads = threads
        })
      #expect(try await engine.answers(requests).map(\.choices) == alone, "blocks of \(blockSize), \(threads) threads")
      await engine.stop()
    }
  }

  @Test func promptLogprobsDoNotDependOnTheBatchOrTheCache() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let request = textRequest(Self.prompts[2]) {
      $0.promptLogprobs = 4
      $0.maxTokens = 1
    }
    let alone = try await engine.answer(request)
    #expect(alone.promptLogprobs?.count == alone.prompt.count)
    #expect(alone.promptLogprobs?.first == .some(nil))
    #expect(alone.promptLogprobs?.dropFirst().allSatisfy { $0?.alternatives.count == 4 } == true)
    let among = try await engine.answers([request] + mixed(20) + [request])
    #expect(among.first?.promptLogprobs == alone.promptLogprobs)
    #expect(among.last?.promptLogprobs == alone.promptLogprobs)
    await engine.stop()
  }

  @Test func seededSamplingRepeatsAndSeedsDiffer() async throws {
    let engine = try await Engine.start(storyConfiguration())
    func request(_ seed: Int, n: Int = 1) -> GenerationRequest {
      textRequest(Self.prompts[0]) {
        $0.temperature = 1
        $0.seed = seed
        $0.n = n
      }
    }
    let one = try await engine.answer(request(1))
    #expect(try await engine.answer(request(1)).choices == one.choices)
    #expect(try await engine.answer(request(2)).choices != one.choices)
    let three = try await engine.answer(request(1, n: 3))
    #expect(three.choices[0] == one.choices[0])
    #expect(Set(three.choices.map(\.tokens)).count == 3)
    await engine.stop()
  }
}
