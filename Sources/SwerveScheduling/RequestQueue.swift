import DequeModule
import SwerveCore

/// What waits for a slot, in the policy's order: requests whose choices have not all started, and preempted sequences.
///
/// Entering in arrival order and leaving at the front are O(1); finding an entry is O(log n); entering or leaving in
/// between moves what follows. An entry is about 80 bytes.
struct RequestQueue {
  struct Entry {
    /// Of the sequence; for a request that has not started all choices, of its next one.
    var key: SchedulingKey
    var group: Int32
    /// nil for a choice that never ran.
    var preempted: Preempted?
  }

  /// What a sequence keeps while it holds no slot.
  struct Preempted {
    var generated: [TokenID]
    var cachedTokens: Int32
    var preemptions: Int32
    var isAnnounced: Bool
  }

  let policy: any SchedulingPolicy
  private var entries = Deque<Entry>()

  init(policy: any SchedulingPolicy) { self.policy = policy }

  var count: Int { entries.count }
  var isEmpty: Bool { entries.isEmpty }

  subscript(position: Int) -> Entry {
    get { entries[position] }
    _modify { yield &entries[position] }
  }

  mutating func insert(_ entry: Entry) {
    if let last = entries.last, policy.isBefore(entry.key, last.key) {
      entries.insert(entry, at: position(notBefore: entry.key))
    } else {
      entries.append(entry)
    }
  }

  mutating func remove(at position: Int) {
    if position == 0 { entries.removeFirst() } else { entries.remove(at: position) }
  }

  /// Where the entry with this key stands.
  func position(of key: SchedulingKey) -> Int? {
    let position = position(notBefore: key)
    return position < entries.count && entries[position].key == key ? position : nil
  }

  /// First position whose entry does not precede `key`.
  private func position(notBefore key: SchedulingKey) -> Int {
    var low = 0
    var high = entries.count
    while low < high {
      let middle = (low + high) / 2
      if policy.isBefore(entries[middle].key, key) { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
