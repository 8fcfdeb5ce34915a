import CAllocationCounter
import Foundation
import SwerveCore
import SwerveEngine
import SwerveHardware
import SwerveScheduling
import Testing

/// With keys and values at data workers, requests give the tokens and log-probabilities, bit for bit, that they give in
/// one place; and it was the workers that computed them.
@Suite(.serialized) struct SeparatedIdentityTests {
  struct Kind: Sendable, CustomTestStringConvertible {
    var workers: Int
    var type: EngineConfiguration.DType
    var testDescription: String { "\(workers) workers, \(type.rawValue)" }
  }

  static let kinds = [1, 2, 3].flatMap { workers in
    [EngineConfiguration.DType.float32, .bfloat16].map { Kind(workers: workers, type: $0) }
  }

  /// Every worker moved rows both ways, and none was replaced.
  private func expectWorked(_ engine: Engine, _ workers: Int, all: Bool = true) {
    let data = engine.statistics.data
    #expect(data.workers.count == workers && data.recoveries.isEmpty)
    let working = data.workers.filter { $0.exchanges > 0 && $0.sentBytes > 0 && $0.receivedBytes > 0 }
    #expect(all ? working.count == workers : !working.isEmpty, "\(data)")
  }

  @Test(arguments: kinds) func batchedChunkedCachedAndPreemptedAreTheSameBits(kind: Kind) async throws {
    let requests = separationRequests(40)
    let alone = try await unifiedAnswers(requests) { $0.dtype = kind.type }
    #expect(alone.allSatisfy { !$0[0].tokens.isEmpty && !$0[0].logprobBits.isEmpty })

    let batched = try await Engine.start(
      storyConfiguration {
        $0.dtype = kind.type
        $0.separate(kind.workers)
      })
    #expect(try await batched.answers(requests).map(\.choices) == alone, "in a batch of 40")
    let again = try await batched.answers(requests)
    #expect(again.map(\.choices) == alone, "with prefix hits")
    #expect(again.contains { $0.cachedTokens > 0 })
    await batched.stop()
    expectWorked(batched, kind.workers)

    let chunked = try await Engine.start(
      storyConfiguration {
        $0.dtype = kind.type
        $0.maxBatchedTokens = 16
        $0.maxSequences = 8
        $0.separate(kind.workers)
      })
    #expect(try await chunked.answers(requests).map(\.choices) == alone, "chunked at 16")
    await chunked.stop()
    expectWorked(chunked, kind.workers)

    let tiny = try await Engine.start(
      storyConfiguration {
        $0.dtype = kind.type
        $0.kvBlocks = 18 * kind.workers
        $0.kvCacheBytes = nil
        $0.maxModelLength = 256
        $0.separate(kind.workers)
      })
    #expect(try await tiny.answers(requests).map(\.choices) == alone, "after preemptions")
    #expect(tiny.statistics.preemptions > 0)
    await tiny.stop()
    expectWorked(tiny, kind.workers)
  }

  /// Each worker keeps to the CPUs that were named for it, says so, and gives the same bits; a thread and a process alike.
  @Test(.enabled(if: KernelPool.reachableCPUs.count >= 2), arguments: [true, false])
  func workersKeepToTheirCPUs(isProcess: Bool) async throws {
    let requests = separationRequests(6)
    let alone = try await unifiedAnswers(requests) { _ in }
    let cpus = KernelPool.reachableCPUs.map(Int.init)
    let launch = isProcess ? try workerProcess() : .thread
    let engine = try await Engine.start(
      storyConfiguration {
        $0.separate(1, launch)
        $0.threads = nil
        $0.parameterDevices = [[cpus[0]]]
        $0.dataWorkers.cpus = [[cpus[1]]]
      })
    #expect(try await engine.answers(requests).map(\.choices) == alone)
    let worker = try #require(engine.statistics.data.workers.first)
    #expect(worker.device == "cpu:\(cpus[1])" && engine.statistics.device == "cpu:\(cpus[0])")
    if isProcess {
      // What the system knows of its threads.
      let tasks = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(worker.process)/task")
      for task in tasks {
        let status = try String(contentsOfFile: "/proc/\(worker.process)/task/\(task)/status", encoding: .utf8)
        #expect(status.contains("Cpus_allowed_list:\t\(cpus[1])\n"))
      }
    }
    await engine.stop()
    expectWorked(engine, 1)
  }

  @Test(arguments: [1, 2]) func beamsArePutTogetherFromTheSameBits(workers: Int) async throws {
    let requests = (0..<4).map { index in
      textRequest(InvarianceTests.prompts[index], id: "beams-\(index)") {
        $0.useBeamSearch = true
        $0.n = 3
        $0.maxTokens = 20
        $0.logprobs = 1
      }
    }
    let alone = try await unifiedAnswers(requests) { _ in }
    for blocks in [nil, 18 * workers] as [Int?] {
      let engine = try await Engine.start(
        storyConfiguration {
          if let blocks {
            $0.kvBlocks = blocks
            $0.kvCacheBytes = nil
            $0.maxModelLength = 256
          }
          $0.separate(workers)
        })
      #expect(try await engine.answers(requests + separationRequests(8)).prefix(4).map(\.choices) == alone)
      if blocks != nil { #expect(engine.statistics.preemptions > 0) }
      await engine.stop()
      expectWorked(engine, workers)
    }
  }

  @Test(arguments: ["llama_mha", "llama_gqa_llama3", "mistral_swa", "qwen2", "qwen3"])
  func everyFamilyGivesTheSameBits(model: String) async throws {
    let tests = #filePath.dropLast("SwerveEngineTests/Separated/SeparatedIdentityTests.swift".utf8.count)
    let folder = String(tests + "SwerveInferenceTests/Fixtures/models/" + model)
    for type in [EngineConfiguration.DType.float32, .bfloat16] {
      func configuration(_ workers: Int) -> EngineConfiguration {
        storyConfiguration {
          $0.modelFolder = folder
          $0.skipTokenizerInit = true
          $0.dtype = type
          $0.maxModelLength = nil
          $0.kvCacheBytes = 16 << 20
          if workers > 0 { $0.separate(workers) }
        }
      }
      let requests = (0..<8).map { index in
        var params = SamplingParams(temperature: index % 2 == 0 ? 0 : 1, maxTokens: 10)
        params.seed = index
        params.logprobs = 3
        params.ignoreEos = true
        let prompt = (0..<(5 + 9 * index)).map { TokenID(3 + ($0 * 7 + index) % 40) }
        return GenerationRequest(id: "family-\(index)", prompt: .tokens(prompt), params: params)
      }
      let unified = try await Engine.start(configuration(0))
      let alone = try await unified.answers(requests).map(\.choices)
      await unified.stop()
      for workers in [1, 2] {
        let engine = try await Engine.start(configuration(workers))
        #expect(try await engine.answers(requests).map(\.choices) == alone, "\(type.rawValue), \(workers) workers")
        await engine.stop()
        expectWorked(engine, workers)
      }
    }
  }

  @Test(arguments: [KVType.int8, .fp8E4M3, .float32]) func everyKVTypeGivesTheSameBits(kvType: KVType) async throws {
    let requests = separationRequests(12)
    let alone = try await unifiedAnswers(requests) { $0.kvCacheType = kvType }
    let engine = try await Engine.start(
      storyConfiguration {
        $0.kvCacheType = kvType
        $0.separate(2)
      })
    #expect(try await engine.answers(requests).map(\.choices) == alone)
    await engine.stop()
    expectWorked(engine, 2)
  }

  @Test func draftsAndPromptLogprobsAreTheSameBits() async throws {
    var requests = separationRequests(10, choices: false)
    requests[3].params.promptLogprobs = 2
    let unified = try await Engine.start(storyConfiguration { $0.enablePrefixCaching = false })
    let plain = try await unified.answers(requests)
    await unified.stop()
    let engine = try await Engine.start(
      storyConfiguration {
        $0.speculation = SpeculationConfiguration()
        $0.speculation?.rowCost = 1e-4
        $0.separate(2)
      })
    let answers = try await engine.answers(requests)
    #expect(answers.map(\.choices) == plain.map(\.choices))
    #expect(answers[3].promptLogprobs == plain[3].promptLogprobs && answers[3].promptLogprobs != nil)
    await engine.stop()
    expectWorked(engine, 2)
  }

  @Test func processesGiveTheSameBits() async throws {
    let requests = separationRequests(16)
    let alone = try await unifiedAnswers(requests) { _ in }
    let launch = try workerProcess()
    let engine = try await Engine.start(storyConfiguration { $0.separate(2, launch) })
    #expect(try await engine.answers(requests).map(\.choices) == alone)
    await engine.stop()
    expectWorked(engine, 2)
    #expect(engine.statistics.data.workers.allSatisfy { $0.process > 0 })
  }

  // MARK: Residency

  @Test(arguments: [1, 2]) func parametersStayAndDataFollowsTheLoad(workers: Int) async throws {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.separate(workers)
        $0.enablePrefixCaching = false
      })
    _ = try await engine.answers(separationRequests(1))
    func settled() async throws -> EngineStatistics {
      try await idle(engine)
      return engine.statistics
    }
    let before = try await settled()
    #expect(before.blocksUsed == 0)
    let load = Task { try await engine.answers(separationRequests(60)) }
    var most = 0
    while engine.statistics.generationTokens < 300 {
      most = max(most, engine.statistics.blocksUsed)
      try await Task.sleep(for: .milliseconds(1))
    }
    _ = try await load.value
    let after = try await settled()
    #expect(most > 20)
    #expect(after.blocksUsed == 0)
    await engine.stop()
    let end = engine.statistics.data
    #expect(end.parameterBytes > 0)
    // What the report at the first step said is what the last one says.
    #expect(before.data.parameterBytes == end.parameterBytes)
    #expect(end.workers.allSatisfy { $0.kvBytes > 0 && $0.blocksUsed == 0 })
    let unified = try await Engine.start(storyConfiguration())
    #expect(unified.statistics.kvBytes > 0)
    await unified.stop()
  }
}

/// What a decode step costs beside its arithmetic.
@Suite(.serialized) struct SeparatedAllocationTests {
  @Test(arguments: [1, 2]) func decodeStepsAllocateNothing(workers: Int) throws {
    let plan = try StartPlan(
      storyConfiguration {
        $0.maxSequences = 32
        $0.maxBatchedTokens = 1024
        $0.separate(workers)
      })
    let threads = EngineThreads(plan: plan, clock: .monotonic, observer: nil, onFailure: { _ in })
    var loaded = EngineThreads.Loaded()
    var loop = try threads.makeLoop(&loaded, onProgress: { _ in })
    for id in 1...6 as ClosedRange<UInt64> {
      var params = SamplingParams(temperature: id % 2 == 0 ? 0 : 1, maxTokens: 400)
      params.ignoreEos = true
      threads.inbox.post(
        .submit(
          WaitingRequest(
            request: RequestID(rawValue: id), promptTokens: (0..<20).map { TokenID(100 + $0 + Int(id)) },
            sampling: SamplingState(params: params, seed: id, badWordTokens: [], terminators: []))))
    }
    var messages: [PublisherMessage] = []
    func steps(_ count: Int) {
      for _ in 0..<count {
        loop.step()
        threads.publisher.take(into: &messages, waits: false)
        for message in messages {
          guard case .step(var outputs) = message else { continue }
          outputs.removeAll()
          threads.spares.post(outputs)
        }
      }
    }
    steps(40)
    var counts: [Int] = []
    for _ in 0..<20 {
      let before = allocation_count()
      loop.step()
      counts.append(allocation_count() - before)
      steps(1)
    }
    // The workers' report, once a second, and a block's turn are not decode steps as such: most steps are neither.
    #expect(counts.count { $0 == 0 } >= 17, "\(counts)")
    loop.close()
  }
}
