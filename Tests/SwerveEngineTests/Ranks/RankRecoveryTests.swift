import Foundation
import SwerveCore
import SwerveEngine
import Synchronization
import Testing

/// Groups of ranks as processes that lose one and come back: no request fails, no token changes, nothing but the step is
/// computed again.
@Suite(.serialized) struct RankRecoveryTests {
  /// `SWERVE_LONG=1`: as many kills as a release is checked with.
  private static let kills = ProcessInfo.processInfo.environment["SWERVE_LONG"] == nil ? 10 : 100

  private func requests() -> [GenerationRequest] {
    (0..<12).map { index in
      textRequest("Once upon a time there was number \(index), who lived", id: "r\(index)") {
        $0.temperature = index % 2 == 0 ? 0 : 0.9
        $0.seed = index
        $0.logprobs = 2
        $0.repetitionPenalty = index % 3 == 0 ? 1.2 : 1
        $0.n = index % 4 == 3 ? 2 : 1
        $0.maxTokens = 60
        $0.ignoreEos = true
      }
    }
  }

  private func configuration(
    _ tensor: Int, _ stages: Int, type: EngineConfiguration.DType = .auto, seconds: Double = 60,
    arguments: [String] = []
  ) -> EngineConfiguration {
    storyConfiguration {
      $0.executor = .shm
      $0.dtype = type
      $0.rankProgram = .init(path: RankProcessTests.program.path, arguments: arguments)
      $0.tensorParallelSize = tensor
      $0.pipelineParallelSize = stages
      $0.distributedTimeoutSeconds = seconds
    }
  }

  private func alone(_ type: EngineConfiguration.DType = .auto) async throws -> [[Outcome]] {
    let engine = try await Engine.start(storyConfiguration { $0.dtype = type })
    let answers = try await engine.answers(requests()).map(\.choices)
    await engine.stop()
    return answers
  }

  /// This process's children that were started with a word of their own: other suites have ranks too.
  private func ranks(_ tag: String) -> [Int32] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return all.compactMap { Int32($0) }.filter { id in
      let words = FileManager.default.contents(atPath: "/proc/\(id)/cmdline") ?? Data()
      let status = String(decoding: FileManager.default.contents(atPath: "/proc/\(id)/stat") ?? Data(), as: UTF8.self)
      // Behind the name in parentheses: state, parent.
      let fields = status.split(separator: ")").last?.split(separator: " ") ?? []
      return words.range(of: Data(tag.utf8)) != nil && fields.count > 1 && fields[0] != "Z"
        && fields[1] == "\(getpid())"
    }
  }

  @Test(arguments: [(2, 1), (1, 2), (2, 2)])
  func killedRanksComeBackWithTheirKeysAndValues(tensor: Int, stages: Int) async throws {
    let alone = try await alone()
    let tag = UUID().uuidString
    let engine = try await Engine.start(configuration(tensor, stages, arguments: [tag]))
    let kills = tensor == stages ? Self.kills : 3
    let task = Task {
      for number in 1...kills {
        let from = engine.statistics.generationTokens + Int.random(in: 20...150)
        try #require(try await engine.waits { $0.generationTokens >= from })
        try #require(try await engine.waits { _ in !ranks(tag).isEmpty })
        #expect(kill(try #require(ranks(tag).randomElement()), SIGKILL) == 0)
        try #require(try await engine.waits { $0.groupRestarts >= number })
      }
    }
    var rounds = 0
    repeat {
      #expect(try await engine.answers(requests()).map(\.choices) == alone, "round \(rounds)")
      rounds += 1
    } while engine.statistics.groupRestarts < kills && rounds < 20 * kills
    try await task.value
    await engine.stop()
    #expect(engine.statistics.groupRestarts == kills && engine.statistics.resumedSequences > 0)
  }

  @Test func nothingButTheStepIsComputedAgain() async throws {
    let single = requests().filter { $0.params.n == 1 }
    let one = try await Engine.start(storyConfiguration { $0.dtype = .bfloat16 })
    let alone = try await one.answers(single).map(\.choices)
    await one.stop()
    let tag = UUID().uuidString
    var configuration = configuration(2, 1, type: .bfloat16, arguments: [tag])
    configuration.enablePrefixCaching = false
    let engine = try await Engine.start(configuration)
    async let answers = engine.answers(single)
    try #require(try await engine.waits { $0.generationTokens >= 100 })
    let victims = ranks(tag)
    #expect(victims.count == 1)
    for rank in victims { kill(rank, SIGKILL) }
    #expect(try await answers.map(\.choices) == alone)
    await engine.stop()
    #expect(engine.statistics.groupRestarts == 1 && engine.statistics.resumedSequences >= 1)
    #expect(engine.statistics.preemptions == 0)
  }

  @Test func aStoppedRankIsFoundAtItsDeadlineAndReplaced() async throws {
    let alone = try await alone()
    let tag = UUID().uuidString
    let engine = try await Engine.start(configuration(1, 2, seconds: 3, arguments: [tag]))
    async let answers = engine.answers(requests())
    try #require(try await engine.waits { $0.generationTokens >= 60 })
    guard let victim = ranks(tag).first else { throw TestFailure(description: "no rank is running") }
    kill(victim, SIGSTOP)
    #expect(try await answers.map(\.choices) == alone)
    #expect(kill(victim, 0) != 0, "the stopped rank still lives")
    await engine.stop()
    #expect(engine.statistics.groupRestarts == 1)
  }

  /// Each incarnation of each rank is told another plan once: nothing comes of it, and the group goes on.
  @Test(arguments: [(2, 1), (1, 2)])
  func aRankWithAnotherPlanFailsTheStepAndTheGroupResumes(tensor: Int, stages: Int) async throws {
    let alone = try await alone()
    let notices = Notices()
    let engine = try await Engine.start(
      configuration(tensor, stages, arguments: ["skew", "40"]), onNotice: { notices.add($0) })
    #expect(try await engine.answers(requests()).map(\.choices) == alone)
    await engine.stop()
    #expect(engine.statistics.groupRestarts > 0)
    #expect(notices.all.contains { $0.contains("executes plan") }, "\(notices.all)")
  }

  @Test func ranksThatDoNotStartAgainFailRequestsWithTheCause() async throws {
    let flag = FileManager.default.temporaryDirectory.appending(path: "swerve-\(UUID().uuidString)").path
    defer { _ = try? FileManager.default.removeItem(atPath: flag) }
    let tag = UUID().uuidString
    var configuration = configuration(2, 1)
    configuration.rankProgram = .init(
      path: "/bin/sh", arguments: ["-c", "[ -e \(flag) ] && exit 1; exec \(RankProcessTests.program.path) \(tag)"])
    let engine = try await Engine.start(configuration)
    _ = try await engine.answer(textRequest("Once"))
    _ = FileManager.default.createFile(atPath: flag, contents: nil)
    for rank in ranks(tag) { kill(rank, SIGKILL) }
    await #expect {
      _ = try await engine.answer(textRequest("Once"))
    } throws: {
      "\($0)".contains("the ranks have stopped") && "\($0)".contains("rank 1")
    }
    await engine.stop()
  }
}

/// Sentences that an engine told its operator.
private final class Notices: Sendable {
  private let sentences = Mutex<[String]>([])

  func add(_ sentence: String) { sentences.withLock { $0.append(sentence) } }
  var all: [String] { sentences.withLock { $0 } }
}
