package import SwerveCore

/// Free cached blocks in the order in which their loss hurts least: GreedyDual (Young 1994; Cao and Irani 1997).
///
/// A block's score is its worth plus the score of the last block that was evicted when it was used last. So a block that
/// nobody uses is overtaken by fresh ones, sooner or later according to its worth; where all are worth the same, the
/// order is that of last use. In the heap are the blocks that may be evicted; a block that others follow only has its
/// score until they are gone.
///
/// A binary heap with the place of each block: O(log blocks), no allocation.
package struct EvictionHeap {
  /// The score of the last block evicted.
  private var floor = 0.0
  private var stamp: UInt64 = 0
  private var heap: [Int32] = []
  /// [blocks] place in the heap; `outside` when not in it.
  private var places: [Int32]
  /// [blocks] score and, between equals, when it was ranked.
  private var scores: [Double]
  private var stamps: [UInt64]
  /// [blocks] hits since the block was computed, at most 15.
  private var hits: [UInt8]

  private static let outside: Int32 = -1

  package init(blockCount: Int) {
    heap.reserveCapacity(blockCount)
    places = [Int32](repeating: Self.outside, count: blockCount)
    scores = [Double](repeating: 0, count: blockCount)
    stamps = [UInt64](repeating: 0, count: blockCount)
    hits = [UInt8](repeating: 0, count: blockCount)
  }

  package var count: Int { heap.count }
  package func contains(_ block: BlockID) -> Bool { places[Int(block.rawValue)] != Self.outside }
  package func score(of block: BlockID) -> Double { scores[Int(block.rawValue)] }

  /// A prompt found the block: it leaves the heap until it is free again.
  package mutating func hit(_ block: BlockID) {
    remove(block)
    hits[Int(block.rawValue)] = min(hits[Int(block.rawValue)] + 1, 15)
  }

  /// The block's content is gone, and what was known about it.
  package mutating func forget(_ block: BlockID) {
    remove(block)
    hits[Int(block.rawValue)] = 0
  }

  /// The block has no holder any more. `cost` is what computing it again would take; each hit so far makes losing it as
  /// much dearer.
  package mutating func rank(_ block: BlockID, cost: Double) {
    remove(block)
    let index = Int(block.rawValue)
    stamp += 1
    scores[index] = floor + cost * Double(1 + hits[index])
    stamps[index] = stamp
  }

  /// The ranked block may be evicted.
  package mutating func enter(_ block: BlockID) {
    if contains(block) { return }
    places[Int(block.rawValue)] = Int32(heap.count)
    heap.append(block.rawValue)
    rise(heap.count - 1)
  }

  /// Takes out the block whose loss hurts least.
  package mutating func popLeast() -> BlockID? {
    guard let least = heap.first else { return nil }
    floor = max(floor, scores[Int(least)])
    remove(BlockID(rawValue: least))
    return BlockID(rawValue: least)
  }

  private mutating func remove(_ block: BlockID) {
    let place = Int(places[Int(block.rawValue)])
    if place < 0 { return }
    places[Int(block.rawValue)] = Self.outside
    let last = heap.removeLast()
    if place == heap.count { return }
    heap[place] = last
    places[Int(last)] = Int32(place)
    rise(place)
    sink(Int(places[Int(last)]))
  }

  private func precedes(_ a: Int32, _ b: Int32) -> Bool {
    (scores[Int(a)], stamps[Int(a)]) < (scores[Int(b)], stamps[Int(b)])
  }

  private mutating func rise(_ start: Int) {
    var place = start
    while place > 0, precedes(heap[place], heap[(place - 1) / 2]) {
      exchange(place, (place - 1) / 2)
      place = (place - 1) / 2
    }
  }

  private mutating func sink(_ start: Int) {
    var place = start
    while true {
      var least = place
      for child in 2 * place + 1..<2 * place + 3 where child < heap.count && precedes(heap[child], heap[least]) {
        least = child
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

  /// The first block out of order, or nil. O(blocks)
  package func violation() -> String? {
    for place in heap.indices {
      if Int(places[Int(heap[place])]) != place { return "eviction heap: block \(heap[place]) is not at \(place)" }
      if place > 0 && precedes(heap[place], heap[(place - 1) / 2]) {
        return "eviction heap: block \(heap[place]) stands below one that is worth more"
      }
    }
    let listed = places.count { $0 != Self.outside }
    return listed == heap.count ? nil : "eviction heap: \(listed) blocks have places, \(heap.count) are in it"
  }
}
