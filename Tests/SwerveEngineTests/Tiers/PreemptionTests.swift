import SwerveCore
import SwerveEngine
import SwerveInference
import Testing

/// A pool far too small: sequences give up their blocks again and again, and have the same tokens in every mode.
@Suite(.serialized) struct TierPreemptionTests {
  private func requests() -> [GenerationRequest] {
    (0..<40).map { index in
      textRequest(String(repeating: InvarianceTests.prompts[index % 4] + " ", count: 1 + index % 5)) {
        $0.temperature = index % 3 == 0 ? 0 : 0.9
        $0.seed = index
        $0.logprobs = 2
        $0.maxTokens = 24 + index % 17
        $0.ignoreEos = true
        $0.repetitionPenalty = index % 7 == 3 ? 1.2 : 1
      }
    }
  }

  private func run(
    _ requests: [GenerationRequest]? = nil, _ change: (inout EngineConfiguration) -> Void
  ) async throws -> ([[Outcome]], EngineStatistics) {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.dtype = .bfloat16; $0.maxModelLength = 256; change(&$0)
      })
    let answers = try await engine.answers(requests ?? self.requests())
    await engine.stop()
    return (answers.map(\.choices), engine.statistics)
  }

  @Test(arguments: PreemptionMode.allCases, [true, false])
  func everyModeGivesTheTokensOfAnUnboundedRun(mode: PreemptionMode, sharesPrefixes: Bool) async throws {
    let (unbounded, calm) = try await run { $0.enablePrefixCaching = false }
    #expect(calm.preemptions == 0 && calm.tiers == nil)
    let (bounded, statistics) = try await run {
      $0.kvBlocks = 24
      $0.kvCacheBytes = nil
      $0.maxBatchedTokens = 128
      $0.enablePrefixCaching = sharesPrefixes
      $0.kvOffloadingBytes = 64 << 20
      $0.preemptionMode = mode
    }
    #expect(bounded == unbounded)
    #expect(bounded.allSatisfy { $0.allSatisfy { $0.finish == .length } })
    let tiers = try #require(statistics.tiers)
    #expect(statistics.preemptions > 0)
    switch mode {
    case .recompute: #expect(statistics.swappedPreemptions == 0 && tiers.swapInBytes == 0 && tiers.swapOutBytes == 0)
    case .swap: #expect(statistics.swappedPreemptions > 0 && tiers.swapInBytes > 0)
    case .auto: break
    }
    // Without shared prefixes nothing is kept but what was swapped out.
    if !sharesPrefixes { #expect(tiers.deviceToHostBytes == tiers.swapOutBytes) }
    if sharesPrefixes { #expect(tiers.deviceToHostBytes > 0) }
    #expect(statistics.lossySequences == 0)
  }

  /// Choices and hypotheses share blocks and are computed again; what runs beside them is swapped.
  @Test(arguments: [true, false])
  func requestsThatShareBlocksRunBesideSwappedOnes(sharesPrefixes: Bool) async throws {
    let mixed = requests().enumerated().map { index, request in
      var request = request
      if index % 5 == 1 {
        request.params.n = 3
        request.params.temperature = 0.9
      }
      if index % 8 == 3 {
        request.params.n = 2
        request.params.useBeamSearch = true
        request.params.temperature = 0
        request.params.repetitionPenalty = 1
      }
      return request
    }
    let (unbounded, _) = try await run(mixed) { $0.enablePrefixCaching = false }
    let (bounded, statistics) = try await run(mixed) {
      $0.kvBlocks = 32
      $0.kvCacheBytes = nil
      $0.maxBatchedTokens = 128
      $0.enablePrefixCaching = sharesPrefixes
      $0.kvOffloadingBytes = 64 << 20
      $0.preemptionMode = .swap
    }
    #expect(bounded == unbounded)
    #expect(statistics.swappedPreemptions > 0 && statistics.tiers?.swapInBytes ?? 0 > 0)
    #expect(statistics.preemptions > statistics.swappedPreemptions)
  }

  @Test func aHostTierOfAFewBlocksIsNoHarm() async throws {
    let (unbounded, _) = try await run { $0.enablePrefixCaching = false }
    let plan = try StartPlan(storyConfiguration { $0.dtype = .bfloat16 })
    let (bounded, statistics) = try await run {
      $0.kvBlocks = 24
      $0.kvCacheBytes = nil
      $0.kvOffloadingBytes = 3 * ((plan.memoryPlan.blockBytes + 4095) & ~4095)
      $0.preemptionMode = .swap
    }
    #expect(bounded == unbounded)
    #expect(statistics.tiers?.hostBlocks == 3)
    #expect(statistics.tiers?.hostEvictions ?? 0 > 0)
  }

  @Test(arguments: [KVType.float32, .int8, .fp8E4M3])
  func everyKVTypeIsSwappedBitForBit(type: KVType) async throws {
    let (unbounded, _) = try await run { $0.kvCacheType = type }
    let (bounded, statistics) = try await run {
      $0.kvCacheType = type
      $0.kvBlocks = 24
      $0.kvCacheBytes = nil
      $0.kvTiers = "device=auto,host=64MiB:policy=cost"
      $0.preemptionMode = .swap
    }
    #expect(bounded == unbounded)
    #expect(statistics.tiers?.swapInBytes ?? 0 > 0)
  }

  @Test func withoutTiersNothingIsSwapped() async throws {
    let (_, statistics) = try await run {
      $0.kvBlocks = 24
      $0.kvCacheBytes = nil
    }
    #expect(statistics.preemptions > 0 && statistics.swappedPreemptions == 0 && statistics.tiers == nil)
  }
}
