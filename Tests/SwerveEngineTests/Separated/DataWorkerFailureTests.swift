import Foundation
import SwerveCore
import SwerveEngine
import Synchronization
import Testing

/// Data workers that die, stop, come and go under load: no request fails, no token changes.
@Suite(.serialized) struct DataWorkerFailureTests {
  /// `SWERVE_LONG=1`: as many kills as a release is checked with.
  private static let kills = ProcessInfo.processInfo.environment["SWERVE_LONG"] == nil ? 10 : 100

  private func requests() -> [GenerationRequest] {
    separationRequests(24).map { request in
      var longer = request
      longer.params.maxTokens = 40
      return longer
    }
  }

  private func ready(_ engine: Engine) -> [DataStatistics.Worker] {
    engine.statistics.data.workers.filter { $0.isReady && $0.process > 0 }
  }

  /// Keeps the engine busy until the task ends, and compares everything that comes out.
  private func underLoad(
    _ engine: Engine, _ alone: [[Outcome]], _ body: @escaping @Sendable () async throws -> Void
  ) async throws -> Int {
    let isOver = Mutex(false)
    let task = Task {
      defer { isOver.withLock { $0 = true } }
      try await body()
    }
    var rounds = 0
    repeat {
      #expect(try await engine.answers(requests()).map(\.choices) == alone, "round \(rounds)")
      rounds += 1
    } while !isOver.withLock { $0 }
    try await task.value
    return rounds
  }

  @Test(arguments: [1, 2]) func killedWorkersAreReplacedAndNothingChanges(workers: Int) async throws {
    let alone = try await unifiedAnswers(requests()) { _ in }
    let launch = try workerProcess()
    let engine = try await Engine.start(storyConfiguration { $0.separate(workers, launch) })
    let kills = Self.kills
    let rounds = try await underLoad(engine, alone) {
      var random = SystemRandomNumberGenerator()
      var dead: Set<Int32> = []
      for index in 0..<kills {
        var victim: Int32?
        // At any step, but not so often that nothing is ever computed in between.
        let from = engine.statistics.generationTokens + Int.random(in: 10...150, using: &random)
        while victim == nil || engine.statistics.generationTokens < from {
          try await Task.sleep(for: .milliseconds(Int.random(in: 1...5, using: &random)))
          victim = ready(engine).map(\.process).filter { !dead.contains($0) }.randomElement(using: &random)
        }
        guard let victim else { continue }
        dead.insert(victim)
        #expect(kill(victim, SIGKILL) == 0, "kill \(index)")
      }
      while engine.statistics.data.recoveries["data_worker_lost", default: 0] < kills {
        try await Task.sleep(for: .milliseconds(5))
      }
    }
    #expect(rounds > 0)
    await engine.stop()
    let data = engine.statistics.data
    #expect(data.recoveries == ["data_worker_lost": kills], "\(data.recoveries)")
    // What they held went on with their replacements.
    #expect(data.keptSequences > 0 && engine.statistics.resumedSequences > 0)
    #expect(data.recoveredSequences == 0)
    #expect(data.workers.map(\.epoch).reduce(0, +) == workers + kills)
  }

  @Test func aStoppedWorkerIsFencedAtItsDeadline() async throws {
    let alone = try await unifiedAnswers(requests()) { _ in }
    let launch = try workerProcess()
    let engine = try await Engine.start(storyConfiguration { $0.separate(2, launch, deadline: 3) })
    _ = try await underLoad(engine, alone) {
      while ready(engine).isEmpty { try await Task.sleep(for: .milliseconds(2)) }
      guard let victim = ready(engine).first?.process else { return }
      #expect(kill(victim, SIGSTOP) == 0)
      while engine.statistics.data.recoveries.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
      // Fenced means gone: there is nothing that could wake up again.
      #expect(kill(victim, 0) != 0)
    }
    await engine.stop()
    #expect(engine.statistics.data.recoveries == ["data_worker_lost": 1])
  }

  @Test func aShortStopIsWaitedOut() async throws {
    let alone = try await unifiedAnswers(requests()) { _ in }
    let launch = try workerProcess()
    let engine = try await Engine.start(storyConfiguration { $0.separate(2, launch, deadline: 60) })
    _ = try await underLoad(engine, alone) {
      while ready(engine).isEmpty { try await Task.sleep(for: .milliseconds(2)) }
      guard let victim = ready(engine).first?.process else { return }
      #expect(kill(victim, SIGSTOP) == 0)
      try await Task.sleep(for: .milliseconds(700))
      #expect(kill(victim, SIGCONT) == 0)
    }
    await engine.stop()
    #expect(engine.statistics.data.recoveries.isEmpty)
  }

  @Test func workersAreAttachedAndDrainedUnderLoad() async throws {
    let alone = try await unifiedAnswers(requests()) { _ in }
    let launch = try workerProcess()
    let engine = try await Engine.start(storyConfiguration { $0.separate(1, launch, maximum: 3) })
    _ = try await underLoad(engine, alone) {
      #expect(await engine.drainDataWorker(0, within: 1) == .failure(.refused(Self.lastOne)))
      #expect(await engine.attachDataWorker() == .success("data worker d1"))
      #expect(await engine.attachDataWorker() == .success("data worker d2"))
      guard case .failure(.refused(let reason)) = await engine.attachDataWorker() else {
        Issue.record("a fourth worker where three may be")
        return
      }
      #expect(reason.contains("--max-data-workers"))
      while engine.statistics.data.workers.filter({ $0.exchanges > 0 }).count < 3 {
        try await Task.sleep(for: .milliseconds(5))
      }
      // One in its own time, one at once.
      #expect(await engine.drainDataWorker(0, within: 60) == .success("data worker d0"))
      #expect(await engine.drainDataWorker(2, within: 0) == .success("data worker d2"))
      guard case .failure(.refused) = await engine.drainDataWorker(2, within: 0) else {
        Issue.record("a worker that is gone was drained")
        return
      }
    }
    #expect(engine.statistics.data.workers.map(\.name) == ["d1"])
    await engine.stop()
    #expect(engine.statistics.data.recoveries.isEmpty)
    let unified = try await Engine.start(storyConfiguration())
    #expect(await unified.attachDataWorker() == .failure(.isUnified))
    await unified.stop()
  }

  private static let lastOne = "data worker d0 is the last one that takes sequences; attach another one first"

  // MARK: Starting

  @Test func aWorkerOfAnotherVersionIsRefusedBeforeAnyRequest() async throws {
    let other = try workerProcess(version: "0.0.9")
    await #expect {
      _ = try await Engine.start(storyConfiguration { $0.separate(1, other) })
    } throws: { error in
      "\(error)".contains("is version \(testVersion) and this data worker 0.0.9") && !"\(error)".contains("\n")
    }
  }

  @Test func aProgramThatIsNoWorkerIsRefused() async throws {
    for path in ["/bin/true", "/nowhere/at-all"] {
      await #expect(throws: EngineStartError.self) {
        _ = try await Engine.start(storyConfiguration { $0.separate(1, .process(path: path, arguments: [])) })
      }
    }
  }

  @Test func whatCannotBeSeparatedIsSaidInOneSentence() {
    for (change, word) in [
      (
        {
          $0.kvTiers = "host=1GiB"
          $0.dataWorkers.addresses = ["10.0.0.2:8500"]
        }, "--kv-tiers"
      ),
      ({ $0.numaBind = true }, "--numa-bind"), ({ $0.dataWorkers.count = 0 }, "--data-workers"),
      ({ $0.dataWorkers.deadline = 0 }, "--data-worker-timeout"),
      ({ $0.dataWorkers.maximum = 1 }, "--max-data-workers"),
    ] as [((inout EngineConfiguration) -> Void, String)] {
      let configuration = storyConfiguration {
        $0.separate(2)
        change(&$0)
      }
      let problems = configuration.problems()
      #expect(problems.count == 1 && problems[0].contains(word), "\(problems)")
    }
  }
}
