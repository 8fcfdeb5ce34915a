package import SwerveCore

/// The places below the device for blocks of running sequences, by number: who is free, who is held how often. Like
/// `BlockPool` without an order: what is free is forgotten.
package struct LowerPool: ~Copyable {
  package let ranges: BlockRanges
  /// Free ids of each kind, the next one last.
  private var freeHost: [Int32]
  private var freeOverflow: [Int32]
  /// [host and overflow places] holders.
  private var references: [Int32]

  package init(ranges: BlockRanges) {
    self.ranges = ranges
    freeHost = (ranges.deviceCount..<ranges.firstOverflow).reversed().map { Int32($0) }
    freeOverflow = (ranges.firstOverflow..<ranges.count).reversed().map { Int32($0) }
    references = [Int32](repeating: 0, count: ranges.count - ranges.deviceCount)
  }

  package var freeHostCount: Int { freeHost.count }
  package var freeOverflowCount: Int { freeOverflow.count }
  package var freeCount: Int { freeHost.count + freeOverflow.count }
  package var usedHostCount: Int { ranges.hostCount - freeHost.count }
  package var usedOverflowCount: Int { ranges.overflowCount - freeOverflow.count }

  package func referenceCount(of block: BlockID) -> Int { Int(references[place(block)]) }

  /// A place with one holder, in host memory where there is one; nil when none is free.
  package mutating func allocate(allowsOverflow: Bool) -> BlockID? {
    guard let id = freeHost.popLast() ?? (allowsOverflow ? freeOverflow.popLast() : nil) else { return nil }
    references[place(BlockID(rawValue: id))] = 1
    return BlockID(rawValue: id)
  }

  package mutating func retain(_ block: BlockID) {
    precondition(references[place(block)] > 0, "place \(block.rawValue) is free")
    references[place(block)] += 1
  }

  /// One holder less; the last one frees the place.
  package mutating func release(_ block: BlockID) {
    let place = place(block)
    precondition(references[place] > 0, "place \(block.rawValue) was released more often than retained")
    references[place] -= 1
    if references[place] > 0 { return }
    if ranges.isOverflow(block) { freeOverflow.append(block.rawValue) } else { freeHost.append(block.rawValue) }
  }

  private func place(_ block: BlockID) -> Int { Int(block.rawValue) - ranges.deviceCount }

  /// The first thing that does not add up, or nil. O(places)
  package func violation() -> String? {
    var seen = [Bool](repeating: false, count: references.count)
    for id in freeHost + freeOverflow {
      let place = Int(id) - ranges.deviceCount
      guard seen.indices.contains(place), !seen[place] else { return "place \(id) is free twice, or none" }
      seen[place] = true
      if references[place] != 0 { return "place \(id) is free and has \(references[place]) holders" }
    }
    for place in references.indices where !seen[place] && references[place] <= 0 {
      return "place \(place + ranges.deviceCount) is neither held nor free"
    }
    if freeHost.contains(where: { Int($0) >= ranges.firstOverflow })
      || freeOverflow.contains(where: { Int($0) < ranges.firstOverflow })
    {
      return "a place is free on the wrong tier"
    }
    return nil
  }
}
