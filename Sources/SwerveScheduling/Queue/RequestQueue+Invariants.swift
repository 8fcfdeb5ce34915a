extension RequestQueue {
  /// Where every entry stands, by lane.
  var places: some Sequence<(lane: Int32, place: Place)> {
    lanes.indices.lazy.flatMap { lane in
      self.lanes[lane].entries.indices.lazy.map { (Int32(lane), Place(lane: Int32(lane), position: $0)) }
    }
  }

  /// The first thing that does not add up, or nil: lanes with work are active, once; tenants' lanes with entries stand
  /// in the heap; nobody is set aside between steps. O(lanes)
  func violation(running: [Int32]) -> String? {
    for (index, lane) in lanes.enumerated() {
      let name = "lane \(index)"
      if lane.running != running[index] { return "\(name): \(running[index]) sequences run, \(lane.running) counted" }
      let hasWork = !lane.entries.isEmpty || lane.running > 0
      if hasWork != (lane.activePlace >= 0) { return "\(name) has work: \(hasWork), and is active: \(!hasWork)" }
      if lane.activePlace >= 0, active[Int(lane.activePlace)] != Int32(index) { return "\(name) is not where it says" }
      if lane.isSetAside { return "\(name) is set aside between steps" }
      if sharing == .tenants && !lane.entries.isEmpty && !lane.isInHeap {
        return "\(name) waits and nobody looks at it"
      }
      if lane.service > highest { return "\(name) was served more than anyone" }
    }
    for candidate in heap where candidate.service > lanes[Int(candidate.lane)].service {
      return "lane \(candidate.lane) stands in the heap with more than it was served"
    }
    return nil
  }
}
