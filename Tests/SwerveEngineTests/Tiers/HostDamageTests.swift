import SwerveCore
import SwerveEngine
import SwerveScheduling
import SwerveTiers
import Testing
import TierTestSupport

/// Memory of the host that changes by itself.
@Suite struct HostDamageTests {
  @Test func blocksThatHaveChangedAreComputedAgain() throws {
    var configuration = SchedulerConfiguration(
      maxBatchedTokens: 24, maxSequences: 4, blockSize: 4, blockCount: 20, maxModelLength: 60)
    configuration.enablePrefixCaching = true
    configuration.tiers = TierRules()
    configuration.tiers?.patience = 1_000_000
    let harness = try TierHarness(configuration, hostBlocks: 24, disk: MemoryFileSystem())
    let prompt = (0..<33).map { TokenID($0 * 7 % 50) }

    func answer(_ id: UInt64) throws -> [TokenID]? {
      try harness.add(id, prompt, choices: 1, seed: 5, maxTokens: 6)
      try harness.drain()
      try harness.check()
      return harness.produced.first { $0.key.request.rawValue == id }?.value
    }

    let expected = CellModel.reference(prompt, seed: 5, count: 6)
    #expect(try answer(1) == expected)
    harness.settle()
    let slots = harness.tiers.host.sealedSlots
    #expect(slots.count >= 8)
    // From the host, as it was kept.
    harness.resetPrefixCache()
    let rows = harness.executor.rows
    #expect(try answer(2) == expected)
    #expect(harness.executor.rows - rows < prompt.count)
    #expect(harness.tiers.statistics.hitTokens[TierStatistics.Source.host.rawValue] > 0)

    harness.resetPrefixCache()
    for slot in harness.tiers.host.sealedSlots {
      #expect(harness.tiers.host.pin(slot))
      try #require(harness.tiers.host.memory(of: slot)).bytes[5] ^= 16
      harness.tiers.host.unpin(slot)
    }
    #expect(try answer(3) == expected)
    #expect(harness.tiers.statistics.verifyFailures["host-memory"] ?? 0 > 0)
  }
}
