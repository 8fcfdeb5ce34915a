import Foundation
import SwerveCore
import SwerveEngine
import SwerveInference
import Synchronization
import Testing

/// One sequence, then many, then none: parameters stay where they are, data follows the load into the workers' pools, then
/// into host memory, then into files, and goes again; and everybody gets the tokens of an unbounded run.
///
/// Continuous integration has 40 sequences; SWERVE_LONG=1 has 200, and both types.
@Suite(.serialized) struct ConstancyTests {
  private static let count = isLong ? 200 : 40
  /// Blocks of each worker's pool: four or five sequences.
  private static let poolBlocks = 48
  /// Blocks of host memory.
  private static let hostBlocks = 96

  struct Kind: Sendable, CustomTestStringConvertible {
    var workers: Int
    var type: EngineConfiguration.DType
    var testDescription: String { "\(workers) workers, \(type.rawValue)" }
  }

  static let kinds =
    isLong
    ? [1, 2, 3].flatMap { workers in
      [EngineConfiguration.DType.float32, .bfloat16].map { Kind(workers: workers, type: $0) }
    }
    : [Kind(workers: 1, type: .float32), Kind(workers: 2, type: .bfloat16)]

  /// All different from their first block on, about 8 blocks long, and 3 more when they end.
  private static func request(_ number: Int) -> GenerationRequest {
    let parts = InvarianceTests.prompts
    var text = "Tale \(number) of \(number * 7 % 100). "
    for index in 0..<4 { text += parts[(index + number) % 4] + " " }
    return textRequest(text, id: "tale-\(number)") {
      $0.maxTokens = 48
      $0.ignoreEos = true
      $0.logprobs = 1
      $0.temperature = number % 2 == 0 ? 0 : 0.9
      $0.seed = number
    }
  }

  /// What was seen while a load ran.
  private struct Seen: Sendable {
    var parameterBytes: Set<Int> = []
    var blocks = 0, hostBlocks = 0, fileBytes = 0, parked = 0, running = 0
    /// Steps after which each was first seen to be full, or to have been: pools and host memory at nine tenths of what they
    /// hold, or what happens only where they are full (a sequence swapped out, a block pushed out of the host), which is
    /// still seen when one looks seldom; and more in files than the host has places for.
    var poolsFull: Int?, hostFull: Int?, filesBeyondHost: Int?

    mutating func look(_ now: EngineStatistics) {
      if now.data.parameterBytes > 0 { parameterBytes.insert(now.data.parameterBytes) }
      blocks = max(blocks, now.blocksUsed)
      parked = max(parked, now.keptSequences)
      running = max(running, now.runningSequences)
      if poolsFull == nil, now.blocksUsed * 10 >= now.blocksTotal * 9 || now.swappedPreemptions > 0 {
        poolsFull = now.steps
      }
      guard let tiers = now.tiers else { return }
      hostBlocks = max(hostBlocks, tiers.hostBlocksUsed)
      fileBytes = max(fileBytes, tiers.fileBytes)
      if hostFull == nil, tiers.hostBlocksUsed * 10 >= tiers.hostBlocks * 9 || tiers.hostEvictions > 0 {
        hostFull = now.steps
      }
      if filesBeyondHost == nil, tiers.fileBlocks > tiers.hostBlocks { filesBeyondHost = now.steps }
    }
  }

  /// Runs requests at once and looks at the engine all the while.
  private func watch(_ engine: Engine, _ requests: [GenerationRequest]) async throws -> ([[Outcome]], Seen) {
    let isOver = Mutex(false)
    let looking = Task {
      var seen = Seen()
      while !isOver.withLock({ $0 }) {
        seen.look(engine.statistics)
        try await Task.sleep(for: .milliseconds(2))
      }
      return seen
    }
    let answers: [[Outcome]]
    do {
      answers = try await engine.answers(requests).map(\.choices)
    } catch {
      isOver.withLock { $0 = true }
      throw error
    }
    isOver.withLock { $0 = true }
    var seen = try await looking.value
    seen.look(engine.statistics)
    return (answers, seen)
  }

  @Test(arguments: kinds) func parametersStayAndDataFollowsIntoTheTiers(kind: Kind) async throws {
    let requests = (0..<Self.count).map { Self.request($0) }
    let expected = try await unifiedAnswers(requests) { $0.dtype = kind.type }
    let folder = try TestFolder()
    let launch = try workerProcess()
    let small = storyConfiguration {
      $0.dtype = kind.type
      $0.kvCacheBytes = nil
      $0.kvBlocks = Self.poolBlocks * kind.workers
      $0.maxSequences = 256
      $0.maxBatchedTokens = 512
      $0.separate(kind.workers, launch)
    }
    let stride = (try StartPlan(small).memoryPlan.blockBytes + 4095) & ~4095
    var configuration = small
    configuration.preemptionMode = .swap
    configuration.kvTiers = "host=\(Self.hostBlocks * stride),nvme=4GiB:\(folder.blocks)"
    let engine = try await Engine.start(configuration)

    // One.
    let (first, alone) = try await watch(engine, [requests[0]])
    #expect(first == [expected[0]])
    try await idle(engine)
    #expect(alone.running <= 1 && alone.blocks <= 16 && alone.parameterBytes.count == 1, "\(alone)")
    #expect(engine.statistics.blocksUsed == 0)

    // Many.
    let (found, seen) = try await watch(engine, requests)
    for (number, answer) in found.enumerated() { #expect(answer == expected[number], "request \(number)") }
    #expect(seen.parameterBytes == alone.parameterBytes, "parameters moved: \(seen.parameterBytes)")
    #expect(seen.running > 3 && seen.parked > 0)
    #expect(seen.blocks > 6 * alone.blocks || seen.blocks * 10 > Self.poolBlocks * kind.workers * 9, "\(seen)")
    let pools = try #require(seen.poolsFull, "the pools were never full: \(seen)")
    let host = try #require(seen.hostFull, "host memory was never full: \(seen)")
    let files = try #require(seen.filesBeyondHost, "files never had more than the host: \(seen)")
    // Of several workers the first to be full spills while another still has room.
    #expect((pools <= host || kind.workers > 1) && max(pools, host) <= files, "device, then host, then files: \(seen)")

    // None.
    try await idle(engine)
    let after = engine.statistics
    #expect(after.blocksUsed == 0 && after.runningSequences == 0 && after.keptSequences == 0)
    #expect(after.overflow.hostBlocksUsed == 0)

    // What was pushed out is found again.
    let (again, last) = try await watch(engine, Array(requests.prefix(8)))
    #expect(again == Array(expected.prefix(8)))
    #expect(last.parameterBytes == alone.parameterBytes)
    await engine.stop()
    let end = engine.statistics
    #expect(end.data.parameterBytes == alone.parameterBytes.first)
    #expect(
      end.data.workers.count == kind.workers && end.data.workers.allSatisfy { $0.blocksUsed == 0 && $0.kvBytes > 0 })
    #expect(end.data.recoveries.isEmpty && end.swappedPreemptions > 0)
    let tiers = try #require(end.tiers)
    #expect(tiers.hostToFileBytes > 0 && tiers.swapInBytes > 0 && tiers.hostBlocksPinned == 0)
    #expect(tiers.hitTokens[1] > 0, "prompt tokens from files: \(tiers.hitTokens)")
  }
}
