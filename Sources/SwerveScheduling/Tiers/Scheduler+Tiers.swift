import SwerveCore

// Reads: which blocks below the device a sequence waits for. All of it does nothing without tiers.
extension Scheduler {
  /// What is to be done below the device; the caller empties it.
  package var tierOrders: TierOrders {
    get { tiers?.orders ?? TierOrders() }
    _modify {
      if tiers == nil {
        var none = TierOrders()
        yield &none
      } else {
        yield &tiers!.orders
      }
    }
  }

  /// What moving a block and computing a token cost, in seconds: what `auto` preemption compares.
  package mutating func setTierCosts(secondsPerBlock: Double?, secondsPerToken: Double?) {
    tiers?.secondsPerBlock = secondsPerBlock
    tiers?.secondsPerToken = secondsPerToken
  }

  /// Asks for the blocks of sequences near the head of the queue, before they are admitted. O(lanes) when all were asked
  /// for.
  package mutating func collectReads(now: UInt64) {
    guard let rules = configuration.tiers, !waiting.isEmpty else { return }
    self.now = max(self.now, now)
    for lane in waiting.active {
      for position in 0..<min(waiting.lanes[Int(lane)].entries.count, 64) {
        if (tiers?.openReads ?? 0) >= rules.maxReads { return }
        let place = RequestQueue.Place(lane: lane, position: position)
        if waiting[place].read == nil { ask(place) }
      }
    }
  }

  private mutating func ask(_ place: RequestQueue.Place) {
    let entry = waiting[place]
    guard readsTiers(entry) else { return }
    let group = groups[entry.group]
    let known = findPrefix(of: entry)
    let limit = reusableBlocks(known)
    tiers?.nextRead += 1
    guard let id = tiers?.nextRead else { return }
    var read = TierRead(id: id, first: Int32(hits.count), ready: Int32(hits.count), progressed: now)
    if hits.count >= limit {
      read.isOpen = false
    } else {
      tiers?.openReads += 1
      let output = entry.preempted?.generated ?? []
      tiers?.orders.reads.append(
        ReadOrder(
          id: id, sequence: SequenceID(request: group.request, index: entry.key.choice), salt: group.salt,
          tokens: output.isEmpty ? group.prompt : group.prompt + output, first: hits.count, limit: limit,
          parent: hits.last, isSwapped: entry.preempted != nil))
    }
    waiting[place].read = read
  }

  /// Whether blocks below the device may serve an entry: its own ones that were swapped out, or, where it reads the
  /// cache and never ran, anybody's. A sequence that is to be recomputed never looks there.
  func readsTiers(_ entry: RequestQueue.Entry) -> Bool {
    guard tiers != nil else { return false }
    let group = groups[entry.group]
    guard let kept = entry.preempted else { return entry.key.choice == 0 && readsCache(entry, of: group) }
    // Log-probabilities of a prompt that are not all out need its rows.
    let needsPrompt = group.wantsPromptLogprobs && kept.generated.isEmpty && entry.key.choice == 0
    return kept.isSwapped && !needsPrompt
  }

  /// Takes over how far a read has come; nothing happens when it is over.
  package mutating func update(_ report: ReadReport) {
    if let slot = order.first(where: { running[Int($0.rawValue)].read?.id == report.id }) {
      let index = Int(slot.rawValue)
      if let read = running[index].read {
        running[index].read = updated(read, report, isExact: running[index].isForking)
      }
      return
    }
    guard let group = groups.index(of: report.sequence.request) else { return }
    var key = groups[group].key
    key.choice = report.sequence.index
    guard let place = waiting.place(of: key), let read = waiting[place].read, read.id == report.id else { return }
    waiting[place].read = updated(read, report, isExact: groups[group].sharesBlocks || groups[group].beams != nil)
  }

  /// `isExact`: the sequence shares its blocks with others of its request, and so takes nothing of a lower precision.
  private mutating func updated(_ old: TierRead, _ report: ReadReport, isExact: Bool) -> TierRead {
    var read = old
    if report.ready > Int(read.ready) { read.progressed = now }
    read.ready = Int32(report.ready)
    read.end = report.end.map { Int32($0) } ?? .max
    read.lossyFrom = report.lossyFrom.map { Int32($0) } ?? .max
    if isExact {
      read.end = min(read.end, read.lossyFrom)
      read.ready = min(read.ready, read.end)
      read.lossyFrom = .max
    }
    read.isStalled = report.isStalled
    if read.isOpen && read.ready >= read.end {
      read.isOpen = false
      tiers?.openReads -= 1
    }
    return read
  }

  /// Entries whose blocks are being fetched from below. O(running sequences), where anything is fetched
  var waitingReads: Int {
    guard let open = tiers?.openReads, open > 0 else { return 0 }
    return open - order.count { running[Int($0.rawValue)].read?.isOpen == true }
  }

  /// Nothing more of a read is wanted.
  mutating func end(_ read: TierRead?) {
    guard let read else { return }
    if read.isOpen { tiers?.openReads -= 1 }
    tiers?.orders.ended.append(read.id)
  }

  /// Whether an entry had better wait, for blocks below the device are on their way. The wait ends when all are there,
  /// when there is no room for more, or when nothing came for as long as the rules allow.
  mutating func awaitsTier(_ place: RequestQueue.Place) -> Bool {
    guard let rules = configuration.tiers else { return false }
    let entry = waiting[place]
    guard readsTiers(entry) else { return false }
    guard var read = entry.read else { return (tiers?.openReads ?? 0) < rules.maxReads }
    if read.considered == 0 {
      // Patience begins when there is something to be impatient for.
      read.considered = max(now, 1)
      waiting[place].read = read
    }
    let mustWait = read.isOpen && !(read.isStalled && read.ready > read.first) && isPatient(read, rules)
    if mustWait && !read.isStalled { return true }
    // The device may have less by now than when the blocks behind it were asked for, or more than has come from below: ask
    // again, from there on.
    _ = findPrefix(of: entry)
    let hasMore = read.isOpen && read.isStalled && hits.count > Int(read.ready)
    guard hits.count < Int(read.first) || hasMore, entry.restarts < 8 else { return mustWait && !hasMore }
    end(read)
    waiting[place].read = nil
    waiting[place].restarts += 1
    return true
  }

  private func isPatient(_ read: TierRead, _ rules: TierRules) -> Bool {
    let since = max(read.progressed, read.considered)
    return now <= since || now - since <= rules.patience
  }

  // MARK: Loading

  /// Blocks behind `hits` that can be loaded now, for an entry about to be admitted.
  func loadableBlocks(_ entry: RequestQueue.Entry, known: Int) -> Int {
    guard let read = entry.read, Int(read.first) <= hits.count else { return 0 }
    return max(0, min(Int(read.ready), reusableBlocks(known)) - hits.count)
  }

  /// Loads what has come for a running sequence, for one token of the budget a block, and answers whether it had better
  /// wait for more. Its read ends when it does not.
  mutating func continueLoading(_ slot: SlotID, _ budget: inout Int) -> Bool {
    guard let rules = configuration.tiers, let read = running[Int(slot.rawValue)].read else { return false }
    let index = Int(slot.rawValue)
    let size = Int32(configuration.blockSize)
    let limit = Int32(reusableBlocks(Int(running[index].knownTokens)))
    var position = running[index].computedTokens / size
    // What a stalled read holds is of no use to a sequence that is past it, and keeps others from theirs.
    let isPast = read.isStalled && position > read.ready
    // One that takes its blocks as it goes has none to load into.
    if running[index].computedTokens % size == 0, position >= read.first, !isPast, !running[index].isStreamed {
      let count = max(0, min(Int(min(read.ready, limit) - position), budget))
      load(slot, count)
      budget -= count
      position = running[index].computedTokens / size
      let rest = running[index].read ?? read
      if position < min(rest.ready, limit) { return true }
      let mayWait = budget == 0 || isPatient(rest, rules) && configuration.enableChunkedPrefill
      if position < limit && rest.isOpen && mayWait { return true }
    }
    end(read)
    running[index].read = nil
    return budget == 0
  }

  /// Fills the sequence's next blocks from below: their tokens count as computed. A block that the device has by now is
  /// shared instead; one that went through a lower precision stays the sequence's own, and so does all that follows it.
  mutating func load(_ slot: SlotID, _ count: Int) {
    let index = Int(slot.rawValue)
    guard count > 0, let read = running[index].read else { return }
    let isHit = running[index].preemptions == 0
    for _ in 0..<count {
      let position = running[index].computedTokens / Int32(configuration.blockSize)
      if position >= read.lossyFrom {
        running[index].isPrivate = true
        if !running[index].hasReadLossy { counters.lossySequences += 1 }
        running[index].hasReadLossy = true
      }
      running[index].computedTokens += Int32(configuration.blockSize)
      var target: BlockID? = tables[slot, Int(position)]
      // Behind a block that left the device nothing is sealed.
      let isNext = running[index].sealedBlocks == position
      if configuration.enablePrefixCaching, !running[index].isPrivate, isNext, !sealNext(slot) { target = nil }
      tiers?.orders.loads.append(BlockLoad(read: read.id, position: position, block: target, isHit: isHit))
      if isHit {
        running[index].cachedTokens += Int32(configuration.blockSize)
        groups[running[index].group].cachedTokens = running[index].cachedTokens
        if target == nil { counters.prefixHitTokens += configuration.blockSize }
      }
    }
    running[index].read?.progressed = now
    running[index].paidTokens = max(running[index].paidTokens, running[index].computedTokens)
  }

  /// What does not add up about reads, or nil.
  func tierViolation() -> String? {
    guard let tiers else { return nil }
    var open = 0
    for slot in order {
      guard let read = running[Int(slot.rawValue)].read else { continue }
      if running[Int(slot.rawValue)].remainingTokens == 1 { return "slot \(slot.rawValue) reads and needs no block" }
      if read.isOpen { open += 1 }
    }
    for (_, place) in waiting.places where waiting[place].read?.isOpen == true { open += 1 }
    return open == tiers.openReads ? nil : "\(open) reads are open, \(tiers.openReads) counted"
  }
}
