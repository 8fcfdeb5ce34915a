import DequeModule
import SwerveCore

/// Requests that have not run yet, oldest first: who has waited too long, and how long the oldest has.
///
/// Requests that started or left are dropped when they come to the front, or when they outnumber the others. Amortised
/// O(1) per request; 24 bytes each.
struct ArrivalLog {
  struct Entry {
    var arrival: UInt64
    var serial: UInt64
    var group: Int32
  }

  private var entries = Deque<Entry>()

  /// When the oldest waiting request arrived, as of the last `trim`.
  var oldest: UInt64? { entries.first?.arrival }

  mutating func append(arrival: UInt64, serial: UInt64, group: Int32) {
    entries.append(Entry(arrival: arrival, serial: serial, group: group))
  }

  /// Drops what no longer waits from the front, and from everywhere once most of the log is such.
  mutating func trim(_ groups: borrowing SequenceGroups) {
    while let first = entries.first, !Self.waits(first, groups) { entries.removeFirst() }
    if entries.count > 2 * groups.count + 64 {
      entries = Deque(entries.filter { Self.waits($0, groups) })
    }
  }

  /// The oldest, where it arrived at or before `moment`. Valid after `trim`.
  func expired(by moment: UInt64) -> Entry? { entries.first.flatMap { $0.arrival <= moment ? $0 : nil } }

  private static func waits(_ entry: Entry, _ groups: borrowing SequenceGroups) -> Bool {
    guard let group = groups.group(at: entry.group) else { return false }
    return group.key.serial == entry.serial && group.nextChoice == 0
  }
}
