import SwerveCore
import SwerveEngine
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A hit gives what a miss gives, token by token and bit by bit, wherever prompts part.
@Suite(.serialized) struct PrefixReuseTests {
  /// 300 prompts of one family in continuous integration, 10,000 with SWERVE_LONG=1.
  private static let count = getenv("SWERVE_LONG").map { String(cString: $0) } == "1" ? 10_000 : 300

  private struct Generator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
      return z ^ z >> 31
    }
  }

  /// Prompts that begin as an earlier one (its output included) for a random number of tokens, then go their own way.
  private struct Family {
    var generator: Generator
    let vocabulary: Int
    var known: [[TokenID]] = []

    mutating func next() -> [TokenID] {
      let base = known.randomElement(using: &generator) ?? []
      // Half of them go on where another one ended, the others part from it anywhere.
      let shared = Bool.random(using: &generator) ? base.count : Int.random(in: 0...base.count, using: &generator)
      let own = Int.random(in: 1...12, using: &generator)
      return Array(base.prefix(min(shared, 90)))
        + (0..<own).map { _ in
          TokenID(Int.random(in: 0..<vocabulary, using: &generator))
        }
    }

    mutating func learn(_ tokens: [TokenID]) {
      if known.count < 24 { known.append(tokens) } else { known[Int.random(in: 0..<24, using: &generator)] = tokens }
    }
  }

  private func request(_ prompt: [TokenID], _ ordinal: Int) -> GenerationRequest {
    var params = SamplingParams(temperature: ordinal % 3 == 0 ? 0.8 : 0, maxTokens: 3)
    params.seed = ordinal
    params.logprobs = 2
    params.ignoreEos = true
    return GenerationRequest(id: "p\(ordinal)", prompt: .tokens(prompt), params: params)
  }

  private func compare(
    _ count: Int, seed: UInt64, _ change: (inout EngineConfiguration) -> Void
  ) async throws -> (cached: Int, copied: Int) {
    let plain = try await Engine.start(
      storyConfiguration {
        $0.maxModelLength = 128
        change(&$0)
        $0.enablePrefixCaching = false
        $0.kvBlocks = nil
        $0.kvCacheBytes = 16 << 20
      })
    let caching = try await Engine.start(
      storyConfiguration {
        $0.maxModelLength = 128
        change(&$0)
      })
    var family = Family(generator: Generator(state: seed), vocabulary: caching.model.vocabularySize)
    var cached = 0
    var ordinal = 0
    while ordinal < count {
      // Some alone, some together: whoever comes at the same time may share with a sequence that runs.
      let group = (0..<Int.random(in: 1...4, using: &family.generator)).map { request(family.next(), ordinal + $0) }
      let hits = try await caching.answers(group)
      let misses = try await plain.answers(group)
      for (hit, miss) in zip(hits, misses) where hit.choices != miss.choices {
        Issue.record("seed \(seed), prompt \(ordinal): \(hit.cachedTokens) of \(hit.prompt.count) tokens were cached")
      }
      for hit in hits {
        cached += hit.cachedTokens
        family.learn(hit.prompt + hit.choices[0].tokens)
      }
      ordinal += group.count
    }
    let statistics = caching.statistics
    #expect(plain.statistics.prefixHitTokens == 0)
    #expect(statistics.prefixHitTokens == cached)
    await plain.stop()
    await caching.stop()
    return (cached, statistics.copiedTokens)
  }

  @Test func randomPrefixesHitAsTheyMiss() async throws {
    // Small enough that blocks are evicted all the time.
    let found = try await compare(Self.count, seed: 1) {
      $0.kvBlocks = 60; $0.kvCacheBytes = nil
    }
    #expect(found.cached > 5 * Self.count && found.copied > Self.count, "\(found)")
  }

  @Test(arguments: KVType.allCases)
  func everyKVTypeIsCopiedWhole(_ type: KVType) async throws {
    let found = try await compare(60, seed: 2) {
      $0.dtype = .bfloat16
      $0.kvCacheType = type
    }
    #expect(found.copied > 60, "\(found)")
  }

  @Test(arguments: [32, 64])
  func largerBlocksAndTheOtherPolicyAreTheSame(_ blockSize: Int) async throws {
    let found = try await compare(60, seed: 3) {
      $0.blockSize = blockSize
      $0.prefixCachePolicy = .cost
      $0.kvBlocks = 16
      $0.kvCacheBytes = nil
    }
    #expect(found.copied > 120, "\(found)")
  }

  @Test func speculationOverCopiedBlocksIsTheSame() async throws {
    let found = try await compare(60, seed: 4) {
      $0.speculation = SpeculationConfiguration()
      $0.speculation?.rowCost = 1e-4
    }
    #expect(found.copied > 60, "\(found)")
  }
}
