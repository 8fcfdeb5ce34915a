import SwerveCore
import SwerveEngine
import Testing

/// Choices of one request hold their prompt's blocks together, and nobody sees it.
@Suite(.serialized) struct ChoiceSharingTests {
  private func requests() -> [GenerationRequest] {
    (0..<6).map { index in
      textRequest(InvarianceTests.prompts[index % 4], id: "choices-\(index)") {
        $0.n = 4
        $0.temperature = 1.2
        $0.seed = 7 * index
        $0.topP = index % 2 == 0 ? 1 : 0.9
        $0.repetitionPenalty = index == 3 ? 1.2 : 1
        $0.logprobs = 2
        $0.maxTokens = 20 + index
        $0.ignoreEos = true
      }
    }
  }

  /// With one slot every choice computes its prompt and its tokens by itself: four requests, each of its choice's seed.
  @Test(arguments: [KVType.bfloat16, .int8, .fp8E4M3])
  func choicesGiveTheBitsTheyGiveAlone(kvType: KVType) async throws {
    func outcomes(_ change: (inout EngineConfiguration) -> Void) async throws -> ([[Outcome]], EngineStatistics) {
      let engine = try await Engine.start(
        storyConfiguration {
          $0.dtype = .bfloat16
          $0.kvCacheType = kvType
          change(&$0)
        })
      let answers = try await engine.answers(requests()).map(\.choices)
      try await idle(engine)
      await engine.stop()
      return (answers, engine.statistics)
    }
    let alone = try await outcomes {
      $0.maxSequences = 1; $0.enablePrefixCaching = false
    }.0
    #expect(alone.allSatisfy { Set($0.map(\.tokens)).count == 4 })
    for caching in [true, false] {
      let shared = try await outcomes { $0.enablePrefixCaching = caching }
      #expect(shared.0 == alone, "prefix caching \(caching)")
      // Hits are counted once a request, like the prompt.
      #expect(shared.1.prefixHitTokens <= shared.1.promptTokens)
      let tiny = try await outcomes {
        $0.enablePrefixCaching = caching
        $0.maxBatchedTokens = 16; $0.maxSequences = 12; $0.kvBlocks = 20; $0.kvCacheBytes = nil; $0.maxModelLength = 128
      }
      #expect(tiny.0 == alone, "chunked at 16 and preempted, prefix caching \(caching)")
      #expect(tiny.1.preemptions > 0)
    }
  }
}
