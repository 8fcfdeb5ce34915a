/// How long somebody who waits gives its core away (`sched_yield`) before it sleeps, where the one it waits for computes on
/// the same core: the core changes hands without anybody being woken. Measured: `Docs/decisions/0031`.
///
/// It must not wait so where others want the core too: each time it gives the core away may then last one of their slices,
/// while somebody who was woken is let in at once. So whoever moves says when, and two moves in a short while that are
/// noticed late end this for a second; so does a core that nobody takes, several times in a row. Nor where waits are
/// long: it would only be asked, once a slice, whether it goes on.
package struct TurnBudget: Sendable {
  package let isOn: Bool
  /// The last two waits. Nanoseconds.
  private var waits: (last: UInt64, before: UInt64) = (0, 0)
  /// Monotonic nanoseconds.
  private var notBefore: UInt64 = 0
  /// Waits that ended with the core given away, and moves that were noticed late.
  package private(set) var turnCount = 0
  package private(set) var lateCount = 0
  /// The turn that was noticed late last; long ago where none was.
  private var lastLate = -TurnBudget.mostBetween
  /// Times in a row that the core was given away for nothing.
  private var vainCount = 0

  /// Nanoseconds of a wait at most.
  static let most: UInt64 = 1_000_000
  /// Nanoseconds between a move and its notice, beyond which others must have had the core.
  static let late: UInt64 = 200_000
  /// Times in a row for nothing: somebody idle does it once, for nobody computes then.
  static let mostVain = 4
  /// Turns from one late notice to the next, within which nobody believes in chance: a virtual machine is late by itself
  /// now and then.
  static let mostBetween = 64
  /// Nanoseconds without turns after that.
  static let pause: UInt64 = 1_000_000_000

  /// - Parameter isOn: whether both sides keep to one core.
  package init(isOn: Bool = false) { self.isOn = isOn }

  /// Nanoseconds to give the core away for now.
  package func budget(now: UInt64) -> UInt64 {
    isOn && now >= notBefore && min(waits.last, waits.before) <= Self.most ? Self.most : 0
  }

  /// A wait has ended, however it was waited.
  package mutating func record(waited nanoseconds: UInt64) { waits = (nanoseconds, waits.last) }

  /// The core came back and the other side had moved. Both times are of one clock; what the other side says is not trusted.
  package mutating func noticed(at now: UInt64, moved: UInt64) {
    turnCount += 1
    vainCount = 0
    guard now > moved, now - moved > Self.late else { return }
    lateCount += 1
    if turnCount - lastLate < Self.mostBetween { notBefore = now + Self.pause }
    lastLate = turnCount
  }

  /// The core was given away and the other side has not moved.
  package mutating func failed(at now: UInt64) {
    vainCount += 1
    if vainCount < Self.mostVain { return }
    vainCount = 0
    notBefore = now + Self.pause
  }
}
