import SwerveTransfer
import Synchronization
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

  @Test func theMachineIsLookedAtOnceASecond() {
    let isBusy = Atomic(true)
    let looks = Atomic(0)
    var spin = SpinBudget(threads: 3) { threads in
      looks.wrappingAdd(1, ordering: .relaxed)
      #expect(threads == 3)
      return isBusy.load(ordering: .relaxed)
    }
    for _ in 0..<5 { #expect(spin.budget(now: begin) == 0) }
    isBusy.store(false, ordering: .relaxed)
    #expect(spin.budget(now: begin + 999_999_999) == 0)
    #expect(spin.budget(now: begin + 1_000_000_000) == 1_000_000)
    #expect(looks.load(ordering: .relaxed) == 2)
  }

  @Test func waitsOfAStepAreSpunThroughAndLongOnesSlept() {
    var spin = SpinBudget(threads: 1, microseconds: 1000) { _ in false }
    #expect(spin.budget(now: begin) == 1_000_000)
    for _ in 0..<8 { spin.record(nanoseconds: 5_000_000) }
    #expect(spin.budget(now: begin) == 0)
    // A night without requests is forgotten as soon as a few milliseconds.
    spin.record(nanoseconds: 40_000_000_000_000)
    #expect(spin.budget(now: begin) == 0)
    for _ in 0..<4 { spin.record(nanoseconds: 100_000) }
    #expect(spin.budget(now: begin) == 1_000_000)
  }
}
