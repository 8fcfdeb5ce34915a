import Foundation
import SwerveCore
import SwerveEngine
import Synchronization
import Testing

/// Data workers that work, but too slowly: they are replaced, no request fails, no token changes.
@Suite(.serialized) struct SlowWorkerTests {
  private func requests(_ count: Int = 12, tokens: Int = 80) -> [GenerationRequest] {
    separationRequests(count, choices: false).map { request in
      var longer = request
      longer.params.maxTokens = tokens
      return longer
    }
  }

  private final class Notices: Sendable {
    private let sentences = Mutex<[String]>([])
    func add(_ sentence: String) { sentences.withLock { $0.append(sentence) } }
    var all: [String] { sentences.withLock { $0 } }
  }

  /// A worker's program of which the first one that starts is slow from its n-th step on: once a step, and by so much
  /// that a busy machine is not taken for it.
  private func firstIsSlow(_ milliseconds: Int, from step: Int) throws -> DataWorkerConfiguration.Launch {
    guard case .process(let path, let arguments) = try workerProcess() else {
      throw TestFailure(description: "no worker's program")
    }
    let flag = FileManager.default.temporaryDirectory.appending(path: "swerve-\(UUID().uuidString)").path
    let program = "exec \(path) \(arguments.joined(separator: " "))"
    return .process(
      path: "/bin/sh",
      arguments: ["-c", "if mkdir \(flag) 2>/dev/null; then \(program) slows\(milliseconds) \(step); fi; \(program)"])
  }

  /// Answers the requests until a worker was replaced.
  private func answers(
    _ engine: Engine, _ requests: [GenerationRequest], _ alone: [[Outcome]], rounds: Int = 6
  ) async throws {
    var round = 0
    repeat {
      #expect(try await engine.answers(requests).map(\.choices) == alone, "round \(round)")
      round += 1
    } while engine.statistics.data.recoveries.isEmpty && round < rounds
  }

  @Test(arguments: [EngineConfiguration.DType.float32, .bfloat16])
  func aSlowProcessIsReplacedAndNothingIsComputedAgain(type: EngineConfiguration.DType) async throws {
    let requests = requests()
    let alone = try await unifiedAnswers(requests) { $0.dtype = type }
    let launch = try firstIsSlow(150, from: 5)
    let notices = Notices()
    let engine = try await Engine.start(
      storyConfiguration {
        $0.dtype = type
        $0.enablePrefixCaching = false
        $0.separate(2, launch)
      }, onNotice: { notices.add($0) })
    try await answers(engine, requests, alone)
    await engine.stop()
    let data = engine.statistics.data
    #expect(data.recoveries == ["slow": 1], "\(data.recoveries)")
    #expect(data.recoveredSequences == 0 && engine.statistics.preemptions == 0)
    #expect(data.workers.map(\.epoch).sorted() == [1, 2])
    #expect(notices.all.contains { $0.contains("was slow for 50 steps") && $0.contains("are usual") }, "\(notices.all)")
  }

  @Test func aWorkerAloneIsComparedWithItsPast() async throws {
    let requests = requests(8, tokens: 120)
    let alone = try await unifiedAnswers(requests) { _ in }
    let launch = try firstIsSlow(360, from: 160)
    // On cores that it need not share with the processes of all other tests, for then its past is slow too.
    let engine = try await Engine.start(
      storyConfiguration {
        $0.separate(1, launch)
        $0.threads = 1
      })
    try await answers(engine, requests, alone)
    await engine.stop()
    let data = engine.statistics.data
    #expect(data.recoveries == ["slow": 1] && data.workers.map(\.epoch) == [2], "\(data)")
    #expect(data.recoveredSequences == 0)
  }

  /// What lies with a worker elsewhere is computed again, with another one or when it is back.
  @Test func behindASlowWireNothingStays() async throws {
    let requests = requests()
    let alone = try await unifiedAnswers(requests) { _ in }
    let worker = try ListeningWorker()
    let wire = try Wire(to: worker.address)
    let notices = Notices()
    let engine = try await Engine.start(
      storyConfiguration { $0.separate(at: [wire.address], local: 1) }, onNotice: { notices.add($0) })
    wire.set(.init(delay: 20_000...30_000))
    try await answers(engine, requests, alone)
    wire.set(.init())
    #expect(try await engine.answers(requests).map(\.choices) == alone)
    await engine.stop()
    let data = engine.statistics.data
    #expect(data.recoveries["slow", default: 0] >= 1 && data.recoveries.count == 1, "\(data.recoveries)")
    #expect(notices.all.contains { $0.contains("takes no more sequences") }, "\(notices.all)")
  }

  @Test func workersThatAreSlowAlikeStay() async throws {
    let requests = requests()
    let alone = try await unifiedAnswers(requests) { _ in }
    guard case .process(let path, let arguments) = try workerProcess() else { return }
    let engine = try await Engine.start(
      storyConfiguration { $0.separate(2, .process(path: path, arguments: arguments + ["slows60", "5"])) })
    #expect(try await engine.answers(requests).map(\.choices) == alone)
    await engine.stop()
    #expect(engine.statistics.steps > 75 && engine.statistics.data.recoveries.isEmpty)
    #expect(engine.statistics.data.workers.allSatisfy { $0.busySeconds > 0 })
  }
}
