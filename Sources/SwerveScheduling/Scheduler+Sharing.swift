package import SwerveCore

// What tenants, classes and deadlines change about a step. With one lane all of it does nothing.
extension Scheduler {
  /// `schedule(into:)` at a moment of the clock that arrivals are told on. First ends requests that waited for their
  /// first step longer than the queue timeout; they are reported in `expired`, oldest first.
  package mutating func schedule(into plan: inout StepPlan, now: UInt64, expired: inout [RequestID]) {
    self.now = now
    expired.removeAll(keepingCapacity: true)
    arrivals.trim(groups)
    if let timeout = configuration.queueTimeout, now >= timeout {
      while let late = arrivals.expired(by: now - timeout) {
        let request = groups[late.group].request
        expired.append(request)
        cancel(request: request)
        arrivals.trim(groups)
      }
    }
    schedule(into: &plan)
    arrivals.trim(groups)
  }

  /// Tells how long the last step took: where classes were promised a time between tokens, the next ones are cut to it.
  package mutating func observeStep(rows: Int, nanoseconds: UInt64) {
    if waiting.sharing == .classes { pace.observe(rows: rows, nanoseconds: nanoseconds) }
  }

  /// Tokens computed for each service class so far, in units of 1/1024 token over the class's weight, by class index.
  /// Empty unless classes share the machine.
  package var classService: [UInt64] {
    waiting.sharing == .classes ? waiting.lanes.map(\.service) : []
  }

  // MARK: Charging

  /// The sequence's first `tokens` tokens are computed after this step: what was not paid for is charged to its lane.
  mutating func charge(_ slot: Int, upTo tokens: Int32) {
    if waiting.sharing == .none { return }
    let unpaid = tokens - running[slot].paidTokens
    if unpaid <= 0 { return }
    running[slot].paidTokens = tokens
    waiting.charge(running[slot].key.lane, tokens: Int(unpaid))
  }

  // MARK: Victims

  /// Where tenants share and blocks are short: sends sequences of whoever was served most back to the queue, each
  /// tenant's last one first, until the others have the blocks they need in this step. Answers whether it sent any.
  mutating func relieveTenants(_ plan: inout StepPlan) -> Bool {
    guard waiting.sharing == .tenants else { return false }
    var preemptedAny = false
    for bank in 0..<pool.bankCount {
      while hasLowerPlaces && growth(in: bank) > pool.freeCount(in: bank) && moveOne(from: bank, in: &plan) {}
      while hasCompany(in: bank) && growth(in: bank) > pool.freeCount(in: bank) {
        guard var victim = order.last(where: { holds($0, in: bank) }) else { break }
        for slot in order.reversed() where holds(slot, in: bank) && served(slot) > served(victim) {
          victim = slot
        }
        preempt(victim)
        preemptedAny = true
      }
    }
    return preemptedAny
  }

  /// Whether something can be sent back and something is left. A beam search goes as a whole.
  private func hasCompany(in bank: Int) -> Bool {
    guard let first = order.first(where: { holds($0, in: bank) }) else { return false }
    let sequence = running[Int(first.rawValue)]
    let alone = sequence.isBeam ? Int(groups[sequence.group].running) : 1
    return (pool.bankCount == 1 ? order.count : order.count { holds($0, in: bank) }) > alone
  }

  private func served(_ slot: SlotID) -> UInt64 {
    waiting.lanes[Int(running[Int(slot.rawValue)].key.lane)].service
  }

  /// Where it is the turn of a class that may preempt and its next sequence does not fit: sends the last sequences of
  /// lower classes back to the queue, if that makes it fit and leaves the others the blocks they need in this step. Never
  /// those of a class that it is further ahead of than its lead, or that class would start over for ever.
  mutating func makeRoom() {
    preferredLane = nil
    guard waiting.sharing == .classes, let lane = waiting.nextLane(), rule(of: lane).preempts, mayGrow(lane) else {
      return
    }
    let entry = waiting[RequestQueue.Place(lane: lane, position: 0)]
    if awaitsSibling(entry) || awaitsTier(RequestQueue.Place(lane: lane, position: 0)) || awaitsPrefix(entry)
      || !mayHold(entry)
    {
      return
    }
    let taken = blocksToAdmit(entry).taken
    // What needs several banks waits until they have room.
    if configuration.spansBanks && stretchCount(entry) > 1 { return }
    let bank = banks.chosen
    let needed = taken + configuration.watermarkBlocks + growth(in: bank)
    var missing = needed - pool.freeCount(in: bank)
    var missingSlots = Int(groups[entry.group].beams?.width ?? 1) - freeSlots.count
    if missing <= 0 && missingSlots <= 0 || !mayAdmit(entry, to: bank) { return }
    var victims: [SlotID] = []
    for slot in order.reversed() {
      if missingSlots <= 0 && missing <= 0 { break }
      // One of another bank makes room for nobody here.
      if missing > 0 && !holds(slot, in: bank) { continue }
      let victim = running[Int(slot.rawValue)].key
      guard victim.rank > entry.key.rank, waiting.isWithinLead(lane, of: victim.lane) else { return }
      // Blocks that the newcomer will hold itself do not become room.
      for position in 0..<tables.count(slot)
      where configuration.ranges.isOnDevice(tables[slot, position])
        && pool.bank(of: tables[slot, position]) == bank && pool.referenceCount(of: tables[slot, position]) == 1
        && !(position < hits.count && hits[position] == tables[slot, position])
      {
        missing -= 1
      }
      missingSlots -= 1
      victims.append(slot)
    }
    if missing > 0 || missingSlots > 0 { return }
    // Of a beam search all go with the first.
    for slot in victims where running[Int(slot.rawValue)].isActive { preempt(slot) }
    preferredLane = lane
  }

  /// Blocks that the bank's running sequences take in this step.
  private func growth(in bank: Int) -> Int {
    var blocks = 0
    for slot in order {
      let sequence = running[Int(slot.rawValue)]
      guard sequence.remainingTokens == 1, bankNeeded(by: slot) == bank else { continue }
      let needed = configuration.blocks(for: Int(sequence.knownTokens))
      // A fresh block, or a copy of one that others hold (all but the last of whom need one: at most one too many).
      if tables.count(slot) < needed || pool.referenceCount(of: tables[slot, needed - 1]) > 1 { blocks += 1 }
    }
    return blocks
  }

  // MARK: Limits of a class

  private func rule(of lane: Int32) -> ServiceRule { waiting.rules[Int(waiting.lanes[Int(lane)].rule)] }

  /// Whether one more sequence of the lane may run: its class's share of the slots, and what the promised time between
  /// tokens leaves. The first one of a lane always may.
  func mayGrow(_ lane: Int32) -> Bool {
    guard waiting.sharing == .classes else { return true }
    let runs = Int(waiting.lanes[Int(lane)].running)
    if runs == 0 { return true }
    let rule = rule(of: lane)
    if Double(runs + 1) > rule.maxShare * Double(configuration.maxSequences) { return false }
    guard let limit = pacedSequences(above: waiting.ranks[Int(waiting.lanes[Int(lane)].rule)]) else { return true }
    if order.count < limit { return true }
    // The class's own part of the limit stays its own, or the classes above could keep it out for ever.
    let total = waiting.rules.reduce(0) { $0 + $1.weight }
    return Double(runs + 1) <= Double(limit) * rule.weight / total
  }

  /// Sequences that may decode within the shortest time promised to a class above `rank`; nil without such a promise, or
  /// before anything is known.
  private func pacedSequences(above rank: Int32) -> Int? {
    guard let target = tokenTarget(above: rank, running: false) else { return nil }
    return pace.rows(within: target)
  }

  /// The shortest promised time between tokens of a class above `rank`, of those that run where `running`.
  private func tokenTarget(above rank: Int32, running isRunning: Bool) -> UInt64? {
    var shortest: UInt64?
    for (index, rule) in waiting.rules.enumerated() where waiting.ranks[index] < rank {
      guard let target = rule.tokenTarget, !isRunning || waiting.lanes[index].running > 0 else { continue }
      shortest = min(shortest ?? .max, target)
    }
    return shortest
  }

  /// Whether the entry's class may hold the blocks it needs, cached or not. The class's first sequence always may.
  /// O(running sequences)
  func mayHold(_ entry: RequestQueue.Entry) -> Bool {
    let lane = entry.key.lane
    guard waiting.sharing == .classes, waiting.lanes[Int(lane)].running > 0 else { return true }
    let share = rule(of: lane).maxShare
    if share >= 1 { return true }
    var held = configuration.blocks(for: Int(entry.key.promptTokens) + (entry.preempted?.generated.count ?? 0))
    for slot in order where running[Int(slot.rawValue)].key.lane == lane { held += tables.count(slot) }
    return Double(held) <= share * Double(pool.blockCount)
  }

  // MARK: Prompts

  /// While a class runs that was promised a time between tokens, prompts get the rows that fit it: at least a 32nd of the
  /// token budget, so that nobody waits for ever. Where prompts are computed whole there is nothing to cut.
  mutating func limitPrefills(_ plan: borrowing StepPlan, _ budget: inout Int) {
    guard configuration.enableChunkedPrefill, let rows = pacedRows else { return }
    budget = min(budget, max(rows - plan.tokens.count, configuration.maxBatchedTokens / 32, 1))
  }

  /// Rows of a step that keep the shortest time between tokens promised to a class that runs; nil where nothing was
  /// promised or too little is known.
  var pacedRows: Int? {
    guard waiting.sharing == .classes, let target = tokenTarget(above: .max, running: true) else { return nil }
    return pace.rows(within: target)
  }

  /// Admits sequences of classes above those whose prompts are under way, before the latter get the rest of the step: as
  /// long as the class was not served more, for its weight, than the one it overtakes.
  mutating func admitUrgent(into plan: inout StepPlan, budget: inout Int) {
    guard waiting.sharing == .classes, let last = lastPrefill() else { return }
    let key = running[Int(last.rawValue)].key
    while budget > 0, let slot = freeSlots.last, let lane = preferredLane ?? waiting.nextLane() {
      let place = RequestQueue.Place(lane: lane, position: 0)
      guard waiting[place].key.rank < key.rank, mayGrow(lane),
        waiting.lanes[Int(lane)].service <= waiting.lanes[Int(key.lane)].service,
        !awaitsSibling(waiting[place]), !awaitsTier(place), !awaitsPrefix(waiting[place]), mayHold(waiting[place]),
        admit(at: place, to: slot, into: &plan, budget: &budget)
      else { return }
      preferredLane = nil
    }
  }

  /// The last running sequence in order whose prompt is not computed.
  private func lastPrefill() -> SlotID? {
    order.last { running[Int($0.rawValue)].remainingTokens > 1 }
  }
}
