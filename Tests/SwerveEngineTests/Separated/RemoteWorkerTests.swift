import Foundation
import SwerveCore
import SwerveEngine
import SwerveTransfer
import Synchronization
import Testing

/// Data workers behind TCP, as on another host: the same bits, whatever happens on the way.
@Suite(.serialized) struct RemoteWorkerTests {
  private func requests(_ tokens: Int = 40) -> [GenerationRequest] {
    separationRequests(16).map { request in
      var longer = request
      longer.params.maxTokens = tokens
      return longer
    }
  }

  private func expectWorked(_ engine: Engine, _ count: Int) {
    let data = engine.statistics.data
    #expect(data.workers.count == count && data.recoveries.isEmpty, "\(data.recoveries)")
    #expect(data.workers.allSatisfy { $0.sentBytes > 0 && $0.receivedBytes > 0 && $0.exchanges > 0 })
  }

  struct Kind: Sendable, CustomTestStringConvertible {
    var type: EngineConfiguration.DType
    var isSealed: Bool
    var workers: Int
    var testDescription: String { "\(type.rawValue), \(isSealed ? "sealed" : "plain"), \(workers)" }
  }

  static let kinds = [EngineConfiguration.DType.float32, .bfloat16].flatMap { type in
    [Kind(type: type, isSealed: true, workers: 2), Kind(type: type, isSealed: false, workers: 1)]
  }

  @Test(arguments: kinds) func workersBehindTCPGiveTheSameBits(kind: Kind) async throws {
    let requests = separationRequests(24)
    let alone = try await unifiedAnswers(requests) { $0.dtype = kind.type }
    let workers = try (0..<kind.workers).map { _ in
      try ListeningWorker(LinkProtection(security: kind.isSealed ? ClaimedIdentity(.data) : nil))
    }
    let links = LinkProtection(security: kind.isSealed ? ClaimedIdentity(.parameter) : nil)
    for round in 0..<2 {
      let configuration = storyConfiguration {
        $0.dtype = kind.type
        $0.separate(at: workers.map(\.address))
        if round == 1 {
          $0.maxBatchedTokens = 16
          $0.maxSequences = 8
        }
      }
      let engine = try await Engine.start(configuration, links: links)
      #expect(try await engine.answers(requests).map(\.choices) == alone, "round \(round)")
      await engine.stop()
      expectWorked(engine, kind.workers)
      #expect(engine.statistics.data.workers.allSatisfy { $0.device.contains("127.0.0.1:") && $0.process == 0 })
    }
    // Each worker served one engine after the other.
    #expect(workers.allSatisfy { worker in worker.lines.filter { $0.hasPrefix("serves") }.count == 2 })
  }

  @Test func aWorkerOfThisHostAndOneElsewhereWorkSideBySide() async throws {
    let alone = try await unifiedAnswers(requests()) { _ in }
    let worker = try ListeningWorker()
    let engine = try await Engine.start(storyConfiguration { $0.separate(at: [worker.address], local: 1) })
    #expect(try await engine.answers(requests()).map(\.choices) == alone)
    await engine.stop()
    expectWorked(engine, 2)
  }

  /// Keeps the engine busy until the task ends, and compares everything that comes out.
  private func underLoad(
    _ engine: Engine, _ alone: [[Outcome]], _ body: @escaping @Sendable () async throws -> Void
  ) async throws {
    let isOver = Mutex(false)
    let task = Task {
      defer { isOver.withLock { $0 = true } }
      try await body()
    }
    repeat {
      #expect(try await engine.answers(requests()).map(\.choices) == alone)
    } while !isOver.withLock { $0 }
    try await task.value
  }

  private func wait(_ what: String, _ isSo: () -> Bool) async throws {
    for _ in 0..<20_000 {
      if isSo() { return }
      try await Task.sleep(for: .milliseconds(2))
    }
    Issue.record("in vain: \(what)")
  }

  @Test func aKilledWorkerElsewhereIsAttachedAgainWhenItIsBack() async throws {
    let alone = try await unifiedAnswers(requests()) { _ in }
    let remote = try ListeningProcess()
    let launch = try workerProcess()
    let engine = try await Engine.start(
      storyConfiguration {
        $0.separate(at: [remote.address], local: 1)
        $0.dataWorkers.launch = launch
      })
    nonisolated(unsafe) let process = remote
    let kills = 3
    try await underLoad(engine, alone) {
      for kill in 1...kills {
        let from = engine.statistics.generationTokens
        try await wait("tokens") { engine.statistics.generationTokens > from + 60 }
        process.kill()
        try await wait("loss \(kill)") { engine.statistics.data.recoveries["data_worker_lost", default: 0] == kill }
        try process.start()
        try await wait("return \(kill)") { engine.statistics.data.workers.first { $0.name == "d0" }?.isReady == true }
      }
    }
    await engine.stop()
    #expect(engine.statistics.data.recoveries["data_worker_lost"] == kills)
    #expect(engine.statistics.data.workers.first { $0.name == "d0" }?.exchanges ?? 0 > 0)
  }

  @Test func aWireThatCarriesNothingAnyMoreIsNoticedByItsBeats() async throws {
    let alone = try await unifiedAnswers(requests()) { _ in }
    let worker = try ListeningWorker()
    let wire = try Wire(to: worker.address)
    let engine = try await Engine.start(storyConfiguration { $0.separate(at: [wire.address], local: 1, deadline: 600) })
    try await underLoad(engine, alone) {
      let from = engine.statistics.generationTokens
      try await wait("tokens") { engine.statistics.generationTokens > from + 60 }
      wire.set(.init(isCut: true))
      // Not the deadline of a layer, which is minutes away.
      try await wait("the loss") { engine.statistics.data.recoveries["data_worker_lost"] == 1 }
      wire.set(.init())
      try await wait("the return") { engine.statistics.data.workers.first { $0.name == "d0" }?.isReady == true }
    }
    await engine.stop()
    #expect(engine.statistics.data.recoveries["data_worker_lost"] == 1)
  }

  @Test func aSlowWireOnlyTakesTime() async throws {
    let requests = requests(12)
    let alone = try await unifiedAnswers(requests) { _ in }
    let worker = try ListeningWorker(LinkProtection(security: ClaimedIdentity(.data)))
    let wire = try Wire(to: worker.address)
    let engine = try await Engine.start(
      storyConfiguration { $0.separate(at: [wire.address]) },
      links: LinkProtection(security: ClaimedIdentity(.parameter)))
    wire.set(.init(delay: 1000...5000))
    #expect(try await engine.answers(requests).map(\.choices) == alone)
    wire.set(.init(delay: 20_000...50_000))
    #expect(try await engine.answers(Array(requests.prefix(2))).map(\.choices) == Array(alone.prefix(2)))
    await engine.stop()
    expectWorked(engine, 1)
    #expect(engine.statistics.data.workers[0].medianDelay > 0.001)
  }

  @Test(arguments: [true, false]) func aFlippedBitIsNeverANumber(isSealed: Bool) async throws {
    let alone = try await unifiedAnswers(requests()) { _ in }
    let worker = try ListeningWorker(LinkProtection(security: isSealed ? ClaimedIdentity(.data) : nil))
    let wire = try Wire(to: worker.address)
    let engine = try await Engine.start(
      storyConfiguration { $0.separate(at: [wire.address]) },
      links: LinkProtection(security: isSealed ? ClaimedIdentity(.parameter) : nil))
    for flip in 1...3 {
      wire.set(.init(flipAfter: 20_000 * flip))
      #expect(try await engine.answers(requests()).map(\.choices) == alone, "flip \(flip)")
      #expect(wire.flips.withLock { $0 } == flip)
    }
    await engine.stop()
    #expect(engine.statistics.data.recoveries["data_worker_lost"] == 3, "\(engine.statistics.data.recoveries)")
  }

  // MARK: Starting, attaching

  private func startError(_ links: LinkProtection = .init(), _ change: (inout EngineConfiguration) -> Void) async
    -> String
  {
    do {
      let engine = try await Engine.start(storyConfiguration(change), links: links)
      await engine.stop()
      return "no error"
    } catch {
      return "\(error)"
    }
  }

  @Test func aServerDoesNotStartWithAWorkerThatIsNotThereOrNotRight() async throws {
    let nobody = await startError {
      $0.separate(at: ["127.0.0.1:1"])
      $0.dataWorkers.connectSeconds = 0.3
    }
    #expect(nobody.contains("nobody listens at 127.0.0.1:1") && !nobody.contains("\n"), "\(nobody)")
    let other = try ListeningWorker(version: "0.0.9")
    #expect(await startError { $0.separate(at: [other.address]) }.contains("this data worker 0.0.9"))
    let small = try ListeningWorker(kvBytes: 100_000)
    let tooSmall = await startError { $0.separate(at: [small.address]) }
    #expect(tooSmall.contains("gives 100000 bytes to keys and values"), "\(tooSmall)")
    #expect(await startError { $0.separate(at: ["192.0.2.1:8500"]) }.contains("--trusted-network"))
    #expect(await startError { $0.separate(at: ["nonsense"]) }.contains("--data-workers-at must be host:port"))
    let busy = try ListeningWorker()
    let engine = try await Engine.start(storyConfiguration { $0.separate(at: [busy.address]) })
    #expect(await startError { $0.separate(at: [busy.address]) }.contains("serves another parameter worker"))
    await engine.stop()
  }

  @Test func workersElsewhereAreAttachedAndDrainedUnderLoad() async throws {
    let alone = try await unifiedAnswers(requests()) { _ in }
    let worker = try ListeningWorker()
    let engine = try await Engine.start(storyConfiguration { $0.separate(1, maximum: 3) })
    try await underLoad(engine, alone) {
      #expect(await engine.attachDataWorker(at: worker.address) == .success("data worker d1"))
      try await wait("work") { engine.statistics.data.workers.contains { $0.name == "d1" && $0.exchanges > 0 } }
      #expect(await engine.drainDataWorker(1, within: 0) == .success("data worker d1"))
      // It waits for the next one.
      #expect(await engine.attachDataWorker(at: worker.address) == .success("data worker d1"))
      for bad in ["nonsense", "192.0.2.1:8500", "host:0"] {
        guard case .failure(.refused) = await engine.attachDataWorker(at: bad) else {
          Issue.record("\(bad) was attached")
          return
        }
      }
    }
    await engine.stop()
    #expect(engine.statistics.data.recoveries.isEmpty)
  }
}
