import Foundation
import SwerveCore
import SwerveEngine
import SwerveTiers
import Synchronization
import Testing

/// Requests that outlive the server: a journal as a kill would leave it, opened by the next one.
@Suite struct JournalTests {
  private static func folder() -> String {
    FileManager.default.temporaryDirectory.appending(path: "swerve-journal-\(UUID().uuidString)").path
  }

  /// What a folder's journal holds at this moment, in another folder: a server killed now leaves it.
  ///
  /// - Parameter bytes: that had been written by then; what follows they may tear.
  private static func copy(_ folder: String, keeping bytes: Int = .max) throws -> String {
    let other = Self.folder()
    try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: true)
    let data = try Data(contentsOf: URL(filePath: folder + "/requests.journal")).prefix(bytes)
    try data.write(to: URL(filePath: other + "/requests.journal"))
    return other
  }

  private static func request(_ change: (inout SamplingParams) -> Void = { _ in }) -> GenerationRequest {
    var request = textRequest("Once upon a time there was a little", id: "cmpl-a") {
      $0.temperature = 0.9
      $0.maxTokens = 80
      $0.ignoreEos = true
      $0.repetitionPenalty = 1.1
      change(&$0)
    }
    request.idempotency = .init(owner: "", digest: "d", isNamed: true)
    return request
  }

  /// A process that is being started holds the lock of this one's files until it executes its program, for a moment.
  private static func open(
    _ folder: String, master: MasterKey? = nil, clock: @escaping @Sendable () -> Int,
    onNotice: @escaping @Sendable (String) -> Void = { _ in }
  ) async throws -> Journal {
    for _ in 0..<300 {
      do { return try Journal(folder: folder, master: master, seconds: 100, clock: clock, onNotice: onNotice) } catch {
        guard "\(error)".contains("another running server") else { throw error }
        try await Task.sleep(for: .milliseconds(10))
      }
    }
    return try Journal(folder: folder, master: master, seconds: 100, clock: clock, onNotice: onNotice)
  }

  private struct Server {
    let engine: Engine
    let journal: Journal
    let client: JournaledEngine
    let notices = Notices()

    init(_ folder: String, master: MasterKey? = nil, clock: @escaping @Sendable () -> Int = { 1_000 }) async throws {
      engine = try await Engine.start(storyConfiguration { $0.seed = 3 })
      let notices = notices
      journal = try await JournalTests.open(folder, master: master, clock: clock) { notices.add($0) }
      client = JournaledEngine(engine, journal: journal)
    }

    func stop() async {
      await engine.stop()
      await journal.stop()
    }
  }

  final class Notices: Sendable {
    private let sentences = Mutex<[String]>([])
    func add(_ sentence: String) { sentences.withLock { $0.append(sentence) } }
    var all: [String] { sentences.withLock { $0 } }
  }

  /// Everything that is delivered, at most so many deltas.
  private static func collect(
    _ client: JournaledEngine, _ request: GenerationRequest, deltas: Int = .max
  ) async throws -> [Outcome] {
    var choices = [Outcome](repeating: Outcome(), count: request.params.n)
    var count = 0
    for try await event in try await stream(client, request) {
      guard case .delta(let delta) = event else { continue }
      choices[delta.index].tokens += delta.tokens
      choices[delta.index].text += delta.text
      choices[delta.index].logprobBits += delta.logprobs.map(\.chosen.logprob.bitPattern)
      if let finish = delta.finish { choices[delta.index].finish = finish }
      count += 1
      if count == deltas { break }
    }
    return choices
  }

  /// Who left a moment ago may still have the request.
  private static func stream(
    _ client: JournaledEngine, _ request: GenerationRequest
  ) async throws -> AsyncThrowingStream<GenerationEvent, any Error> {
    while true {
      do { return try await client.generate(request) } catch {
        if error.status != 409 { throw error }
        try await Task.sleep(for: .milliseconds(5))
      }
    }
  }

  private static func written(_ folder: String, atLeast bytes: Int) async throws {
    for _ in 0..<2000 {
      let size = try Data(contentsOf: URL(filePath: folder + "/requests.journal")).count
      if size >= bytes { return }
      try await Task.sleep(for: .milliseconds(5))
    }
    Issue.record("the journal is not written")
  }

  @Test(arguments: [false, true])
  func aKilledServersRequestGoesOnBehindItsTokens(isSealed: Bool) async throws {
    let keyFile = Self.folder()
    try Data((0..<32).map { UInt8($0) }).write(to: URL(filePath: keyFile))
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: keyFile)
    let master = isSealed ? try MasterKey(file: keyFile) : nil
    let folder = Self.folder()
    let first = try await Server(folder, master: master)
    let request = Self.request { $0.seed = 11 }
    let alone = try await first.engine.answer(request).choices
    let head = try await Self.collect(first.client, request, deltas: 30)
    try await Self.written(folder, atLeast: 2_000)
    // Torn in the middle of a record.
    let killed = try Self.copy(folder, keeping: 2_000)
    let whole = try await Self.collect(first.client, request)
    #expect(whole == alone)
    // All may have been computed before the client was gone.
    #expect(first.journal.statistics.resumed + first.journal.statistics.replayed == 1)
    await first.stop()
    let bytes = try Data(contentsOf: URL(filePath: folder + "/requests.journal"))
    #expect(isSealed == (bytes.range(of: Data("cmpl-a".utf8)) == nil))
    let mode = try FileManager.default.attributesOfItem(atPath: folder + "/requests.journal")[.posixPermissions]
    #expect(mode as? Int == 0o600)

    let second = try await Server(killed, master: master)
    let resumed = try await Self.collect(second.client, request)
    #expect(resumed == whole && whole[0].tokens.count == 80 && whole[0].tokens.starts(with: head[0].tokens))
    // What was known was not generated again.
    let generated = second.engine.statistics.generationTokens
    #expect(generated > 0 && generated <= 70, "\(generated) tokens generated")
    // A finished answer is given again without computing.
    #expect(try await Self.collect(second.client, request) == whole)
    #expect(second.engine.statistics.generationTokens == generated)
    #expect(second.journal.statistics.resumed == 1 && second.journal.statistics.replayed == 1)
    await second.stop()

    // And over another restart.
    let third = try await Server(killed, master: master)
    #expect(try await Self.collect(third.client, request) == whole)
    #expect(third.engine.statistics.generationTokens == 0)
    await third.stop()
    if isSealed {
      #expect(throws: JournalError.self) {
        _ = try Journal(folder: killed, master: nil, seconds: 100) { _ in }
      }
    }
  }

  /// Computed from the beginning, with the same seed.
  @Test func choicesAndLogprobsComeOutTheSame() async throws {
    let request = Self.request {
      $0.n = 3
      $0.logprobs = 2
    }
    let folder = Self.folder()
    let first = try await Server(folder)
    _ = try await Self.collect(first.client, request, deltas: 40)
    try await Self.written(folder, atLeast: 2_000)
    let killed = try Self.copy(folder, keeping: 2_000)
    let whole = try await Self.collect(first.client, request)
    await first.stop()
    let second = try await Server(killed)
    #expect(try await Self.collect(second.client, request) == whole)
    #expect(whole.allSatisfy { $0.tokens.count == 80 && !$0.logprobBits.isEmpty })
    // Log-probabilities of a finished answer are kept to the bit.
    #expect(try await Self.collect(second.client, request) == whole)
    #expect(second.journal.statistics.replayed == 1)
    await second.stop()
  }

  @Test func aKeyMeansOneRequestOfOneOwner() async throws {
    let server = try await Server(Self.folder())
    let whole = try await Self.collect(server.client, Self.request())
    var other = Self.request()
    other.idempotency?.digest = "e"
    await #expect {
      _ = try await server.client.generate(other)
    } throws: {
      ($0 as? RequestError)?.status == 422 && "\($0)".contains("Idempotency-Key")
    }
    // Another owner's request of that name is another request.
    other = Self.request { $0.maxTokens = 3 }
    other.idempotency?.owner = "key-1"
    #expect(try await Self.collect(server.client, other)[0].tokens.count == 3)
    #expect(try await Self.collect(server.client, Self.request()) == whole)
    // An id that nobody chose is never a repeated one.
    var unnamed = Self.request { $0.maxTokens = 4 }
    unnamed.idempotency?.isNamed = false
    #expect(try await Self.collect(server.client, unnamed)[0].tokens.count == 4)
    await server.stop()
  }

  /// Who names no request gets what a server without a journal gives, and may name it afterwards by its id.
  @Test func anUnnamedRequestKeepsTheEnginesSeed() async throws {
    var request = Self.request()
    request.idempotency?.isNamed = false
    let plain = try await Engine.start(storyConfiguration { $0.seed = 3 })
    let whole = try await plain.answer(request).choices
    await plain.stop()
    let folder = Self.folder()
    let first = try await Server(folder)
    let head = try await Self.collect(first.client, request, deltas: 30)
    #expect(whole[0].tokens.starts(with: head[0].tokens) && head[0].tokens.count == 30)
    try await Self.written(folder, atLeast: 2_000)
    let killed = try Self.copy(folder, keeping: 2_000)
    await first.stop()
    let second = try await Server(killed)
    request.idempotency?.isNamed = true
    #expect(try await Self.collect(second.client, request) == whole)
    #expect(second.journal.statistics.resumed == 1)
    await second.stop()
  }

  @Test func aRequestThatIsBeingAnsweredIsNotBegunTwice() async throws {
    let server = try await Server(Self.folder())
    let stream = try await server.client.generate(Self.request())
    await #expect {
      _ = try await server.client.generate(Self.request())
    } throws: {
      ($0 as? RequestError)?.status == 409
    }
    for try await _ in stream {}
    #expect(try await Self.collect(server.client, Self.request())[0].tokens.count == 80)
    await server.stop()
  }

  @Test func whatIsOldIsForgotten() async throws {
    let folder = Self.folder()
    let first = try await Server(folder)
    _ = try await Self.collect(first.client, Self.request())
    await first.stop()
    let later = try await Server(folder, clock: { 2_000 })
    #expect(later.journal.statistics.requests == 0)
    _ = try await Self.collect(later.client, Self.request())
    #expect(later.engine.statistics.generationTokens == 80)
    await later.stop()
  }

  @Test func damageEndsTheReadingAndNothingElse() async throws {
    let folder = Self.folder()
    let first = try await Server(folder)
    let whole = try await Self.collect(first.client, Self.request { $0.seed = 5 })
    await first.stop()
    let path = folder + "/requests.journal"
    let data = try Data(contentsOf: URL(filePath: path))
    for place in stride(from: 8, to: data.count, by: max(1, data.count / 40)) {
      var damaged = data
      damaged[place] ^= 0x40
      try damaged.write(to: URL(filePath: path))
      let journal = try await Self.open(folder, clock: { 1_000 })
      #expect(journal.statistics.requests <= 1)
      await journal.stop()
    }
    var damaged = data
    damaged[data.count / 2] ^= 1
    try damaged.write(to: URL(filePath: path))
    let second = try await Server(folder)
    #expect(try await Self.collect(second.client, Self.request { $0.seed = 5 }) == whole)
    #expect(second.engine.statistics.generationTokens < 80)
    await second.stop()
    try Data("something else, longer".utf8).write(to: URL(filePath: path))
    #expect(throws: JournalError.self) { _ = try Journal(folder: folder, master: nil, seconds: 100) { _ in } }
  }

  @Test func aFolderHasOneServer() async throws {
    let folder = Self.folder()
    let journal = try Journal(folder: folder, master: nil, seconds: 100) { _ in }
    #expect {
      _ = try Journal(folder: folder, master: nil, seconds: 100) { _ in }
    } throws: {
      "\($0)".contains("belongs to another running server")
    }
    await journal.stop()
  }

  /// A device that is always full takes the place of the file once it is open.
  @Test func aFullDiskTurnsTheJournalOffAndNothingElse() async throws {
    let server = try await Server(Self.folder())
    server.journal.failWrites()
    #expect(try await Self.collect(server.client, Self.request())[0].tokens.count == 80)
    for _ in 0..<400 where server.journal.statistics.isOn { try await Task.sleep(for: .milliseconds(10)) }
    #expect(!server.journal.statistics.isOn)
    #expect(server.notices.all.count == 1 && server.notices.all[0].contains("journal is off"), "\(server.notices.all)")
    // What this process knows it still gives again.
    #expect(try await Self.collect(server.client, Self.request())[0].tokens.count == 80)
    #expect(server.journal.statistics.replayed == 1)
    await server.stop()
  }
}
