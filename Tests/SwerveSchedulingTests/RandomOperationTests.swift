import Glibc
import SwerveCore
import SwerveScheduling
import Testing

/// Random arrivals with shared prefixes, cancellations, finishes, failing steps and shortages, on pools from
/// comfortable to hopeless. Each request must give exactly the tokens it gives alone.
@Suite struct RandomOperationTests {
  /// `SWERVE_TEST_SEED` repeats a run.
  private static let seed: UInt64 =
    getenv("SWERVE_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0...UInt64.max)

  #if DEBUG
    private static let shortRun = 100_000
  #else
    private static let shortRun = 400_000
  #endif
  /// `SWERVE_LONG=1` takes minutes.
  private static let operations = getenv("SWERVE_LONG") == nil ? shortRun : 4_000_000

  @Test func `every request gives the tokens it gives alone, whatever happens around it`() throws {
    print("random operations: SWERVE_TEST_SEED=\(Self.seed)")
    var generator = SeededGenerator(seed: Self.seed)
    var totals = EpisodeTotals()
    while totals.operations < Self.operations {
      let episode = generator.next()
      do {
        try Episode(seed: episode).run(operations: 600, totals: &totals)
      } catch {
        Issue.record("SWERVE_TEST_SEED=\(Self.seed), episode \(episode): \(error)")
        return
      }
    }
    print("random operations: \(totals)")
    // The mechanisms ran.
    #expect(totals.requests > 5_000)
    #expect(totals.verified > 5_000)
    #expect(totals.truncated > 500)
    #expect(totals.preemptions > 500)
    #expect(totals.prefixHitTokens > 10_000)
    #expect(totals.failedSteps > 20)
    #expect(totals.missingSamples > 20)
    #expect(totals.resets > 200)
    #expect(totals.expired > 20)
    #expect(totals.draftTokens > 5_000)
    #expect(totals.acceptedTokens > 1_000)
    #expect(totals.movedToHost > 1_000 && totals.movedInBanks > 50)
    #expect(totals.movedToStore > 1_000)
    #expect(totals.storeReads > 1_000)
    #expect(totals.recoveries > 10)
    #expect(totals.parked > 50)
    #expect(totals.searches > 1_000 && totals.searchesEnded > 500)
    #expect(totals.copies > 2_000)
    #expect(totals.lostBanks > 1_000 && totals.lostInStep > 200 && totals.drainedBanks > 200)
    #expect(totals.recalled > 100)
    #expect(totals.spreadRows > 1_000, "\(totals)")
    #expect(totals.suspended > 200 && totals.resumed > 200 && totals.interrupted > 100, "\(totals)")
  }

  /// Histories that failed once: a block found that a lost step was to fill, and a prompt planned again in pieces.
  @Test(arguments: [15_782_097_817_423_338_840, 2_142_556_758_719_962_047] as [UInt64])
  func `what failed once`(episode: UInt64) throws {
    var totals = EpisodeTotals()
    try Episode(seed: episode).run(operations: 600, totals: &totals)
    #expect(totals.interrupted + totals.suspended > 0)
  }

  /// Who had made room already was to make room once more; and two choices took each other's only block for ever.
  @Test(
    arguments: [16_419_038_181_095_400_764, 9_038_375_381_784_965_370, 17_146_584_966_528_668_361] as [UInt64])
  func `what failed once with places below the device`(episode: UInt64) throws {
    var totals = EpisodeTotals()
    try Episode(seed: episode).run(operations: 600, totals: &totals)
    #expect(totals.movedToHost + totals.movedToStore > 0)
  }
}
