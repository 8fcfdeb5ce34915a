import Foundation
import SwerveCore
import SwerveEngine
import Testing

/// Groups that have more than computing ranks, which lose a process and come back: a parameter rank with data workers of its
/// own, and ranks that hold shares of the weights. No request fails, no token changes, nothing but the step is
/// computed again.
@Suite(.serialized) struct GroupRecoveryTests {
  /// `SWERVE_LONG=1`: as many kills as a release is checked with.
  static let kills = isLong ? 100 : 5

  /// One choice each, so that nothing is copied between sequences.
  func requests(_ tokens: Int = 60) -> [GenerationRequest] {
    (0..<12).map { index in
      textRequest("Once upon a time there was number \(index), who lived", id: "g\(index)") {
        $0.temperature = index % 2 == 0 ? 0 : 0.9
        $0.seed = index
        $0.logprobs = 2
        $0.repetitionPenalty = index % 3 == 0 ? 1.2 : 1
        $0.maxTokens = tokens
        $0.ignoreEos = true
      }
    }
  }

  func alone(
    _ requests: [GenerationRequest], _ type: EngineConfiguration.DType = .auto
  ) async throws -> [[Outcome]] {
    let engine = try await Engine.start(storyConfiguration { $0.dtype = type })
    let answers = try await engine.answers(requests).map(\.choices)
    await engine.stop()
    return answers
  }

  func compare(_ answers: [[Outcome]], _ alone: [[Outcome]], _ when: Comment) {
    #expect(answers.count == alone.count, when)
    for (index, (answer, expected)) in zip(answers, alone).enumerated() where answer != expected {
      let (got, due) = (answer.flatMap(\.tokens), expected.flatMap(\.tokens))
      let same = zip(got, due).prefix { $0 == $1 }.count
      Issue.record("\(when): answer \(index) has \(got.count) of \(due.count) tokens, \(same) of them the same")
    }
  }

  // MARK: Processes

  /// Those that live, as (number, parent, words).
  static func processes() -> [(id: Int32, parent: Int32, words: Data)] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return all.compactMap { Int32($0) }.compactMap { id in
      let stat = String(decoding: FileManager.default.contents(atPath: "/proc/\(id)/stat") ?? Data(), as: UTF8.self)
      // Behind the name in parentheses: state, parent.
      let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
      guard fields.count > 1, fields[0] != "Z", let parent = Int32(fields[1]) else { return nil }
      return (id, parent, FileManager.default.contents(atPath: "/proc/\(id)/cmdline") ?? Data())
    }
  }

  /// This process's children with a word of their own, and theirs.
  static func group(_ tag: String) -> (ranks: [Int32], workers: [Int32]) {
    let all = processes()
    let ranks = all.filter { $0.parent == getpid() && $0.words.range(of: Data(tag.utf8)) != nil }.map(\.id)
    return (ranks, all.filter { ranks.contains($0.parent) }.map(\.id))
  }

  /// Kills a process of the group now and then, and compares everything that is answered meanwhile.
  func kill(
    _ times: Int, _ engine: Engine, _ requests: [GenerationRequest], _ alone: [[Outcome]],
    _ victims: @escaping @Sendable () -> [Int32]
  ) async throws {
    let task = Task {
      for number in 1...times {
        let from = engine.statistics.generationTokens + Int.random(in: 20...150)
        try #require(try await engine.waits { $0.generationTokens >= from })
        try #require(try await engine.waits { _ in !victims().isEmpty })
        #expect(Glibc.kill(try #require(victims().randomElement()), SIGKILL) == 0)
        try #require(try await engine.waits { $0.groupRestarts >= number })
      }
    }
    var rounds = 0
    repeat {
      let answers = try await engine.answers(requests).map(\.choices)
      compare(answers, alone, "round \(rounds)")
      rounds += 1
    } while engine.statistics.groupRestarts < times && rounds < 20 * times
    try await task.value
  }

  /// Ranks as processes with a word of their own, and room for so many blocks.
  func ranks(_ tag: String, _ type: EngineConfiguration.DType = .auto, blocks: Int) -> EngineConfiguration {
    storyConfiguration {
      $0.dtype = type
      $0.executor = .shm
      $0.rankProgram = .init(path: RankProcessTests.program.path, arguments: [tag])
      $0.maxModelLength = 256
      $0.kvCacheBytes = nil
      $0.kvBlocks = blocks
      $0.maxSequences = 12
    }
  }

  // MARK: A quota and data workers

  /// What the requests need at once is more than the quota.
  private func quota(_ tag: String, _ type: EngineConfiguration.DType = .auto) -> EngineConfiguration {
    var configuration = ranks(tag, type, blocks: 3 * 24)
    configuration.placement = .pipelineData
    configuration.pipelineParallelSize = 2
    configuration.dataWorkers.count = 2
    return configuration
  }

  @Test func killedRanksAndTheirWorkersComeBack() async throws {
    let requests = requests()
    let alone = try await alone(requests)
    let tag = UUID().uuidString
    let engine = try await Engine.start(quota(tag))
    #expect(Self.group(tag).ranks.count == 1 && Self.group(tag).workers.count == 2)
    try await kill(Self.kills, engine, requests, alone) {
      let group = Self.group(tag)
      // Not while they are being started.
      return group.workers.count == 2 ? group.ranks + group.workers : []
    }
    await engine.stop()
    let now = engine.statistics
    #expect(now.groupRestarts == Self.kills && now.resumedSequences > 0)
    #expect(now.ranks?.ranks.last?.dataBytes ?? 0 > 0, "nothing was beyond the quota")
  }

  @Test(arguments: [EngineConfiguration.DType.float32, .bfloat16])
  func nothingButTheStepIsComputedAgain(type: EngineConfiguration.DType) async throws {
    // Two fill a part of the pool with their prompts, and have room for what follows: nobody is sent back for blocks.
    let requests = (0..<6).map { index in
      var params = SamplingParams(temperature: index % 2 == 0 ? 0 : 0.9, maxTokens: 150)
      params.seed = index
      params.ignoreEos = true
      params.logprobs = 2
      let prompt = (0..<330).map { TokenID(($0 * 37 + index * 101) % 4000 + 20) }
      return GenerationRequest(id: "q\(index)", prompt: .tokens(prompt), params: params)
    }
    let alone = try await alone(requests, type)
    let tag = UUID().uuidString
    var configuration = quota(tag, type)
    configuration.enablePrefixCaching = false
    configuration.maxModelLength = 512
    configuration.kvBlocks = 3 * 62
    let engine = try await Engine.start(configuration)
    async let answers = engine.answers(requests)
    try #require(try await engine.waits { $0.generationTokens >= 200 })
    for worker in Self.group(tag).workers { Glibc.kill(worker, SIGKILL) }
    try #require(try await engine.waits { $0.groupRestarts == 1 })
    let from = engine.statistics.generationTokens + 120
    try #require(try await engine.waits { $0.generationTokens >= from })
    for rank in Self.group(tag).ranks { Glibc.kill(rank, SIGKILL) }
    let found = try await answers.map(\.choices)
    compare(found, alone, "two losses")
    await engine.stop()
    let now = engine.statistics
    #expect(now.groupRestarts == 2 && now.resumedSequences >= 2)
    #expect(now.preemptions == 0 && now.generationTokens == 6 * 150)
    #expect(now.ranks?.ranks.last?.dataBytes ?? 0 > 0, "nothing was beyond the quota")
  }

  // MARK: Shares of the weights

  private func gathered(_ folder: String, _ tag: String, seconds: Double = 60) -> EngineConfiguration {
    storyConfiguration {
      $0.modelFolder = folder
      $0.gathering = GatheredTests.gathering(.peers, depth: 1)
      $0.gathering?.peers = 3
      $0.executor = .shm
      $0.rankProgram = .init(path: RankProcessTests.program.path, arguments: [tag])
      $0.distributedTimeoutSeconds = seconds
    }
  }

  @Test(arguments: [EngineConfiguration.DType.float32, .bfloat16])
  func killedHoldersOfWeightsComeBack(type: EngineConfiguration.DType) async throws {
    let requests = requests()
    let alone = try await alone(requests, type)
    let folder = PackedFolder()
    _ = try PackedModel(storyConfiguration { $0.dtype = type }).write(to: folder.path, overwrites: false) { _ in }
    let tag = UUID().uuidString
    var configuration = gathered(folder.path, tag)
    configuration.dtype = type
    // Who was just to take a copy of a block is computed again.
    configuration.enablePrefixCaching = false
    let engine = try await Engine.start(configuration)
    #expect(Self.group(tag).ranks.count == 2)
    try await kill(Self.kills, engine, requests, alone) { Self.group(tag).ranks }
    // Also while nothing is computed.
    let idle = engine.statistics.groupRestarts
    Glibc.kill(try #require(Self.group(tag).ranks.first), SIGKILL)
    let found = try await engine.answers(requests).map(\.choices)
    compare(found, alone, "idle")
    await engine.stop()
    let now = engine.statistics
    #expect(now.groupRestarts == idle + 1)
    #expect(now.resumedSequences > 0)
    #expect(now.preemptions == 0)
    #expect((now.gather?.fetchedBytes ?? 0) * 2 > now.gather?.readBytes ?? .max)
  }

  @Test func aStoppedHolderIsFoundAtItsDeadlineAndReplaced() async throws {
    let requests = requests()
    let alone = try await alone(requests)
    let folder = PackedFolder()
    _ = try PackedModel(storyConfiguration()).write(to: folder.path, overwrites: false) { _ in }
    let tag = UUID().uuidString
    let engine = try await Engine.start(gathered(folder.path, tag, seconds: 3))
    async let answers = engine.answers(requests)
    try #require(try await engine.waits { $0.generationTokens >= 60 })
    let victim = try #require(Self.group(tag).ranks.first)
    Glibc.kill(victim, SIGSTOP)
    let found = try await answers.map(\.choices)
    compare(found, alone, "stopped")
    #expect(Glibc.kill(victim, 0) != 0, "the stopped holder still lives")
    await engine.stop()
    #expect(engine.statistics.groupRestarts == 1)
  }
}
