import Foundation
import SwerveCore
import SwerveEngine
import Testing

/// The journal stands before the engine, whatever computes behind it: a request that a server of one topology began is ended
/// by a server of another one, with the same tokens.
@Suite(.serialized) struct JournalTopologyTests {
  private static let names = [
    "separated, 1 worker", "threads, tensor 2", "pipeline-pd, shm, 2 workers", "gathered from a process",
    "shm, tensor 2, 2 stages", "gathered from the disk", "separated, 2 workers",
  ]
  private static let topologies = names.compactMap { name in Topology.all.first { $0.name == name } }

  private static func folder() -> String {
    FileManager.default.temporaryDirectory.appending(path: "swerve-journal-\(UUID().uuidString)").path
  }

  private static func configuration(_ topology: Topology, _ packed: String) throws -> EngineConfiguration {
    var configuration = storyConfiguration {
      $0.seed = 3
      $0.maxModelLength = 192
      if topology.isPacked { $0.modelFolder = packed }
    }
    // A topology says how many blocks it needs, or takes what it gets.
    try topology.change(&configuration)
    if configuration.kvBlocks != nil { configuration.kvCacheBytes = nil }
    return configuration
  }

  private static let request = {
    var request = textRequest("Once upon a time there was a little", id: "cmpl-t") {
      $0.temperature = 0.9
      $0.seed = 11
      $0.maxTokens = 90
      $0.ignoreEos = true
      $0.repetitionPenalty = 1.1
    }
    request.idempotency = .init(owner: "", digest: "d", isNamed: true)
    return request
  }()

  /// What a server answered, and counted.
  private final class Served: Sendable {
    let outcome: Outcome
    let statistics: EngineStatistics

    init(outcome: Outcome, statistics: EngineStatistics) {
      self.outcome = outcome
      self.statistics = statistics
    }
  }

  /// A server over a folder's journal, which answers until so many deltas were delivered.
  private static func serve(
    _ configuration: EngineConfiguration, _ folder: String, deltas: Int = .max
  ) async throws -> Served {
    let engine = try await Engine.start(configuration)
    let journal = try await open(folder)
    let client = JournaledEngine(engine, journal: journal)
    var outcome = Outcome()
    var count = 0
    for try await event in try await client.generate(request) {
      guard case .delta(let delta) = event else { continue }
      outcome.tokens += delta.tokens
      outcome.text += delta.text
      if let finish = delta.finish { outcome.finish = finish }
      count += 1
      if count == deltas { break }
    }
    for _ in 0..<2000 where try Data(contentsOf: URL(filePath: folder + "/requests.journal")).count < 2000 {
      try await Task.sleep(for: .milliseconds(5))
    }
    await engine.stop()
    let statistics = client.statistics
    await journal.stop()
    return Served(outcome: outcome, statistics: statistics)
  }

  /// A process that is being started holds the lock of this one's files until it executes its program, for a moment.
  private static func open(_ folder: String) async throws -> Journal {
    for _ in 0..<300 {
      do {
        return try Journal(folder: folder, master: nil, seconds: 100, clock: { 1_000 }, onNotice: { _ in })
      } catch {
        guard "\(error)".contains("another running server") else { throw error }
        try await Task.sleep(for: .milliseconds(10))
      }
    }
    throw TestFailure(description: "the journal is not free")
  }

  /// What one process answers.
  private static func alone() async throws -> Outcome {
    let engine = try await Engine.start(storyConfiguration { $0.maxModelLength = 192 })
    let outcome = try await engine.answer(request).choices[0]
    await engine.stop()
    return outcome
  }

  /// A server that was killed has not written the end: the beginning of the file is what it leaves.
  private static func cut(_ folder: String) throws {
    let file = URL(filePath: folder + "/requests.journal")
    try Data(try Data(contentsOf: file).prefix(2000)).write(to: file)
  }

  @Test(arguments: topologies.indices) func whatOneTopologyBeganAnotherOneEnds(_ place: Int) async throws {
    let (first, second) = (Self.topologies[place], Self.topologies[(place + 1) % Self.topologies.count])
    let packed = PackedFolder()
    _ = try PackedModel(storyConfiguration()).write(to: packed.path, overwrites: false) { _ in }
    let alone = try await Self.alone()
    let folder = Self.folder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let head = try await Self.serve(try Self.configuration(first, packed.path), folder, deltas: 30)
    check(first, head.statistics)
    try Self.cut(folder)
    let tail = try await Self.serve(try Self.configuration(second, packed.path), folder)
    check(second, tail.statistics)
    compare(head.outcome, tail.outcome, tail.statistics, alone)
  }

  private func compare(_ head: Outcome, _ tail: Outcome, _ now: EngineStatistics, _ alone: Outcome) {
    #expect(Self.topologies.count == Self.names.count)
    #expect(alone.tokens.count == 90)
    #expect(!head.tokens.isEmpty && alone.tokens.starts(with: head.tokens))
    #expect(tail.tokens == alone.tokens)
    #expect(tail.text == alone.text)
    #expect(tail.finish == alone.finish)
    #expect(now.journal?.resumed == 1)
    // What was known was not generated again.
    #expect((1..<90).contains(now.generationTokens), "\(now.generationTokens)")
  }

  /// That it was the topology that computed.
  private func check(_ topology: Topology, _ now: EngineStatistics) {
    let name = Comment(rawValue: topology.name)
    switch topology.mechanism {
    case .dataWorkers(let count, _), .tieredDataWorkers(let count):
      #expect(now.data.workers.count == count && now.data.workers[0].exchanges > 0, name)
    case .ranks(let tensor, let stages): #expect(now.ranks?.ranks.count == tensor * stages, name)
    case .quota: #expect(now.ranks?.ranks.count == 2, name)
    case .ring(let peers):
      #expect((now.gather?.readBytes ?? 0) > 0 && (now.gather?.fetchedBytes ?? 0 > 0) == (peers > 0), name)
    case .rankDataWorkers(let count, let tensor, let stages):
      #expect(now.ranks?.ranks.count == tensor * stages && now.data.workers.count == count, name)
    case .ringDataWorkers(let count, _):
      #expect((now.gather?.readBytes ?? 0) > 0 && now.data.workers.count == count, name)
    case .none, .job: Issue.record("a topology of one process")
    }
  }
}
