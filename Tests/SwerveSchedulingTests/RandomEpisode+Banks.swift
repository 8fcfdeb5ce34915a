import SwerveCore
import SwerveScheduling

// Banks come and go as the workers behind them do.
extension Episode {
  var openBanks: [Int] { (0..<numbers.bankCount).filter { harness.scheduler.isOpen($0) } }

  /// Some bank loses its content, takes no more, or has memory again; one stays open.
  func changeBank(_ totals: inout EpisodeTotals) throws {
    let bank = Int.random(in: 0..<numbers.bankCount, using: &generator)
    switch harness.scheduler.banks.states[bank] {
    case .closed:
      harness.scheduler.open(bank: bank)
    case .draining:
      if harness.scheduler.sequenceCount(in: bank) == 0 { totals.drainedBanks += 1 }
      close(bank, &totals)
    case .suspended:
      close(bank, &totals)
    case .open:
      guard openBanks.count > 1 else { return }
      if generator.chance(50) { harness.scheduler.drain(bank: bank) } else { close(bank, &totals) }
    }
    try harness.check()
  }

  /// Workers come back to what their predecessors left.
  func resumeBanks(_ totals: inout EpisodeTotals) {
    for bank in 0..<numbers.bankCount where harness.scheduler.isSuspended(bank: bank) && generator.chance(30) {
      harness.scheduler.resume(bank: bank)
      totals.resumed += 1
    }
  }

  func close(_ bank: Int, _ totals: inout EpisodeTotals) {
    totals.recalled += harness.scheduler.close(bank: bank)
    totals.lostBanks += 1
    harness.runner.forget(bank: bank)
  }

  /// A worker breaks while it computes: nothing of the step counts for its sequences.
  func loseBankInStep(_ totals: inout EpisodeTotals) {
    guard openBanks.count > 1, let bank = openBanks.randomElement(using: &generator) else { return }
    let size = numbers.bankBlocks
    let first = Int32(bank * size)
    for (index, step) in harness.plan.sequences.enumerated() where step.blockCount > 0 {
      let own = harness.plan.blocks[Int(step.firstBlock)..<Int(step.firstBlock + step.blockCount)]
      guard own.contains(where: { (first..<first + Int32(size)).contains($0.rawValue) }) else { continue }
      harness.result.samples.removeAll { $0.sequenceIndex == Int32(index) }
      if !harness.result.incomplete.contains(Int32(index)) { harness.result.incomplete.append(Int32(index)) }
    }
    harness.result.incomplete.sort()
    broken = bank
    totals.lostInStep += 1
  }

  func closeBroken(_ totals: inout EpisodeTotals) {
    guard let bank = broken else { return }
    broken = nil
    close(bank, &totals)
  }

  func openAllBanks() {
    for bank in 0..<numbers.bankCount where !harness.scheduler.isOpen(bank) {
      harness.scheduler.close(bank: bank)
      harness.runner.forget(bank: bank)
      harness.scheduler.open(bank: bank)
    }
  }
}
