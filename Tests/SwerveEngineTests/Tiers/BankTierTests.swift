import SwerveCore
import SwerveEngine
import SwerveScheduling
import Testing
import TierTestSupport

/// Tiers below several banks that are lost, come back, are drained and opened, at random, against what each request gives
/// alone: nothing that a lost worker left half-written is ever copied out, and nothing comes back wrong.
@Suite struct BankTierTests {
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
    var open: Int
  }

  /// What happened to banks.
  private struct Events {
    var lost = 0, kept = 0, retired = 0, resumed = 0
  }

  private func changeBank(
    _ harness: TierHarness, _ banks: Int, _ random: inout Random, _ events: inout Events
  ) throws {
    let bank = Int.random(in: 0..<banks, using: &random)
    let open = (0..<banks).count { harness.state($0) == .open }
    switch harness.state(bank) {
    case .closed: harness.open(bank)
    case .draining:
      harness.retire(bank)
      try harness.step()
      events.retired += 1
    case .suspended:
      if Int.random(in: 0..<4, using: &random) == 0 {
        // It does not come back; what it had can still be read.
        harness.retire(bank)
        try harness.step()
        events.retired += 1
      } else {
        harness.resume(bank)
        events.resumed += 1
      }
    case .open:
      guard open > 1 else { return }
      switch Int.random(in: 0..<4, using: &random) {
      case 0:
        harness.lose(bank)
        events.lost += 1
      case 1: harness.drain(bank)
      case 2:
        harness.breaks = (bank, false)
        events.lost += 1
      default:
        harness.breaks = (bank, true)
        events.kept += 1
      }
    }
  }

  @Test(arguments: [(PreemptionMode.swap, true, 0), (.swap, false, 0), (.auto, true, 0), (.swap, true, 5)])
  func everyRequestHasTheTokensItHasAlone(mode: PreemptionMode, sharesPrefixes: Bool, places: Int) throws {
    let banks = 3
    var random = Random(state: mode == .swap ? 31 : 32)
    var configuration = SchedulerConfiguration(
      maxBatchedTokens: 24, maxSequences: 8, blockSize: 4, blockCount: banks * (places > 0 ? 11 : 16),
      maxModelLength: 56)
    configuration.bankCount = banks
    configuration.openBanks = 2
    configuration.hostBlockCount = places
    configuration.enablePrefixCaching = sharesPrefixes
    configuration.tiers = TierRules()
    configuration.tiers?.preemption = mode
    configuration.tiers?.patience = mode == .auto || places > 0 ? 200 : 1_000_000
    let harness = try TierHarness(configuration, hostBlocks: 40, disk: MemoryFileSystem())
    let prefixes = (0..<6).map { _ in
      (0..<Int.random(in: 8...36, using: &random)).map { _ in TokenID(Int.random(in: 0..<50, using: &random)) }
    }
    var requests: [UInt64: Request] = [:]
    var events = Events()
    var checked = 0
    var nextID: UInt64 = 1

    func compare() throws {
      for id in harness.finished {
        guard let request = requests[id.request.rawValue] else { continue }
        let seed = CellModel.seed(request.seed, choice: Int(id.index))
        let expected = CellModel.reference(request.prompt, seed: seed, count: request.count)
        let got = harness.produced[id] ?? []
        // Who lost a step too often ends with an error; what came before is right.
        try #require(
          got == expected || got.count < request.count && expected.starts(with: got),
          "request \(id.request.rawValue), choice \(id.index): \(got), not \(expected)")
        if got == expected { checked += 1 }
        harness.produced[id] = nil
        requests[id.request.rawValue]?.open -= 1
        if request.open == 1 { requests[id.request.rawValue] = nil }
      }
      harness.finished.removeAll()
    }

    let operations = (isLong ? 400_000 : 40_000)
    for operation in 0..<operations {
      switch Int.random(in: 0..<1000, using: &random) {
      case ..<260 where requests.count < 30:
        var prompt = prefixes[Int.random(in: 0..<6, using: &random)]
        prompt = Array(prompt.prefix(Int.random(in: 1...prompt.count, using: &random)))
        for _ in 0..<Int.random(in: 0...4, using: &random) {
          prompt.append(TokenID(Int.random(in: 0..<50, using: &random)))
        }
        var choices = Int.random(in: 0..<6, using: &random) == 0 ? 2 : 1
        // What choices share stays in the bank.
        if prompt.count + 15 > configuration.bankBlocks * configuration.blockSize { choices = 1 }
        let request = Request(
          prompt: prompt, seed: UInt64.random(in: 0..<4, using: &random), count: Int.random(in: 1...15, using: &random),
          open: choices)
        try harness.add(nextID, request.prompt, choices: choices, seed: request.seed, maxTokens: request.count)
        requests[nextID] = request
        nextID += 1
      case 300..<310:
        guard let id = requests.keys.sorted().randomElement(using: &random) else { continue }
        harness.cancel(id)
        requests[id] = nil
      case 310..<313: harness.resetPrefixCache()
      case 313..<333: try changeBank(harness, banks, &random, &events)
      default: try harness.step()
      }
      if operation % 16 == 0 { try harness.check() }
      if operation % 128 == 0 { harness.settle() }
      try compare()
    }
    for bank in 0..<banks {
      if harness.state(bank) == .suspended { harness.resume(bank) }
      if harness.state(bank) == .closed { harness.open(bank) }
    }
    try harness.drain()
    try compare()
    try harness.check()
    #expect(requests.isEmpty, "\(requests.count) requests never ended")
    #expect(checked > operations / 50)
    #expect(events.lost > 50 && events.kept > 20 && events.retired > 20 && events.resumed > 20, "\(events)")
    let scheduled = harness.statistics
    #expect(scheduled.blocksUsed == 0 && scheduled.keptSequences == 0 && scheduled.overflow.hostBlocksUsed == 0)
    harness.tiers.close()
    let tiers = harness.tiers.statistics
    #expect(tiers.hostBlocksPinned == 0, "nothing is pinned at rest")
    #expect(tiers.hostToDeviceBytes > 0 && tiers.hostToFileBytes > 0 && scheduled.resumedSequences > 0)
    if sharesPrefixes { #expect(tiers.hitTokens[0] > 0) }
    if mode == .swap { #expect(scheduled.swappedPreemptions > 0 && tiers.swapInBytes > 0) }
    if places > 0 { #expect(scheduled.overflow.blocksToHost > 0) }
  }
}
