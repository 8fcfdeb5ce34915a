import SwerveCore
import SwerveEngine
import Testing

/// Requests with blocks below the device give the tokens and log-probabilities, bit for bit, that they give where all
/// blocks are on it.
@Suite(.serialized) struct ResidencyTests {
  static let text = InvarianceTests.prompts.joined(separator: " ")

  struct Kind: Sendable, CustomTestStringConvertible {
    var type: EngineConfiguration.DType
    var kvType: KVType?
    var testDescription: String { "\(type.rawValue) in \(kvType?.rawValue ?? "the same")" }
  }

  static let kinds = [
    Kind(type: .float32), Kind(type: .bfloat16), Kind(type: .bfloat16, kvType: .int8),
    Kind(type: .bfloat16, kvType: .fp8E5M2),
  ]

  private func long(_ seed: Int, tokens: Int = 40) -> GenerationRequest {
    textRequest(String(repeating: Self.text + " ", count: 6), id: "long-\(seed)") { params in
      params.temperature = seed == 0 ? 0 : 0.9
      params.seed = seed
      params.logprobs = 2
      params.maxTokens = tokens
      params.ignoreEos = true
    }
  }

  private func short(_ count: Int) -> [GenerationRequest] {
    (0..<count).map { index in
      textRequest(InvarianceTests.prompts[index % 4], id: "short-\(index)") { params in
        params.temperature = index % 2 == 0 ? 0 : 1
        params.seed = index
        params.logprobs = 1
        params.maxTokens = 8 + index % 9
        params.ignoreEos = true
      }
    }
  }

  private func unbounded(_ requests: [GenerationRequest], _ kind: Kind) async throws -> [[Outcome]] {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.dtype = kind.type
        $0.kvCacheType = kind.kvType
        $0.enablePrefixCaching = false
      })
    var alone: [[Outcome]] = []
    for request in requests { alone.append(try await engine.answer(request).choices) }
    await engine.stop()
    #expect(engine.statistics.overflow == OverflowStatistics())
    return alone
  }

  /// An engine whose device holds three blocks of 16 tokens.
  private func small(
    _ kind: Kind, _ overflow: OverflowConfiguration?, device: Int = 3,
    _ change: (inout EngineConfiguration) -> Void = { _ in }
  ) async throws -> Engine {
    try await Engine.start(
      storyConfiguration {
        $0.dtype = kind.type
        $0.kvCacheType = kind.kvType
        $0.kvBlocks = device
        $0.kvCacheBytes = nil
        $0.overflow = overflow
        change(&$0)
      })
  }

  @Test(arguments: kinds) func aSequenceOfTenTimesTheDeviceGivesTheSameBits(kind: Kind) async throws {
    let requests = [long(0), long(7)]
    let alone = try await unbounded(requests, kind)
    #expect(alone.allSatisfy { $0[0].tokens.count == 40 })
    for (host, ring, caching) in [(40, 16, true), (5, 16, false), (0, 33, true), (5, 64, true)] {
      let keeper = StoreKeeper()
      let engine = try await small(kind, keeper.overflow(host: host, store: 40, staging: ring), device: 2) {
        $0.enablePrefixCaching = caching
      }
      for (index, request) in requests.enumerated() {
        let answer = try await engine.answer(request)
        #expect(answer.prompt.count > 256, "several partitions")
        #expect(answer.choices == alone[index], "host \(host), ring \(ring), request \(index)")
      }
      await engine.stop()
      let overflow = engine.statistics.overflow
      #expect(overflow.blocksToHost == 0 ? host == 0 : true)
      #expect((overflow.traffic.readBytes > 0) == (host < 40), "the store was read: \(overflow)")
      #expect((overflow.blocksToStore > 0) == (host < 40))
      #expect(overflow.hostBlocksUsed == 0 && overflow.storeBlocksUsed == 0 && overflow.recoveries == 0)
      #expect(engine.statistics.preemptions == 0)
    }
  }

  @Test func longAndShortRequestsTogetherGiveTheSameBits() async throws {
    let kind = Kind(type: .bfloat16)
    let requests = [long(0), long(3, tokens: 20)] + short(12) + [long(5, tokens: 30)]
    let alone = try await unbounded(requests, kind)
    for perStep in [nil, 8] as [Int?] {
      let keeper = StoreKeeper()
      let engine = try await small(
        kind, keeper.overflow(host: 12, store: 100, staging: 32, perStep: perStep), device: 10)
      #expect(try await engine.answers(requests).map(\.choices) == alone, "\(perStep ?? 0) blocks a step")
      await engine.stop()
      let overflow = engine.statistics.overflow
      #expect(overflow.traffic.readBytes > 0 && overflow.blocksToHost > 0)
    }
  }

  @Test func manyRequestsOfEightTimesAllMemoryFinish() async throws {
    let kind = Kind(type: .bfloat16)
    // Each about 21 blocks; the device and the host have 18.
    let requests = (0..<8).map { long($0, tokens: 10) }
    let alone = try await unbounded(requests, kind)
    let keeper = StoreKeeper()
    let engine = try await small(kind, keeper.overflow(host: 8, store: 60, staging: 32), device: 10) {
      $0.enablePrefixCaching = false
    }
    #expect(try await engine.answers(requests).map(\.choices) == alone)
    await engine.stop()
    #expect(engine.statistics.overflow.traffic.writtenBytes > 0)
  }

  @Test func choicesLargerThanTheDeviceGiveTheSameBits() async throws {
    let kind = Kind(type: .bfloat16)
    var several = long(3, tokens: 24)
    several.params.n = 3
    let alone = try await unbounded([several], kind)
    #expect(Set(alone[0].map(\.tokens)).count == 3)
    for caching in [true, false] {
      let keeper = StoreKeeper()
      let engine = try await small(kind, keeper.overflow(host: 12, store: 60, staging: 32), device: 6) {
        $0.enablePrefixCaching = caching
      }
      #expect(try await engine.answers([several]).map(\.choices) == alone)
      await engine.stop()
      #expect(engine.statistics.overflow.traffic.readBytes > 0 && engine.statistics.overflow.storeBlocksUsed == 0)
    }
  }

  @Test func tiersGiveOneSequenceOfTheGreatestLengthItsPlaces() async throws {
    let kind = Kind(type: .bfloat16)
    let requests = [long(0), long(7)] + short(4)
    let alone = try await unbounded(requests, kind)
    for (tiers, usesFile) in [("host=4MiB", false), ("host=320KiB,nvme=64MiB:", true), ("nvme=64MiB:", true)] {
      let folder = try TestFolder()
      let plan = try StartPlan(
        storyConfiguration {
          $0.kvBlocks = 6
          $0.kvCacheBytes = nil
          $0.kvTiers = tiers.hasSuffix(":") ? tiers + folder.blocks : tiers
        })
      let given = try #require(plan.configuration.overflow, "\(tiers)")
      #expect(given.hostBlocks + given.storeBlocks + 6 == MemorySizing.blocksFor(plan.sizing.maxModelLength, 16))
      #expect((given.storeBlocks > 0) == usesFile && (given.makeStore != nil) == usesFile)
      let engine = try await Engine.start(plan)
      #expect(try await engine.answers(requests).map(\.choices) == alone, "\(tiers)")
      await engine.stop()
      let overflow = engine.statistics.overflow
      #expect(overflow.blocksToHost + overflow.blocksToStore > 0, "\(tiers): \(overflow)")
      #expect(overflow.hostBlocksUsed == 0 && overflow.storeBlocksUsed == 0)
    }
  }

  @Test func tiersKeepTheirRoomWhereTheDeviceIsLargeEnough() throws {
    let plan = try StartPlan(storyConfiguration { $0.kvTiers = "host=64MiB" })
    #expect(plan.configuration.overflow == nil && plan.tiers?.hostBytes == 64 << 20)
    // The greatest length that fits counts the places.
    let longest = try StartPlan(
      storyConfiguration {
        $0.kvBlocks = 4; $0.kvCacheBytes = nil; $0.maxModelLength = -1; $0.kvTiers = "host=1MiB"
      })
    #expect(longest.sizing.maxModelLength > 4 * 16)
    #expect(throws: EngineStartError.self) {
      try StartPlan(
        storyConfiguration {
          $0.kvBlocks = 4; $0.kvCacheBytes = nil; $0.kvTiers = "host=128KiB"
        })
    }
  }

  @Test func withoutPlacesBelowTheDeviceItIsRefused() async throws {
    let engine = try await small(Kind(type: .bfloat16), nil) { $0.maxModelLength = -1 }
    await #expect(throws: RequestError.self) { try await engine.answer(long(0)) }
    #expect(try await engine.answer(short(1)[0]).choices[0].tokens.count == 8)
    await engine.stop()
  }

  @Test func lostBlocksAreComputedAgain() async throws {
    let kind = Kind(type: .bfloat16)
    let requests = [long(0), long(9)] + short(4)
    let alone = try await unbounded(requests, kind)
    let keeper = StoreKeeper()
    let engine = try await small(kind, keeper.overflow(host: 2, store: 60, staging: 32), device: 8)
    try #require(keeper.store).lose(every: 997, count: 3)
    #expect(try await engine.answers(requests).map(\.choices) == alone)
    #expect(engine.statistics.overflow.recoveries > 0)
    #expect(try #require(keeper.store).traffic.failedReads > 0)

    // A store that gives nothing back ends the request with an error, and nobody else's.
    try #require(keeper.store).breakDown()
    await #expect(throws: RequestError.self) { try await engine.answer(long(0)) }
    #expect(try await engine.answer(short(1)[0]).choices == alone[2])
    await engine.stop()
  }

  @Test func promptLogprobsAndDraftsAreTheSameBits() async throws {
    let kind = Kind(type: .bfloat16)
    var request = long(0)
    request.params.promptLogprobs = 1
    let plain = try await Engine.start(
      storyConfiguration {
        $0.dtype = kind.type; $0.enablePrefixCaching = false
      })
    let expected = try await plain.answer(request)
    await plain.stop()
    let keeper = StoreKeeper()
    let engine = try await small(kind, keeper.overflow(host: 4, store: 60, staging: 16)) {
      $0.speculation = SpeculationConfiguration()
    }
    let answer = try await engine.answer(request)
    await engine.stop()
    #expect(answer.promptLogprobs == expected.promptLogprobs)
    #expect(answer.choices == expected.choices)
  }
}
