import SwerveCore

extension RequestQueue {
  /// The lane a request waits in, made when its tenant is new. `rule` is an index into `rules`.
  mutating func lane(tenant: UInt64, rule: Int32) -> Int32 {
    switch sharing {
    case .none: return 0
    case .classes: return rule
    case .tenants:
      if let known = laneOfTenant[tenant] {
        // A tenant that changes its class takes the new weight from here on.
        lanes[Int(known)].rule = rule
        lanes[Int(known)].cost = rules[Int(rule)].tokenCost
        return known
      }
      let lane = Lane(tenant: tenant, rule: rule, cost: rules[Int(rule)].tokenCost)
      let index: Int32
      if let free = freeLanes.popLast() {
        index = free
        lanes[Int(index)] = lane
      } else {
        index = Int32(lanes.count)
        lanes.append(lane)
      }
      laneOfTenant[tenant] = index
      return index
    }
  }

  /// `tokens` were computed for the lane.
  mutating func charge(_ lane: Int32, tokens: Int) {
    let index = Int(lane)
    lanes[index].service &+= UInt64(tokens) &* lanes[index].cost
    if lanes[index].service > highest { highest = lanes[index].service }
  }

  mutating func startedRunning(_ lane: Int32) {
    activate(lane)
    lanes[Int(lane)].running += 1
  }

  mutating func stoppedRunning(_ lane: Int32) {
    lanes[Int(lane)].running -= 1
    rest(lane)
  }

  // MARK: Coming and going

  /// A lane that had nothing is set to where the others are: being away earns no credit. O(active lanes), at most 256
  mutating func activate(_ lane: Int32) {
    let index = Int(lane)
    if lanes[index].activePlace >= 0 { return }
    lanes[index].service = max(lanes[index].service, leastService())
    lanes[index].activePlace = Int32(active.count)
    active.append(lane)
  }

  /// A lane that has nothing any more is forgotten as soon as others were served as much.
  mutating func rest(_ lane: Int32) {
    let index = Int(lane)
    if !lanes[index].entries.isEmpty || lanes[index].running > 0 || lanes[index].activePlace < 0 { return }
    let place = Int(lanes[index].activePlace)
    let last = active[active.count - 1]
    active[place] = last
    lanes[Int(last)].activePlace = Int32(place)
    active.removeLast()
    lanes[index].activePlace = -1
    if active.isEmpty { baseline = highest }
    guard sharing == .tenants else { return }
    if !lanes[index].isResting {
      lanes[index].isResting = true
      resting.append(lane)
    }
    forgetResting()
  }

  /// Looks at two resting lanes, so that the work of forgetting never comes at once and always comes.
  private mutating func forgetResting() {
    let least = leastService()
    for _ in 0..<min(2, resting.count) {
      let lane = resting.removeFirst()
      let index = Int(lane)
      if lanes[index].activePlace < 0 && lanes[index].service <= least && !lanes[index].isInHeap {
        laneOfTenant[lanes[index].tenant] = nil
        lanes[index].isResting = false
        freeLanes.append(lane)
      } else if lanes[index].activePlace < 0 {
        resting.append(lane)
      } else {
        lanes[index].isResting = false
      }
    }
  }

  /// The lowest counter of an active lane.
  private func leastService() -> UInt64 {
    if active.isEmpty { return baseline }
    // With many lanes, most of them wait, and the one at the top of the heap is (nearly) the one served least.
    if active.count > 256, let top = heap.first { return lanes[Int(top.lane)].service }
    var least = UInt64.max
    for lane in active { least = min(least, lanes[Int(lane)].service) }
    return least
  }

  // MARK: Who is next

  /// The lane whose turn it is, among those with entries that are not set aside; nil when there is none.
  mutating func nextLane() -> Int32? {
    switch sharing {
    case .none: return lanes[0].entries.isEmpty || lanes[0].isSetAside ? nil : 0
    case .classes: return nextClass()
    case .tenants: return nextTenant()
    }
  }

  /// The earliest deadline of a class within its lead, else the class that was served least. O(classes)
  private func nextClass() -> Int32? {
    var least = UInt64.max
    for lane in active where !lanes[Int(lane)].entries.isEmpty { least = min(least, lanes[Int(lane)].service) }
    let (limit, isFar) = least.addingReportingOverflow(UInt64(leadTokens) &* Self.unit)
    var bestDue: (due: UInt64, rank: Int32, lane: Int32)?
    var bestShare: (service: UInt64, rank: Int32, lane: Int32)?
    for lane in active {
      let index = Int(lane)
      guard !lanes[index].isSetAside, let head = lanes[index].entries.first else { continue }
      let rule = rules[Int(lanes[index].rule)]
      let rank = ranks[Int(lanes[index].rule)]
      let service = lanes[index].service
      if let target = rule.firstTokenTarget, isFar || service <= limit {
        let due = head.key.arrival &+ target
        if bestDue.map({ (due, rank) < ($0.due, $0.rank) }) ?? true { bestDue = (due, rank, lane) }
      }
      if bestShare.map({ (service, rank) < ($0.service, $0.rank) }) ?? true { bestShare = (service, rank, lane) }
    }
    return bestDue?.lane ?? bestShare?.lane
  }

  /// Whether a lane was served at most the lead more than another, for their weights.
  func isWithinLead(_ lane: Int32, of other: Int32) -> Bool {
    let (limit, isFar) = lanes[Int(other)].service.addingReportingOverflow(UInt64(leadTokens) &* Self.unit)
    return isFar || lanes[Int(lane)].service <= limit
  }

  /// The top of the heap, put right. O(log lanes), amortised over what was charged since.
  private mutating func nextTenant() -> Int32? {
    while let top = heap.first {
      let index = Int(top.lane)
      if lanes[index].entries.isEmpty || lanes[index].isSetAside {
        lanes[index].isInHeap = false
        popHeap()
      } else if lanes[index].service > top.service {
        heap[0].service = lanes[index].service
        siftDown(0)
      } else {
        return top.lane
      }
    }
    return nil
  }

  /// Not to be looked at until `endSettingAside`.
  mutating func setAside(_ lane: Int32, in list: inout [Int32]) {
    lanes[Int(lane)].isSetAside = true
    list.append(lane)
  }

  mutating func endSettingAside(_ list: inout [Int32]) {
    for lane in list {
      lanes[Int(lane)].isSetAside = false
      enterHeap(lane)
    }
    list.removeAll(keepingCapacity: true)
  }

  // MARK: Heap

  mutating func enterHeap(_ lane: Int32) {
    let index = Int(lane)
    if sharing != .tenants || lanes[index].isInHeap || lanes[index].entries.isEmpty { return }
    lanes[index].isInHeap = true
    heap.append(Candidate(service: lanes[index].service, lane: lane))
    var place = heap.count - 1
    while place > 0, precedes(heap[place], heap[(place - 1) / 2]) {
      heap.swapAt(place, (place - 1) / 2)
      place = (place - 1) / 2
    }
  }

  private mutating func popHeap() {
    heap.swapAt(0, heap.count - 1)
    heap.removeLast()
    siftDown(0)
  }

  private mutating func siftDown(_ start: Int) {
    var place = start
    while true {
      let left = 2 * place + 1
      let right = left + 1
      var least = place
      if left < heap.count && precedes(heap[left], heap[least]) { least = left }
      if right < heap.count && precedes(heap[right], heap[least]) { least = right }
      if least == place { return }
      heap.swapAt(place, least)
      place = least
    }
  }

  /// A total order, so that a run can be repeated.
  private func precedes(_ a: Candidate, _ b: Candidate) -> Bool { (a.service, a.lane) < (b.service, b.lane) }
}
