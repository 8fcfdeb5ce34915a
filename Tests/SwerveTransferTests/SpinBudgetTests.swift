import SwerveTransfer
import Testing

/// Waiting by looking.
@Suite struct SpinBudgetTests {
  private let begin: UInt64 = 50_000_000_000

  @Test func nobodySpinsOnCoresThatAreShared() {
    var shared = SpinBudget(threads: .max)
    #expect(shared.budget(now: begin) == 0)
    shared.record(nanoseconds: 10)
    #expect(shared.budget(now: begin + 2_000_000_000) == 0)
    var none = SpinBudget(threads: 1, microseconds: 0)
    #expect(none.budget(now: begin) == 0)
  }

  /// A machine with other work never spins; that is for the ones above.
  @Test func waitsOfAStepAreSpunThroughAndLongOnesSlept() {
    var spin = SpinBudget(threads: 1, microseconds: 1000)
    let most = spin.budget(now: begin)
    #expect(most == 0 || most == 1_000_000)
    for _ in 0..<8 { spin.record(nanoseconds: 5_000_000) }
    #expect(spin.budget(now: begin) == 0)
    // A night without requests is forgotten as soon as a few milliseconds.
    spin.record(nanoseconds: 40_000_000_000_000)
    #expect(spin.budget(now: begin) == 0)
    for _ in 0..<4 { spin.record(nanoseconds: 100_000) }
    #expect(spin.budget(now: begin) == most)
  }
}
