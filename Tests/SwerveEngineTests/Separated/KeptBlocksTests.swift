import Foundation
import SwerveCore
import SwerveEngine
import Testing

/// Keys and values that outlive the worker that wrote them.
@Suite(.serialized) struct KeptBlocksTests {
  /// One choice each, so that nothing is copied between sequences.
  private func requests(_ count: Int = 16, tokens: Int = 60) -> [GenerationRequest] {
    separationRequests(count, choices: false).map { request in
      var longer = request
      longer.params.maxTokens = tokens
      return longer
    }
  }

  private func worker(_ engine: Engine, besides dead: Set<Int32> = []) async throws -> Int32 {
    @Sendable func ready(_ statistics: EngineStatistics) -> Int32? {
      statistics.data.workers.first { $0.isReady && $0.process > 0 && !dead.contains($0.process) }?.process
    }
    try #require(try await engine.waits { ready($0) != nil })
    return try #require(ready(engine.statistics))
  }

  @Test(arguments: [EngineConfiguration.DType.float32, .bfloat16])
  func nothingButTheStepIsComputedAgain(type: EngineConfiguration.DType) async throws {
    let requests = requests(tokens: 240)
    let alone = try await unifiedAnswers(requests) { $0.dtype = type }
    let launch = try workerProcess()
    let engine = try await Engine.start(
      storyConfiguration {
        $0.dtype = type
        $0.enablePrefixCaching = false
        $0.separate(1, launch)
      })
    async let answers = engine.answers(requests)
    var dead: Set<Int32> = []
    for kills in 1...3 {
      let from = engine.statistics.generationTokens + 120
      try #require(try await engine.waits { $0.generationTokens >= from })
      let victim = try await worker(engine, besides: dead)
      dead.insert(victim)
      #expect(kill(victim, SIGKILL) == 0)
      try #require(try await engine.waits { $0.data.recoveries["data_worker_lost", default: 0] >= kills })
    }
    #expect(try await answers.map(\.choices) == alone)
    await engine.stop()
    let statistics = engine.statistics
    #expect(statistics.data.recoveries == ["data_worker_lost": 3])
    #expect(statistics.data.keptSequences >= 3 && statistics.resumedSequences >= 3)
    #expect(statistics.preemptions == 0 && statistics.data.recoveredSequences == 0)
  }

  @Test func thePrefixCacheOutlivesAWorker() async throws {
    let launch = try workerProcess()
    let engine = try await Engine.start(storyConfiguration { $0.separate(1, launch) })
    let request = textRequest(String(repeating: "Once upon a time there was a fox. ", count: 12))
    let first = try await engine.answer(request)
    #expect(kill(try await worker(engine), SIGKILL) == 0)
    let second = try await engine.answer(request)
    #expect(second.choices == first.choices)
    #expect(first.cachedTokens == 0 && second.cachedTokens >= 64, "\(second.cachedTokens) cached tokens")
    await engine.stop()
    #expect(engine.statistics.data.recoveries == ["data_worker_lost": 1])
  }

  /// The memory is there and nobody comes to it: sequences are computed again with the other worker.
  @Test func whoDoesNotComeBackIsComputedAgainElsewhere() async throws {
    let requests = requests()
    let alone = try await unifiedAnswers(requests) { _ in }
    guard case .process(let path, let arguments) = try workerProcess() else { return }
    let flag = FileManager.default.temporaryDirectory.appending(path: "swerve-\(UUID().uuidString)").path
    defer { _ = try? FileManager.default.removeItem(atPath: flag) }
    let shell = DataWorkerConfiguration.Launch.process(
      path: "/bin/sh",
      arguments: ["-c", "[ -e \(flag) ] && exit 1; exec \(path) \(arguments.joined(separator: " "))"])
    let engine = try await Engine.start(storyConfiguration { $0.separate(2, shell) })
    async let answers = engine.answers(requests)
    try #require(try await engine.waits { $0.generationTokens >= 100 })
    _ = FileManager.default.createFile(atPath: flag, contents: nil)
    #expect(kill(try await worker(engine), SIGKILL) == 0)
    #expect(try await answers.map(\.choices) == alone)
    try #require(try await engine.waits { $0.data.recoveries["start_failed", default: 0] > 0 })
    await engine.stop()
    let data = engine.statistics.data
    #expect(data.recoveries["data_worker_lost"] == 1 && data.recoveries["start_failed", default: 0] > 0)
    #expect(data.recoveredSequences > 0 && data.keptSequences == 0)
  }

  /// What goes wrong in a worker, how it is counted, and whether its blocks are believed afterwards.
  @Test(arguments: [
    ("reuses", "generation", false), ("flips", "message", true), ("cuts", "message", true),
    ("flips-row", "message", true),
  ])
  func whatDoesNotAgreeIsNeverUsed(fault: String, reason: String, keeps: Bool) async throws {
    let requests = requests(8, tokens: 40)
    let alone = try await unifiedAnswers(requests) { _ in }
    guard case .process(let path, let arguments) = try workerProcess() else { return }
    let engine = try await Engine.start(
      storyConfiguration {
        $0.separate(1, .process(path: path, arguments: arguments + [fault, "12"]))
        // Numbers of rows say nothing of themselves.
        $0.dataWorkers.links.checksContent = fault == "flips-row"
      })
    #expect(try await engine.answers(requests).map(\.choices) == alone)
    await engine.stop()
    let data = engine.statistics.data
    #expect(data.verifyFailures[reason, default: 0] > 0 && data.verifyFailures.count == 1, "\(data.verifyFailures)")
    #expect(keeps == (data.keptSequences > 0), "\(data)")
    #expect(keeps == (engine.statistics.overflow.recoveries == 0))
  }

  @Test func aRequestThatBreaksWorkersEndsWithTheCause() async throws {
    guard case .process(let path, let arguments) = try workerProcess() else { return }
    // Each worker ends in its first step.
    let engine = try await Engine.start(
      storyConfiguration { $0.separate(1, .process(path: path, arguments: arguments + ["ends", "1"])) })
    await #expect {
      _ = try await engine.answer(textRequest("Once"))
    } throws: {
      "\($0)".contains("data worker d0 has ended")
    }
    await engine.stop()
    #expect(engine.statistics.resumedSequences == 3)
  }

  /// Stops shorter than the deadline delay answers and change nothing; one of 5 s beyond it costs the worker.
  @Test func delaysAndStopsChangeNothing() async throws {
    let requests = requests(12, tokens: 200)
    let alone = try await unifiedAnswers(requests) { _ in }
    let launch = try workerProcess()
    let engine = try await Engine.start(storyConfiguration { $0.separate(1, launch, deadline: 2) })
    async let answers = engine.answers(requests)
    try #require(try await engine.waits { $0.generationTokens >= 40 })
    let victim = try await worker(engine)
    for _ in 0..<20 {
      kill(victim, SIGSTOP)
      try await Task.sleep(for: .milliseconds(Int.random(in: 1...50)))
      kill(victim, SIGCONT)
      try await Task.sleep(for: .milliseconds(2))
    }
    kill(victim, SIGSTOP)
    try await Task.sleep(for: .seconds(5))
    // It may be gone: fenced at its deadline.
    kill(victim, SIGCONT)
    #expect(try await answers.map(\.choices) == alone)
    await engine.stop()
    #expect(engine.statistics.data.recoveries == ["data_worker_lost": 1])
    #expect(engine.statistics.preemptions == 0)
  }
}
