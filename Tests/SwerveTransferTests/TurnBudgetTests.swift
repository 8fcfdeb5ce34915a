import SwerveCore
import SwerveTransfer
import Testing

/// Waiting by giving the core away.
@Suite struct TurnBudgetTests {
  private let second: UInt64 = 1_000_000_000
  private let begin: UInt64 = 50_000_000_000

  @Test func nobodyWhoHasACoreGivesItAway() {
    #expect(TurnBudget().budget(now: begin) == 0 && TurnBudget(isOn: true).budget(now: begin) > 0)
  }

  @Test func aMoveThatIsNoticedLateEndsItForASecond() {
    var turns = TurnBudget(isOn: true)
    turns.noticed(at: begin, moved: begin - 5_000)
    #expect(turns.budget(now: begin) > 0 && turns.lateCount == 0)
    // Somebody else had the core for a slice.
    turns.noticed(at: begin, moved: begin - 3_000_000)
    #expect(turns.budget(now: begin) == 0 && turns.budget(now: begin + second - 1) == 0)
    #expect(turns.budget(now: begin + second) > 0)
    #expect(turns.turnCount == 2 && turns.lateCount == 1)
    // What the other side's memory says may be anything.
    turns.noticed(at: begin + second, moved: .max)
    #expect(turns.budget(now: begin + second) > 0)
  }

  @Test func longWaitsAreSleptThrough() {
    var turns = TurnBudget(isOn: true)
    // One between two steps is none of them.
    for waited in [20_000, 20_000, 30_000_000, 20_000] as [UInt64] {
      turns.record(waited: waited)
      #expect(turns.budget(now: begin) > 0)
    }
    for _ in 0..<2 { turns.record(waited: 5_000_000) }
    #expect(turns.budget(now: begin) == 0)
    turns.record(waited: 20_000)
    #expect(turns.budget(now: begin) > 0)
  }

  @Test func messagesTakeTurnsToAndFro() throws {
    let (there, back) = (try ChannelPair(capacity: 64), try ChannelPair(capacity: 64))
    let count = 2000
    let other = Worker {
      let incoming = there.make(.receiver, turns: true)
      let outgoing = back.make(.sender, turns: true)
      for _ in 0..<count {
        guard let message = try? incoming.receive() else { return }
        let bytes = message.map { ~$0 }
        guard (try? incoming.release()) != nil, (try? sent(outgoing, bytes)) != nil else { return }
      }
    }
    let outgoing = there.make(.sender, turns: true)
    let incoming = back.make(.receiver, turns: true)
    for index in 0..<count {
      let bytes = (0..<index % 64).map { UInt8(truncatingIfNeeded: $0 &+ index) }
      try sent(outgoing, bytes)
      #expect(Array(try incoming.receive()) == bytes.map { ~$0 })
      try incoming.release()
    }
    other.wait()
    #expect(incoming.turns.turnCount > 0, "\(incoming.turns)")
    // Somebody who went away is noticed as ever.
    #expect(throws: ChannelError.closed(peer: "the writer")) { _ = try incoming.receive() }
  }
}
