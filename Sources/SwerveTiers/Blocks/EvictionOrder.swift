/// Which block of a full tier goes first.
package enum EvictionPolicy: String, Sendable, Hashable, CaseIterable {
  /// The one not used for the longest time.
  case lru
  /// The one with the least reload cost per byte, aged: GreedyDual-Size (Cao and Irani, 1997). A block is worth
  /// `floor + cost / bytes` when it is used; `floor` is the worth of the last one evicted, so what is not used again sinks
  /// below what is, however costly it was.
  case cost
}

/// The blocks of a tier that may be evicted, in the order of a policy: a binary heap with a place for every entry.
///
/// Entries are small integers of the tier's own table. All operations are O(log n) and allocate only when an entry
/// number is larger than any before.
struct EvictionOrder {
  let policy: EvictionPolicy
  /// Entries, the one evicted first at 0.
  private var heap: [Int32] = []
  /// [entries] place in the heap, or -1.
  private var places: [Int32] = []
  /// [entries] what the entry is worth; the policy's key.
  private var worths: [Double] = []
  /// [entries] when it was last used, in uses. Breaks ties, so that the order is the same in every run.
  private var uses: [UInt64] = []
  private var clock: UInt64 = 0
  private var floor = 0.0

  init(policy: EvictionPolicy, capacity: Int = 0) {
    self.policy = policy
    heap.reserveCapacity(capacity)
    grow(to: capacity)
  }

  var count: Int { heap.count }
  var first: Int? { heap.first.map { Int($0) } }

  func contains(_ entry: Int) -> Bool { entry < places.count && places[entry] >= 0 }

  /// Marks the entry as used now and makes it (or keeps it) evictable when `isEvictable`.
  /// `costPerByte`: what a reload by other means costs, in any unit, by the entry's bytes.
  mutating func use(_ entry: Int, costPerByte: Double, isEvictable: Bool) {
    grow(to: entry + 1)
    clock += 1
    uses[entry] = clock
    worths[entry] = policy == .lru ? 0 : floor + costPerByte
    if places[entry] >= 0 {
      settle(Int(places[entry]))
    } else if isEvictable {
      insert(entry)
    }
  }

  /// Makes an entry evictable again, with the worth of its last use.
  mutating func insert(_ entry: Int) {
    precondition(places[entry] < 0, "the entry is evictable already")
    places[entry] = Int32(heap.count)
    heap.append(Int32(entry))
    settle(heap.count - 1)
  }

  /// Takes an entry out: it is pinned or gone.
  mutating func remove(_ entry: Int) {
    guard contains(entry) else { return }
    let place = Int(places[entry])
    places[entry] = -1
    let last = heap.removeLast()
    if place < heap.count {
      heap[place] = last
      places[Int(last)] = Int32(place)
      settle(place)
    }
  }

  /// Takes out the entry that goes first, and ages the others.
  mutating func removeFirst() -> Int? {
    guard let entry = first else { return nil }
    floor = max(floor, worths[entry])
    remove(entry)
    return entry
  }

  private mutating func grow(to count: Int) {
    while places.count < count {
      places.append(-1)
      worths.append(0)
      uses.append(0)
    }
  }

  private func precedes(_ a: Int32, _ b: Int32) -> Bool {
    let (a, b) = (Int(a), Int(b))
    return worths[a] != worths[b] ? worths[a] < worths[b] : uses[a] < uses[b]
  }

  /// Moves the entry at a place up or down until the heap holds.
  private mutating func settle(_ start: Int) {
    var place = start
    while place > 0, precedes(heap[place], heap[(place - 1) / 2]) {
      exchange(place, (place - 1) / 2)
      place = (place - 1) / 2
    }
    while true {
      var least = place
      for child in (2 * place + 1)...(2 * place + 2) where child < heap.count {
        if precedes(heap[child], heap[least]) { least = child }
      }
      if least == place { return }
      exchange(place, least)
      place = least
    }
  }

  private mutating func exchange(_ a: Int, _ b: Int) {
    heap.swapAt(a, b)
    places[Int(heap[a])] = Int32(a)
    places[Int(heap[b])] = Int32(b)
  }

  /// What is wrong with the heap, or nil.
  func violation() -> String? {
    for place in heap.indices {
      if places[Int(heap[place])] != place { return "entry \(heap[place]) does not know its place \(place)" }
      if place > 0, precedes(heap[place], heap[(place - 1) / 2]) { return "place \(place) precedes its parent" }
    }
    let known = places.count { $0 >= 0 }
    return known == heap.count ? nil : "\(known) entries have a place among \(heap.count)"
  }
}
