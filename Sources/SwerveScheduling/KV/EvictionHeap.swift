package import SwerveCore

/// Free cached blocks in the order in which their loss hurts least: GreedyDual (Young 1994; Cao and Irani 1997).
///
/// A block's score is its worth plus the score of the last block that was evicted when it was used last. So a block that
/// nobody uses is overtaken by fresh ones, sooner or later according to its worth; where all are worth the same, the
/// order is that of last use. In the heap are the blocks that may be evicted; a block that others follow only has its
/// score until they are gone.
///
/// A binary heap a bank of the pool, with the place of each block: O(log blocks), no allocation.
package struct EvictionHeap {
  /// Blocks of a bank.
  private let bankBlocks: Int
  /// [banks] the score of the last block evicted.
  private var floors: [Double]
  private var stamp: UInt64 = 0
  /// [banks]
  private var heaps: [[Int32]]
  /// [blocks] place in its bank's heap; `outside` when not in it.
  private var places: [Int32]
  /// [blocks] score and, between equals, when it was ranked.
  private var scores: [Double]
  private var stamps: [UInt64]
  /// [blocks] hits since the block was computed, at most 15.
  private var hits: [UInt8]

  private static let outside: Int32 = -1

  /// - Precondition: `banks` divides `blockCount`.
  package init(blockCount: Int, banks: Int = 1) {
    precondition(banks > 0 && blockCount % banks == 0, "\(blockCount) blocks cannot be cut into \(banks) banks")
    bankBlocks = max(blockCount / banks, 1)
    floors = [Double](repeating: 0, count: banks)
    heaps = [[Int32]](repeating: [], count: banks)
    for bank in 0..<banks { heaps[bank].reserveCapacity(bankBlocks) }
    places = [Int32](repeating: Self.outside, count: blockCount)
    scores = [Double](repeating: 0, count: blockCount)
    stamps = [UInt64](repeating: 0, count: blockCount)
    hits = [UInt8](repeating: 0, count: blockCount)
  }

  package var count: Int { heaps.reduce(0) { $0 + $1.count } }
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
    scores[index] = floors[index / bankBlocks] + cost * Double(1 + hits[index])
    stamps[index] = stamp
  }

  /// The ranked block may be evicted.
  package mutating func enter(_ block: BlockID) {
    if contains(block) { return }
    let bank = Int(block.rawValue) / bankBlocks
    places[Int(block.rawValue)] = Int32(heaps[bank].count)
    heaps[bank].append(block.rawValue)
    rise(heaps[bank].count - 1, bank)
  }

  /// Takes out the block of a bank whose loss hurts least.
  package mutating func popLeast(in bank: Int = 0) -> BlockID? {
    guard let least = heaps[bank].first else { return nil }
    floors[bank] = max(floors[bank], scores[Int(least)])
    remove(BlockID(rawValue: least))
    return BlockID(rawValue: least)
  }

  private mutating func remove(_ block: BlockID) {
    let place = Int(places[Int(block.rawValue)])
    if place < 0 { return }
    places[Int(block.rawValue)] = Self.outside
    let bank = Int(block.rawValue) / bankBlocks
    let last = heaps[bank].removeLast()
    if place == heaps[bank].count { return }
    heaps[bank][place] = last
    places[Int(last)] = Int32(place)
    rise(place, bank)
    sink(Int(places[Int(last)]), bank)
  }

  private func precedes(_ a: Int32, _ b: Int32) -> Bool {
    (scores[Int(a)], stamps[Int(a)]) < (scores[Int(b)], stamps[Int(b)])
  }

  private mutating func rise(_ start: Int, _ bank: Int) {
    var place = start
    while place > 0, precedes(heaps[bank][place], heaps[bank][(place - 1) / 2]) {
      exchange(place, (place - 1) / 2, bank)
      place = (place - 1) / 2
    }
  }

  private mutating func sink(_ start: Int, _ bank: Int) {
    var place = start
    while true {
      var least = place
      for child in 2 * place + 1..<2 * place + 3
      where child < heaps[bank].count && precedes(heaps[bank][child], heaps[bank][least]) {
        least = child
      }
      if least == place { return }
      exchange(place, least, bank)
      place = least
    }
  }

  private mutating func exchange(_ a: Int, _ b: Int, _ bank: Int) {
    heaps[bank].swapAt(a, b)
    places[Int(heaps[bank][a])] = Int32(a)
    places[Int(heaps[bank][b])] = Int32(b)
  }

  /// The first block out of order, or nil. O(blocks)
  package func violation() -> String? {
    for (bank, heap) in heaps.enumerated() {
      for place in heap.indices {
        if Int(places[Int(heap[place])]) != place { return "eviction heap: block \(heap[place]) is not at \(place)" }
        if Int(heap[place]) / bankBlocks != bank { return "eviction heap: block \(heap[place]) is in bank \(bank)" }
        if place > 0 && precedes(heap[place], heap[(place - 1) / 2]) {
          return "eviction heap: block \(heap[place]) stands below one that is worth more"
        }
      }
    }
    let listed = places.count { $0 != Self.outside }
    return listed == count ? nil : "eviction heap: \(listed) blocks have places, \(count) are in it"
  }
}
