import SwerveCore
import SwerveEngine
import SwerveScheduling
import Testing
import TierTestSupport

/// Random operations of scheduler, tiers and files against what each request gives alone.
@Suite struct RandomTierTests {
  private struct Random: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
      return z ^ z >> 31
    }
  }

  private struct Request {
    var prompt: [TokenID]
    var seed: UInt64
    var count: Int
    var choices: Int
    /// Choices that have not ended.
    var open: Int
  }

  /// `lower`: places in host memory and in the overflow store for running sequences' blocks.
  @Test(arguments: [
    (PreemptionMode.swap, true, 0), (.swap, false, 0), (.auto, true, 0), (.recompute, true, 0), (.swap, true, 6),
    (.auto, false, 6),
  ])
  func everyRequestHasTheTokensItHasAlone(mode: PreemptionMode, sharesPrefixes: Bool, lower: Int) throws {
    var random = Random(state: mode == .swap ? 11 : mode == .auto ? 12 : 13)
    var configuration = SchedulerConfiguration(
      maxBatchedTokens: 24, maxSequences: 6, blockSize: 4, blockCount: lower > 0 ? 11 : 20, maxModelLength: 60)
    configuration.hostBlockCount = lower / 2
    configuration.overflowBlockCount = lower * 2
    configuration.enablePrefixCaching = sharesPrefixes
    configuration.tiers = TierRules()
    configuration.tiers?.preemption = mode
    // In steps. Some give up on slow files, others wait for them.
    configuration.tiers?.patience = mode == .auto || lower > 0 ? 200 : 1_000_000
    let harness = try TierHarness(configuration, hostBlocks: 24, disk: MemoryFileSystem())
    let prefixes = (0..<6).map { _ in
      (0..<Int.random(in: 8...40, using: &random)).map { _ in TokenID(Int.random(in: 0..<50, using: &random)) }
    }
    var requests: [UInt64: Request] = [:]
    var checked = 0
    var nextID: UInt64 = 1

    func compare() throws {
      for id in harness.finished {
        guard let request = requests[id.request.rawValue] else { continue }
        let seed = CellModel.seed(request.seed, choice: Int(id.index))
        let expected = CellModel.reference(request.prompt, seed: seed, count: request.count)
        try #require(harness.produced[id] == expected, "request \(id.request.rawValue), choice \(id.index)")
        harness.produced[id] = nil
        requests[id.request.rawValue]?.open -= 1
        if request.open == 1 { requests[id.request.rawValue] = nil }
        checked += 1
      }
      harness.finished.removeAll()
    }

    let operations = (isLong ? 1_000_000 : 100_000) / 4
    for operation in 0..<operations {
      switch Int.random(in: 0..<1000, using: &random) {
      case ..<300 where requests.count < 24:
        var prompt = prefixes[Int.random(in: 0..<6, using: &random)]
        prompt = Array(prompt.prefix(Int.random(in: 1...prompt.count, using: &random)))
        for _ in 0..<Int.random(in: 0...4, using: &random) {
          prompt.append(TokenID(Int.random(in: 0..<50, using: &random)))
        }
        var choices = Int.random(in: 0..<5, using: &random) == 0 ? Int.random(in: 2...4, using: &random) : 1
        // What choices share stays on the device.
        if prompt.count + 15 > configuration.blockCount * configuration.blockSize { choices = 1 }
        let request = Request(
          prompt: prompt, seed: UInt64.random(in: 0..<4, using: &random), count: Int.random(in: 1...15, using: &random),
          choices: choices, open: choices)
        try harness.add(nextID, request.prompt, choices: choices, seed: request.seed, maxTokens: request.count)
        requests[nextID] = request
        nextID += 1
      case 300..<320:
        guard let id = requests.keys.sorted().randomElement(using: &random) else { continue }
        harness.cancel(id)
        requests[id] = nil
      case 320..<324: harness.resetPrefixCache()
      case 324..<327:
        // A file is damaged, cut or lost.
        guard let path = harness.disk.blockPaths.randomElement(using: &random), var bytes = harness.disk[path],
          !bytes.isEmpty
        else { continue }
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 4
        case 1: bytes.removeLast(bytes.count / 2)
        default: bytes = []
        }
        harness.disk[path] = bytes
      // Not before the first file: on a busy machine the disk could be full whenever the lane has its turn.
      case 327..<329 where harness.tiers.statistics.hostToFileBytes > 0:
        harness.disk.fail(.write, with: Bool.random(using: &random) ? 28 : nil)
      case 329..<330: harness.tiers.removeAll { _ in }
      default: try harness.step()
      }
      if operation % 32 == 0 { try harness.check() }
      if operation % 128 == 0 { harness.settle() }
      try compare()
    }
    harness.disk.fail(.write, with: nil)
    try harness.drain()
    try compare()
    try harness.check()
    #expect(requests.isEmpty, "\(requests.count) requests never ended")
    #expect(checked > operations / 100)
    #expect(harness.statistics.blocksUsed == 0)
    #expect(harness.mostRows <= configuration.maxBatchedTokens)
    harness.tiers.close()
    let statistics = harness.tiers.statistics
    #expect(statistics.hostBlocksPinned == 0, "nothing is pinned at rest")
    #expect(harness.statistics.preemptions > 0)
    #expect(statistics.hostToFileBytes > 0)
    if sharesPrefixes {
      #expect(statistics.hitTokens[0] > 0)
      // Who may compute instead does not wait long for files.
      if mode == .swap { #expect(statistics.hitTokens[1] > 0 && statistics.fileToHostBytes > 0) }
    }
    let moved = harness.statistics.overflow
    #expect((moved.blocksToHost > 0) == (lower > 0) && (moved.blocksToStore > 0) == (lower > 0), "\(moved)")
    if mode == .swap && lower == 0 { #expect(harness.statistics.swappedPreemptions > 0 && statistics.swapInBytes > 0) }
    if mode == .recompute { #expect(harness.statistics.swappedPreemptions == 0 && statistics.swapInBytes == 0) }
  }
}
