/// Merges the symbols of one word by rank (Sennrich et al., https://arxiv.org/abs/1508.07909): always the lowest rank,
/// the leftmost among equals. Buffers are kept between words, so that a word allocates nothing.
///
/// Short words look for the lowest rank by scanning; longer ones keep a heap, which makes any word cost n log n.
struct MergeRun: ~Copyable {
  /// The symbols of the word; after `merge` its tokens.
  private(set) var symbols: [Int32] = []
  private var merges: [MergeTable.Merge] = []
  private var next: [Int32] = []
  private var previous: [Int32] = []
  private var heap: [UInt64] = []

  private static let scanLimit = 24

  mutating func begin() { symbols.removeAll(keepingCapacity: true) }

  @inline(__always)
  mutating func add(_ symbol: Int32) { symbols.append(symbol) }

  mutating func merge(with table: borrowing MergeTable) {
    if symbols.count < 2 { return }
    if symbols.count <= Self.scanLimit { mergeByScanning(table) } else { mergeByHeap(table) }
  }

  private mutating func mergeByScanning(_ table: borrowing MergeTable) {
    merges.removeAll(keepingCapacity: true)
    for place in 0..<symbols.count - 1 { merges.append(table.merge(symbols[place], symbols[place + 1])) }
    // Out of self for the loop: two unchecked views of one struct's fields may not be open together.
    var (allSymbols, allMerges): ([Int32], [MergeTable.Merge]) = ([], [])
    swap(&allSymbols, &symbols)
    swap(&allMerges, &merges)
    var count = allSymbols.count
    allSymbols.withUnsafeMutableBufferPointer { symbols in
      allMerges.withUnsafeMutableBufferPointer { merges in
        while count > 1 {
          var best = 0
          var rank = merges[0].rank
          for place in 1..<max(1, count - 1) where merges[place].rank < rank {
            rank = merges[place].rank
            best = place
          }
          if rank == .max { break }
          symbols[best] = merges[best].result
          // Close the gap: the symbol at best + 1 goes, and with it the merge that stood there.
          if best + 2 < count {
            for place in best + 1..<count - 1 { symbols[place] = symbols[place + 1] }
            for place in best + 1..<count - 2 { merges[place] = merges[place + 1] }
          }
          count -= 1
          if best > 0 { merges[best - 1] = table.merge(symbols[best - 1], symbols[best]) }
          if best + 1 < count { merges[best] = table.merge(symbols[best], symbols[best + 1]) }
        }
      }
    }
    allSymbols.removeSubrange(count...)
    swap(&allSymbols, &symbols)
    swap(&allMerges, &merges)
  }

  private mutating func mergeByHeap(_ table: borrowing MergeTable) {
    let count = symbols.count
    merges.removeAll(keepingCapacity: true)
    next.removeAll(keepingCapacity: true)
    previous.removeAll(keepingCapacity: true)
    heap.removeAll(keepingCapacity: true)
    for place in 0..<count {
      next.append(Int32(place + 1))
      previous.append(Int32(place - 1))
      let merge =
        place + 1 < count
        ? table.merge(symbols[place], symbols[place + 1]) : MergeTable.Merge(rank: .max, result: -1)
      merges.append(merge)
      if merge.rank != .max { heap.append(Self.entry(merge.rank, place)) }
    }
    if heap.count > 1 { for place in stride(from: heap.count / 2 - 1, through: 0, by: -1) { siftDown(place) } }
    while let top = heap.first {
      let place = Int(top & 0xFFFF_FFFF)
      let rank = Int32(truncatingIfNeeded: top >> 32)
      // The pair may have changed since it was pushed: then its merge has another rank, or its symbol is gone.
      guard symbols[place] >= 0, merges[place].rank == rank else {
        pop()
        continue
      }
      let right = Int(next[place])
      symbols[place] = merges[place].result
      symbols[right] = -1
      let after = Int(next[right])
      next[place] = Int32(after)
      merges[place] = MergeTable.Merge(rank: .max, result: -1)
      pop()
      if after < count {
        previous[after] = Int32(place)
        update(place, after, table)
      }
      if previous[place] >= 0 { update(Int(previous[place]), place, table) }
    }
    var kept = 0
    for place in 0..<count where symbols[place] >= 0 {
      symbols[kept] = symbols[place]
      kept += 1
    }
    symbols.removeSubrange(kept...)
  }

  private mutating func update(_ left: Int, _ right: Int, _ table: borrowing MergeTable) {
    let merge = table.merge(symbols[left], symbols[right])
    merges[left] = merge
    guard merge.rank != .max else { return }
    heap.append(Self.entry(merge.rank, left))
    siftUp(heap.count - 1)
  }

  private static func entry(_ rank: Int32, _ place: Int) -> UInt64 {
    UInt64(UInt32(bitPattern: rank)) << 32 | UInt64(place)
  }

  // MARK: The heap, smallest on top

  private mutating func pop() {
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      siftDown(0)
    }
  }

  private mutating func siftUp(_ start: Int) {
    var place = start
    let item = heap[place]
    while place > 0 {
      let parent = (place - 1) / 2
      if heap[parent] <= item { break }
      heap[place] = heap[parent]
      place = parent
    }
    heap[place] = item
  }

  private mutating func siftDown(_ start: Int) {
    var place = start
    let item = heap[place]
    while true {
      var child = 2 * place + 1
      if child >= heap.count { break }
      if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
      if heap[child] >= item { break }
      heap[place] = heap[child]
      place = child
    }
    heap[place] = item
  }
}
