import CSwervePlatform
import SwerveCore
import SwerveTransfer
import Synchronization
import Testing

/// Waiting by giving the core away.
@Suite struct TurnBudgetTests {
  private let second: UInt64 = 1_000_000_000
  private let begin: UInt64 = 50_000_000_000

  @Test func nobodyWhoHasACoreGivesItAway() {
    #expect(TurnBudget().budget(now: begin) == 0 && TurnBudget(isOn: true).budget(now: begin) > 0)
  }

  @Test func movesThatAreNoticedLateEndItForASecond() {
    var turns = TurnBudget(isOn: true)
    turns.noticed(at: begin, moved: begin - 5_000)
    #expect(turns.budget(now: begin) > 0 && turns.lateCount == 0)
    // Once in a while is chance.
    for _ in 0..<3 {
      turns.noticed(at: begin, moved: begin - 3_000_000)
      #expect(turns.budget(now: begin) > 0)
      for _ in 0..<64 { turns.noticed(at: begin, moved: begin - 5_000) }
    }
    // Somebody else has the core for a slice, and another one.
    for _ in 0..<2 { turns.noticed(at: begin, moved: begin - 3_000_000) }
    #expect(turns.budget(now: begin) == 0 && turns.budget(now: begin + second - 1) == 0)
    #expect(turns.budget(now: begin + second) > 0)
    #expect(turns.lateCount == 5)
    // What the other side's memory says may be anything.
    turns.noticed(at: begin + second, moved: .max)
    #expect(turns.budget(now: begin + second) > 0)
  }

  @Test func aCoreThatNobodyTakesIsKept() {
    var turns = TurnBudget(isOn: true)
    for round in 0..<3 {
      for _ in 0..<3 { turns.failed(at: begin) }
      #expect(turns.budget(now: begin) > 0, "round \(round)")
      turns.noticed(at: begin, moved: begin - 5_000)
    }
    for _ in 0..<4 { turns.failed(at: begin) }
    #expect(turns.budget(now: begin + second - 1) == 0 && turns.budget(now: begin + second) > 0)
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
    let answering = Worker {
      Self.keepToOneCore()
      let incoming = there.make(.receiver, turns: true)
      let outgoing = back.make(.sender, turns: true)
      for _ in 0..<count {
        guard let message = try? incoming.receive() else { return }
        let bytes = message.map { ~$0 }
        guard (try? incoming.release()) != nil, (try? sent(outgoing, bytes)) != nil else { return }
      }
    }
    let found = Mutex((answers: 0, turns: 0, end: ChannelError?.none))
    let asking = Worker {
      Self.keepToOneCore()
      let outgoing = there.make(.sender, turns: true)
      let incoming = back.make(.receiver, turns: true)
      var answers = 0
      do throws(ChannelError) {
        for index in 0..<count {
          let bytes = (0..<index % 64).map { UInt8(truncatingIfNeeded: $0 &+ index) }
          try outgoing.reserve(bytes.count).copyBytes(from: bytes)
          try outgoing.send(bytes.count)
          if Array(try incoming.receive()) == bytes.map({ ~$0 }) { answers += 1 }
          try incoming.release()
        }
        // Somebody who went away is noticed as ever.
        _ = try incoming.receive()
      } catch {
        found.withLock { $0 = (answers, incoming.turns.turnCount, error) }
      }
    }
    answering.wait()
    asking.wait()
    let (answers, turns, end) = found.withLock { $0 }
    #expect(answers == count && end == .closed(peer: "the writer"))
    #expect(turns > 0, "everybody slept")
  }

  /// The first one that this process may use.
  private static func keepToOneCore() {
    var cpus = [Int32](repeating: 0, count: 1024)
    guard swerve_allowed_cpus(&cpus, Int32(cpus.count)) > 0 else { return }
    swerve_thread_confine(&cpus, 1)
  }
}
