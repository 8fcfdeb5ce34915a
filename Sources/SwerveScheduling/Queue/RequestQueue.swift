// What waits: lanes of requests and preempted sequences, who is next, and who waits longest.
// No blocks, no plans, no clock of its own. Start with RequestQueue, then RequestQueue+Sharing for several lanes.

import DequeModule
import SwerveCore

/// What waits for a slot: requests whose choices have not all started, and preempted sequences, in lanes.
///
/// Within a lane the policy's order is kept. Which lane is next is decided when somebody asks: with one lane there is
/// nothing to decide; otherwise the one that was served least for its weight. Entering in order and leaving at the front
/// are O(1) within a lane; finding an entry is O(log n); entering or leaving in between moves what follows. An entry is
/// about 80 bytes.
struct RequestQueue {
  struct Entry {
    /// Of the sequence; for a request that has not started all choices, of its next one.
    var key: SchedulingKey
    var group: Int32
    /// nil for a choice that never ran.
    var preempted: Preempted?
    /// Its blocks below the device, once they were asked for.
    var read: TierRead?
    /// How often they were asked for anew.
    var restarts: Int8 = 0
  }

  /// What a sequence keeps while it holds no slot.
  struct Preempted {
    var generated: [TokenID]
    var cachedTokens: Int32
    var preemptions: Int32
    var isAnnounced: Bool
    /// Tokens that were paid for: computing them again is free.
    var paidTokens: Int32
    /// How often a block of it was missing.
    var recoveries: Int32 = 0
    /// Output tokens there were then.
    var recoveredTokens: Int32 = 0
    /// Output tokens of all hypotheses of a beam search, as long as one another; `generated` are those of the first.
    var beams: [[TokenID]] = []
    /// Leading full blocks that all hypotheses have in common.
    var sharedBlocks: Int32 = 0
    /// Whether its blocks were copied below the device, or what became full of them, to be brought back.
    var isSwapped = false
    var hasReadLossy = false
  }

  /// Where an entry stands. Valid until the queue changes.
  struct Place: Hashable {
    var lane: Int32
    var position: Int
  }

  /// Counter units of one token at weight 1.
  static let unit: UInt64 = 1024

  let policy: any SchedulingPolicy
  let sharing: Sharing
  /// Classes in the order they were configured; requests name one by index.
  let rules: [ServiceRule]
  /// [classes] place of each class, the most protected first.
  let ranks: [Int32]
  /// Tokens that a class with a deadline may run ahead of its share, at weight 1.
  let leadTokens: Int

  var lanes: [Lane] = []
  /// Lane by tenant, while the lane exists.
  var laneOfTenant: [UInt64: Int32] = [:]
  var freeLanes: [Int32] = []
  /// Lanes with something waiting or running.
  var active: [Int32] = []
  /// Lanes without, that were served ahead of others and are remembered until those caught up.
  var resting = Deque<Int32>()
  /// Tenants' lanes with entries, by counter; counters only grow, so what stands here may be too low and is put right when
  /// it comes to the top.
  var heap: [Candidate] = []
  /// What a lane that starts from nothing is set to when no other is active, and the highest counter so far.
  var baseline: UInt64 = 0
  var highest: UInt64 = 0
  private(set) var count = 0
  /// Entries whose blocks are kept below the device.
  private(set) var keptCount = 0

  init(policy: any SchedulingPolicy, rules: [ServiceRule] = [], leadTokens: Int = 0) {
    self.policy = policy
    self.leadTokens = leadTokens
    sharing = (policy as? any SharingPolicy)?.sharing ?? .none
    self.rules = rules.isEmpty ? [ServiceRule()] : rules
    ranks = Self.ranks(of: self.rules)
    let fixedLanes = sharing == .classes ? self.rules.count : sharing == .none ? 1 : 0
    for index in 0..<fixedLanes { lanes.append(Lane(rule: Int32(index), cost: self.rules[index].tokenCost)) }
  }

  var isEmpty: Bool { count == 0 }

  subscript(place: Place) -> Entry {
    get { lanes[Int(place.lane)].entries[place.position] }
    _modify { yield &lanes[Int(place.lane)].entries[place.position] }
  }

  mutating func insert(_ entry: Entry) {
    let lane = entry.key.lane
    activate(lane)
    let index = Int(lane)
    if let last = lanes[index].entries.last, policy.isBefore(entry.key, last.key) {
      lanes[index].entries.insert(entry, at: position(notBefore: entry.key))
    } else {
      lanes[index].entries.append(entry)
    }
    count += 1
    if entry.preempted?.isSwapped == true { keptCount += 1 }
    enterHeap(lane)
  }

  mutating func remove(at place: Place) {
    let lane = Int(place.lane)
    if lanes[lane].entries[place.position].preempted?.isSwapped == true { keptCount -= 1 }
    if place.position == 0 {
      lanes[lane].entries.removeFirst()
    } else {
      lanes[lane].entries.remove(at: place.position)
    }
    count -= 1
    rest(place.lane)
  }

  /// Where the entry with this key stands.
  func place(of key: SchedulingKey) -> Place? {
    let entries = lanes[Int(key.lane)].entries
    let position = position(notBefore: key)
    return position < entries.count && entries[position].key == key ? Place(lane: key.lane, position: position) : nil
  }

  /// First position of the key's lane whose entry does not precede it.
  private func position(notBefore key: SchedulingKey) -> Int {
    let lane = Int(key.lane)
    var low = 0
    var high = lanes[lane].entries.count
    while low < high {
      let middle = (low + high) / 2
      if policy.isBefore(lanes[lane].entries[middle].key, key) { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
