import Foundation
import SwerveCore
import SwerveEngine
import Testing

/// Sequences longer than what one data worker holds lie with several and give the bits of one place.
@Suite(.serialized) struct PartialAttentionTests {
  struct Kind: Sendable, CustomTestStringConvertible {
    var workers: Int
    /// Blocks of each.
    var blocks: Int
    var type: EngineConfiguration.DType
    var testDescription: String { "\(workers) workers of \(blocks) blocks, \(type.rawValue)" }
  }

  static let kinds = [(2, 18), (3, 16), (2, 32)].flatMap { workers, blocks in
    [EngineConfiguration.DType.float32, .bfloat16].map { Kind(workers: workers, blocks: blocks, type: $0) }
  }

  /// Prompts from within a bank to far beyond it, and outputs that cross a border; one in two greedy.
  static func requests(_ kind: Kind, choices: Bool = false) -> [GenerationRequest] {
    let bank = kind.blocks / 16 * 256
    let lengths = [bank - 4, bank + 40, 20, bank - 60, min(kind.workers, 3) * bank - 40, bank + 1]
    return lengths.enumerated().map { index, length in
      let prompt = (0..<length).map { TokenID(($0 * 37 + index % 3 * 11) % 4000 + 20) }
      var params = SamplingParams(temperature: index % 2 == 0 ? 0 : 0.9, maxTokens: 30)
      params.seed = index
      params.ignoreEos = true
      params.logprobs = 2
      if choices && index % 2 == 1 { params.n = 2 }
      if index == 1 { params.promptLogprobs = 1 }
      return GenerationRequest(id: "partial-\(index)", prompt: .tokens(prompt), params: params)
    }
  }

  static func configuration(
    _ kind: Kind, _ launch: DataWorkerConfiguration.Launch = .thread,
    _ change: (inout EngineConfiguration) -> Void = { _ in }
  ) -> EngineConfiguration {
    storyConfiguration {
      $0.dtype = kind.type
      $0.kvCacheBytes = nil
      $0.kvBlocks = kind.blocks * kind.workers
      $0.maxModelLength = kind.blocks / 16 * 256 * kind.workers
      $0.maxSequences = 8
      $0.configOverrides["max_position_embeddings"] = .int(2048)
      $0.separate(kind.workers, launch)
      change(&$0)
    }
  }

  private func expected(_ kind: Kind, _ requests: [GenerationRequest]) async throws -> [Answer] {
    let engine = try await Engine.start(
      Self.configuration(kind) {
        $0.placement = .unified
        $0.kvBlocks = 200
        $0.enablePrefixCaching = false
      })
    var all: [Answer] = []
    for request in requests { all.append(try await engine.answer(request)) }
    await engine.stop()
    return all
  }

  /// Every worker had rows, and running values went from one to the next.
  private func expectSpread(_ engine: Engine, _ kind: Kind) {
    let data = engine.statistics.data
    #expect(data.handedStateBytes > 0)
    #expect(data.workers.count == kind.workers)
    #expect(data.workers.allSatisfy { $0.exchanges > 0 && $0.sentBytes > 0 && $0.receivedBytes > 0 }, "\(data)")
  }

  @Test(arguments: kinds) func sequencesLongerThanABankAreTheSameBits(kind: Kind) async throws {
    let requests = Self.requests(kind)
    let alone = try await expected(kind, requests)
    for chunk in [512, 48] {
      let engine = try await Engine.start(
        Self.configuration(kind) {
          $0.maxBatchedTokens = chunk
          $0.enablePrefixCaching = chunk == 512
        })
      // Each by itself: nothing but its own length makes it lie with several.
      for (index, request) in requests.enumerated() {
        let before = engine.statistics.preemptions
        let answer = try await engine.answer(request)
        #expect(answer.choices == alone[index].choices, "request \(index), in chunks of \(chunk)")
        if index == 1 { #expect(answer.promptLogprobs == alone[index].promptLogprobs) }
        #expect(engine.statistics.preemptions == before)
      }
      // All at once: they wait for and take blocks of each other.
      #expect(
        try await engine.answers(requests).map(\.choices) == alone.map(\.choices), "together, in chunks of \(chunk)")
      await engine.stop()
      expectSpread(engine, kind)
      #expect(engine.statistics.data.recoveries.isEmpty)
    }
  }

  /// What fits a bank stays there: no running value leaves its worker.
  @Test func whatFitsABankIsNotCut() async throws {
    let kind = Kind(workers: 2, blocks: 18, type: .float32)
    let engine = try await Engine.start(Self.configuration(kind))
    // 18 blocks hold 288 tokens; a stretch is 256.
    var params = SamplingParams(temperature: 0, maxTokens: 9)
    params.ignoreEos = true
    let request = GenerationRequest(
      id: "fits", prompt: .tokens((0..<280).map { TokenID($0 * 13 % 4000 + 20) }), params: params)
    _ = try await engine.answer(request)
    await engine.stop()
    #expect(engine.statistics.data.handedStateBytes == 0)
  }

  @Test func choicesPrefixHitsAndDraftsAreTheSameBits() async throws {
    let kind = Kind(workers: 2, blocks: 32, type: .float32)
    let requests = Self.requests(kind, choices: true)
    let alone = try await expected(kind, requests)
    let engine = try await Engine.start(
      Self.configuration(kind) {
        $0.speculation = SpeculationConfiguration()
        $0.speculation?.rowCost = 1e-4
      })
    for round in 0..<2 {
      for (index, request) in requests.enumerated() where index != 1 {
        let answer = try await engine.answer(request)
        #expect(answer.choices == alone[index].choices, "request \(index), round \(round)")
        guard index == 4 else { continue }
        // The first stretch of a prompt is found again.
        let again = try await engine.answer(request)
        #expect(again.choices == alone[index].choices && again.cachedTokens == 512, "\(again.cachedTokens) cached")
      }
    }
    await engine.stop()
    expectSpread(engine, kind)
  }

  @Test(arguments: [KVType.int8, .fp8E4M3]) func everyKVTypeIsTheSameBits(kvType: KVType) async throws {
    let kind = Kind(workers: 2, blocks: 16, type: .bfloat16)
    let requests = Array(Self.requests(kind).prefix(3))
    let unified = try await Engine.start(
      Self.configuration(kind) {
        $0.placement = .unified
        $0.kvBlocks = 100
        $0.kvCacheType = kvType
        $0.enablePrefixCaching = false
      })
    var alone: [[Outcome]] = []
    for request in requests { alone.append(try await unified.answer(request).choices) }
    await unified.stop()
    let engine = try await Engine.start(Self.configuration(kind) { $0.kvCacheType = kvType })
    #expect(try await engine.answers(requests).map(\.choices) == alone)
    await engine.stop()
    expectSpread(engine, kind)
  }

  /// Windows, other groupings of heads, micro-batches asked for: whichever layers see a partition, values pass through.
  @Test(arguments: ["mistral_swa", "qwen2", "qwen3"]) func everyFamilyIsTheSameBits(model: String) async throws {
    let tests = #filePath.dropLast("SwerveEngineTests/Separated/PartialAttentionTests.swift".utf8.count)
    let kind = Kind(workers: 2, blocks: 16, type: .bfloat16)
    func configuration(_ change: (inout EngineConfiguration) -> Void) -> EngineConfiguration {
      Self.configuration(kind) {
        $0.modelFolder = String(tests + "SwerveInferenceTests/Fixtures/models/" + model)
        $0.skipTokenizerInit = true
        $0.microBatches = 2
        change(&$0)
      }
    }
    let requests = (0..<4).map { index in
      var params = SamplingParams(temperature: index % 2 == 0 ? 0 : 1, maxTokens: 20)
      params.seed = index
      params.ignoreEos = true
      params.logprobs = 2
      let prompt = (0..<(200 + 70 * index)).map { TokenID(3 + ($0 * 7 + index) % 40) }
      return GenerationRequest(id: "family-\(index)", prompt: .tokens(prompt), params: params)
    }
    let unified = try await Engine.start(
      configuration {
        $0.placement = .unified
        $0.kvBlocks = 100
        $0.enablePrefixCaching = false
        $0.microBatches = nil
      })
    var alone: [[Outcome]] = []
    for request in requests { alone.append(try await unified.answer(request).choices) }
    await unified.stop()
    let engine = try await Engine.start(configuration { _ in })
    #expect(try await engine.answers(requests).map(\.choices) == alone)
    await engine.stop()
    expectSpread(engine, kind)
  }

  // MARK: Failures

  /// Processes that are killed while a sequence lies with both of them.
  @Test(arguments: [true, false]) func aKilledWorkerCostsNoToken(keeps: Bool) async throws {
    let kind = Kind(workers: 2, blocks: 32, type: .bfloat16)
    var requests = Array(Self.requests(kind)[1...1])
    requests[0].params.promptLogprobs = nil
    requests[0].params.maxTokens = 300
    let alone = try await expected(kind, requests)
    guard case .process(let path, let arguments) = try workerProcess() else { return }
    // The kept memory is found again; or a worker finds other blocks than it should, and what it had is computed again.
    let launch = DataWorkerConfiguration.Launch.process(
      path: path, arguments: keeps ? arguments : arguments + ["reuses", "40"])
    let engine = try await Engine.start(Self.configuration(kind, launch))
    async let answers = engine.answers(requests)
    if keeps {
      for index in 0..<2 {
        let from = engine.statistics.generationTokens + 30
        try #require(try await engine.waits { $0.generationTokens >= from })
        let workers = engine.statistics.data.workers.filter { $0.isReady && $0.process > 0 }
        try #require(workers.count == 2)
        #expect(kill(workers[index].process, SIGKILL) == 0)
        try #require(try await engine.waits { $0.data.recoveries["data_worker_lost", default: 0] > index })
      }
    }
    #expect(try await answers.map(\.choices) == alone.map(\.choices))
    await engine.stop()
    expectSpread(engine, kind)
    let data = engine.statistics.data
    #expect(data.recoveries["data_worker_lost", default: 0] + data.recoveries["step_refused", default: 0] >= 1)
    #expect(keeps == (data.keptSequences > 0 && engine.statistics.preemptions == 0), "\(data)")
  }

  @Test func drainsLeaveRoomForWhatIsThere() async throws {
    let kind = Kind(workers: 2, blocks: 16, type: .float32)
    let engine = try await Engine.start(Self.configuration(kind) { $0.dataWorkers.maximum = 3 })
    var request = Self.requests(kind)[1]
    request.params.maxTokens = 150
    request.params.promptLogprobs = nil
    let alone = try await expected(kind, [request])
    async let answer = engine.answer(request)
    try #require(try await engine.waits { $0.generationTokens >= 5 })
    guard case .failure(.refused(let reason)) = await engine.drainDataWorker(0, within: 0) else {
      Issue.record("a worker was drained of which a request needs the blocks")
      return
    }
    #expect(reason.contains("longer than what the other workers hold"))
    // With a third one there is room elsewhere.
    #expect(await engine.attachDataWorker() == .success("data worker d2"))
    #expect(await engine.drainDataWorker(0, within: 0) == .success("data worker d0"))
    #expect(try await answer.choices == alone[0].choices)
    await engine.stop()
  }

  @Test func longerThanAllTogetherIsRefused() async throws {
    let kind = Kind(workers: 2, blocks: 17, type: .float32)
    #expect(throws: EngineStartError.self) {
      _ = try StartPlan(Self.configuration(kind) { $0.maxModelLength = 560 })
    }
    // Where nobody asks for a length, it is what all hold together.
    let plan = try StartPlan(Self.configuration(kind) { $0.maxModelLength = -1 })
    #expect(plan.sizing.maxModelLength == 512 && plan.sizing.spansBanks)
    let one = try StartPlan(Self.configuration(kind) { $0.maxModelLength = 272 })
    #expect(!one.sizing.spansBanks)
  }
}
