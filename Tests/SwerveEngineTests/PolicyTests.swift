import SwerveCore
import SwerveEngine
import Synchronization
import Testing

/// Policies, classes and limits behind the engine's front.
@Suite(.serialized) struct PolicyTests {
  private struct Backwards: SchedulingPolicy {
    func precedes(_ a: SchedulingKey, _ b: SchedulingKey) -> Bool { a.serial > b.serial }
  }

  private static let configurations: [(String, @Sendable (inout EngineConfiguration) -> Void)] = [
    ("fcfs", { _ in }), ("priority", { $0.schedulingPolicy = .priority }), ("fair", { $0.schedulingPolicy = .fair }),
    ("slo", { $0.schedulingPolicy = .slo }), ("shortest-first", { $0.schedulerExtension = "shortest-first" }),
    ("one's own", { $0.customPolicy = Backwards() }),
  ]

  /// 24 requests of four tenants and three classes on a pool that is too small for them.
  private static let requests: [GenerationRequest] = (0..<24).map { index in
    var request = textRequest("Once upon a time number \(index) went", id: "\(index)") { $0.maxTokens = 40 }
    request.tenant = ["a", "b", "c", nil][index % 4]
    request.serviceTier = index % 5 == 0 ? "flex" : nil
    request.priority = index % 3
    return request
  }

  @Test func `answers are the same under every policy, bit for bit`() async throws {
    let classes = try ServiceClasses([
      "a": ["weight": 4, "preempt": true, "tenants": ["a"], "ttft_ms": 1, "tpot_ms": 1],
      "flex": ["weight": 0.5, "service_tiers": ["flex"], "max_share": 0.4],
    ])
    var reference: [Answer] = []
    for (name, change) in Self.configurations {
      let engine = try await Engine.start(
        storyConfiguration {
          $0.kvBlocks = 24
          $0.maxSequences = 8
          $0.maxBatchedTokens = 48
          $0.maxModelLength = 128
          $0.serviceClasses = classes
          change(&$0)
        })
      let answers = try await engine.answers(Self.requests)
      let outcomes = answers.map { answer in
        var answer = answer
        // What the cache had depends on who came first.
        answer.cachedTokens = 0
        return answer
      }
      if reference.isEmpty { reference = outcomes }
      #expect(outcomes == reference, "\(name)")
      #expect(outcomes.allSatisfy { $0.choices[0].finish != nil })
      await engine.stop()
    }
  }

  private func refusal(_ body: () async throws -> Void) async -> RequestError? {
    do {
      try await body()
      return nil
    } catch {
      return error as? RequestError
    }
  }

  /// A request that runs until it is cancelled.
  private func occupy(_ engine: Engine) async throws -> Task<Void, any Error> {
    let stream = try await engine.generate(
      textRequest("Once") {
        $0.maxTokens = nil
        $0.ignoreEos = true
      })
    var iterator = stream.makeAsyncIterator()
    _ = try await iterator.next()
    return Task { for try await _ in stream {} }
  }

  @Test func `who waits longer than the queue timeout is answered 503`() async throws {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.maxSequences = 1
        $0.maxModelLength = 1024
        // A thousand tokens take a second where the machine is quick.
        $0.queueTimeout = 0.1
      })
    // On a busy machine the first one may reach the model's length before this task asks again.
    var error: RequestError?
    for _ in 0..<10 where error == nil {
      let busy = try await occupy(engine)
      error = await refusal { _ = try await engine.answer(textRequest("Late")) }
      busy.cancel()
      try await settle(engine)
    }
    #expect(error?.status == 503 && error?.code == "queue_timeout" && error?.retryAfter ?? 0 >= 1)
    // Nothing of it is left, and there is room again.
    var answer: Answer?
    for _ in 0..<20 where answer == nil { answer = try? await engine.answer(textRequest("Late")) }
    #expect(answer?.choices[0].finish != nil)
    await engine.stop()
  }

  @Test func `prompt tokens beyond the limit are answered 503, one prompt may always wait`() async throws {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.maxSequences = 1
        $0.maxQueuedTokens = 8
      })
    let busy = try await occupy(engine)
    let long = GenerationRequest(
      id: "long", prompt: .tokens((0..<20).map { TokenID($0 + 300) }), params: SamplingParams(maxTokens: 1))
    let waiting = Task { try await engine.answer(long) }
    while engine.statistics.waitingTokens != 20 { try await Task.sleep(for: .milliseconds(2)) }
    let error = await refusal { _ = try await engine.answer(textRequest("One more")) }
    #expect(error?.status == 503 && error?.code == "queue_full" && error?.retryAfter ?? 0 >= 1)
    #expect(error?.message.contains("at most 8 may") == true)
    busy.cancel()
    #expect(try await waiting.value.choices[0].finish == .length)
    await engine.stop()
  }

  @Test func `an unknown extension and wrong limits are named`() async throws {
    let error = await #expect(throws: EngineStartError.self) {
      try await Engine.start(storyConfiguration { $0.schedulerExtension = "odd" })
    }
    #expect(error.map { "\($0)" }?.contains("--scheduler-cls odd is unknown; there is shortest-first.") == true)
    var wrong = EngineConfiguration()
    wrong.queueTimeout = 0
    wrong.maxQueuedTokens = 0
    #expect(wrong.problems().count == 2)
    #expect(!wrong.honoursPriority)
    wrong.schedulingPolicy = .priority
    #expect(wrong.honoursPriority)
  }

  private final class Finished: EngineObserver {
    let all = Mutex<[RequestStatistics]>([])
    func firstToken(seconds: Double) {}
    func interToken(seconds: Double) {}
    func step(tokens: Int, seconds: Double) {}
    func finished(_ request: RequestStatistics) { all.withLock { $0.append(request) } }
  }

  @Test func `observers hear of the class, the tenant and whether the promise was kept`() async throws {
    let finished = Finished()
    let engine = try await Engine.start(
      storyConfiguration {
        $0.serviceClasses = try! ServiceClasses([
          "easy": ["tenants": ["a"], "ttft_ms": 1e6, "tpot_ms": 1e6], "hard": ["tenants": ["b"], "ttft_ms": 1e-3],
        ])
      }, observer: finished)
    for tenant in ["a", "b", nil] {
      var request = textRequest("Once", id: tenant ?? "none")
      request.tenant = tenant
      _ = try await engine.answer(request)
    }
    await engine.stop()
    let all = finished.all.withLock { $0 }
    #expect(all.map(\.serviceClass) == ["easy", "hard", "default"])
    #expect(all.map(\.tenant) == ["a", "b", nil])
    #expect(all.map(\.metTargets) == [true, false, true])
  }

  private func settle(_ engine: Engine) async throws {
    while engine.statistics.blocksUsed > 0 || engine.statistics.runningRequests > 0 {
      try await Task.sleep(for: .milliseconds(2))
    }
  }
}
