import DequeModule
import SwerveCore

extension Scheduler {
  /// Gives slots and blocks to waiting sequences, as long as tokens, slots and blocks last: from the lane whose turn it
  /// is, in its order. The first one that does not fit holds up those behind it: nobody is overtaken for being large.
  /// Those who wait for a prefix are passed over.
  mutating func admit(into plan: inout StepPlan, budget: inout Int) {
    var first: Int32?
    while budget > 0, let slot = freeSlots.last, let lane = preferredLane ?? waiting.nextLane() {
      preferredLane = nil
      guard mayGrow(lane), let position = admissible(in: lane, like: first) else {
        waiting.setAside(lane, in: &asideLanes)
        continue
      }
      let place = RequestQueue.Place(lane: lane, position: position)
      let length = waiting[place].key.promptTokens
      guard mayHold(waiting[place]) else {
        waiting.setAside(lane, in: &asideLanes)
        continue
      }
      guard admit(at: place, to: slot, into: &plan, budget: &budget) else { break }
      if first == nil { first = length }
    }
    waiting.endSettingAside(&asideLanes)
  }

  /// Position of the lane's first entry that need not wait for a sibling or a prefix; with `like`, and where lengths are
  /// grouped, of one nearby that is as urgent and about as long. nil when there is none.
  private mutating func admissible(in lane: Int32, like length: Int32?) -> Int? {
    var found: Int?
    var position = 0
    let entries = waiting.lanes[Int(lane)].entries
    // The window bounds what a step may spend, and how far a request can be passed.
    while position < min(entries.count, 64) {
      let entry = entries[position]
      if !awaitsSibling(entry) && !awaitsPrefix(entry) {
        guard configuration.groupsLengths, let length else { return position }
        if let first = found, entries[first].key.priority != entry.key.priority { return first }
        if Self.lengthGroup(entry.key.promptTokens) == Self.lengthGroup(length) { return position }
        found = found ?? position
      }
      position += 1
    }
    return found
  }

  /// Prompts of one group differ by less than a factor of two.
  private static func lengthGroup(_ tokens: Int32) -> Int { tokens.leadingZeroBitCount }

  /// Whether a running choice of the same request is computing the prompt that this one will find in the cache.
  func awaitsSibling(_ entry: RequestQueue.Entry) -> Bool {
    let group = groups[entry.group]
    guard let leader = group.leader, readsCache(entry, of: group) else { return false }
    // Blocks behind those that left the device are found by nobody.
    if running[Int(leader.rawValue)].lowerEnd > running[Int(leader.rawValue)].lowerBegin { return false }
    return running[Int(leader.rawValue)].sealedBlocks < reusableBlocks(group.prompt.count)
  }

  /// Full blocks of so many known tokens that can come from others: one token at least is always computed.
  func reusableBlocks(_ knownTokens: Int) -> Int { (knownTokens - 1) / configuration.blockSize }

  func readsCache(_ entry: RequestQueue.Entry, of group: SequenceGroup) -> Bool {
    if !configuration.enablePrefixCaching || group.skipPrefixCacheRead { return false }
    // Once the first token was sampled, the log-probabilities of the prompt are out.
    let hasOutput = entry.preempted.map { !$0.generated.isEmpty } ?? false
    return hasOutput || !group.wantsPromptLogprobs || entry.key.choice > 0
  }

  mutating func admit(
    at place: RequestQueue.Place, to slot: SlotID, into plan: inout StepPlan, budget: inout Int
  ) -> Bool {
    let entry = waiting[place]
    let group = groups[entry.group]
    let output = entry.preempted?.generated ?? []
    let known = group.prompt.count + output.count
    var (needed, taken) = blocksToAdmit(entry)
    let cached = hits.count * configuration.blockSize
    if !configuration.enableChunkedPrefill && known - cached > budget { return false }
    var rows = min(known - cached, chunk(budget))
    let isStreamed = exceedsDevice(known)
    if isStreamed {
      rows = takeFirstBlocks(slot, known: known, rows: rows, in: &plan)
      if rows == 0 { return false }
    } else {
      let reserve = order.isEmpty ? 0 : configuration.watermarkBlocks
      while pool.freeCount - taken < reserve {
        // What never fits the device makes room for what does.
        guard moveOne(ofLargeOnly: true, in: &plan) else { return false }
        taken = needed + hits.count { pool.referenceCount(of: $0) == 0 }
      }
      for block in hits {
        pool.retain(block)
        tables.append(block, to: slot)
      }
      for _ in 0..<needed where !appendBlock(to: slot) {
        preconditionFailure("the pool has fewer free blocks than it counted")
      }
    }
    enter(entry, group, slot, cachedTokens: cached, reads: readsCache(entry, of: group))
    leaveQueue(entry, at: place, choices: group.choices)
    plan.admissions.append(
      Admission(
        sequence: running[Int(slot.rawValue)].sequence, slot: slot, sampling: group.sampling,
        tokens: output.isEmpty ? group.prompt : group.prompt + output, promptTokens: group.prompt.count))
    running[Int(slot.rawValue)].isStreamed = isStreamed
    append(slot, rows: rows, to: &plan)
    budget -= rows
    return true
  }

  /// Looks an entry's prefix up (`hits`, `hitHash`) and answers how many blocks it needs on top, and how many free blocks
  /// go with those it revives.
  mutating func blocksToAdmit(_ entry: RequestQueue.Entry) -> (needed: Int, taken: Int) {
    let needed = configuration.blocks(for: findPrefix(of: entry)) - hits.count
    return (needed, needed + hits.count { pool.referenceCount(of: $0) == 0 })
  }

  /// Fills the slot's state and its place in the order.
  private mutating func enter(
    _ entry: RequestQueue.Entry, _ group: SequenceGroup, _ slot: SlotID, cachedTokens: Int, reads: Bool
  ) {
    let index = Int(slot.rawValue)
    let isNew = entry.preempted == nil
    var sequence = RunningSequence()
    sequence.sequence = SequenceID(request: group.request, index: entry.key.choice)
    sequence.key = entry.key
    sequence.isActive = true
    sequence.group = entry.group
    sequence.promptTokens = Int32(group.prompt.count)
    sequence.computedTokens = Int32(cachedTokens)
    sequence.sealedBlocks = Int32(hits.count)
    sequence.chainHash = hitHash
    sequence.maxNewTokens = group.maxNewTokens
    sequence.minNewTokens = group.minNewTokens
    sequence.cachedTokens = Int32(cachedTokens)
    sequence.paidTokens = Int32(cachedTokens)
    sequence.lastToken = group.prompt[group.prompt.count - 1]
    generated[index] = []
    if let kept = entry.preempted {
      sequence.generatedTokens = Int32(kept.generated.count)
      sequence.cachedTokens = kept.cachedTokens
      sequence.preemptions = kept.preemptions
      sequence.recoveries = kept.recoveries
      sequence.isAnnounced = kept.isAnnounced
      sequence.paidTokens = kept.paidTokens
      if let last = kept.generated.last { sequence.lastToken = last }
      generated[index] = kept.generated
    }
    generated[index].reserveCapacity(Int(group.maxNewTokens))
    terminators[index] = group.sampling.terminators
    drafts?.admit(
      slot, prompt: group.prompt, output: entry.preempted?.generated ?? [], maxNewTokens: group.maxNewTokens)
    running[index] = sequence
    freeSlots.removeLast()
    waiting.startedRunning(entry.key.lane)
    let place = order.firstIndex { policy.isBefore(entry.key, running[Int($0.rawValue)].key) } ?? order.count
    order.insert(slot, at: place)

    groups[entry.group].running += 1
    if groups[entry.group].running == 1 { runningRequests += 1 }
    let reusable = reusableBlocks(group.prompt.count)
    if group.choices > 1 && configuration.enablePrefixCaching && hits.count < reusable && group.leader == nil {
      groups[entry.group].leader = slot
    }
    if isNew {
      if entry.key.choice == 0 { counters.promptTokens += group.prompt.count }
      if reads {
        counters.prefixQueriedTokens += group.prompt.count
        counters.prefixHitTokens += cachedTokens
      }
    }
  }

  /// The entry goes; a request with choices that have not started stays for the next one.
  private mutating func leaveQueue(_ entry: RequestQueue.Entry, at place: RequestQueue.Place, choices: Int32) {
    if entry.preempted == nil {
      if entry.key.choice == 0 { counters.waitingTokens -= groups[entry.group].prompt.count }
      groups[entry.group].nextChoice = entry.key.choice + 1
      if entry.key.choice + 1 < choices {
        waiting[place].key.choice += 1
        return
      }
    }
    waiting.remove(at: place)
  }

  /// Fills `hits` with the cached blocks of an entry's known tokens, none where it does not read the cache, and `hitHash`
  /// with the hash of the last one. Answers how many tokens are known.
  mutating func findPrefix(of entry: RequestQueue.Entry) -> Int {
    let group = groups[entry.group]
    let output = entry.preempted?.generated ?? []
    let known = group.prompt.count + output.count
    let limit = readsCache(entry, of: group) ? reusableBlocks(known) : 0
    hits.removeAll(keepingCapacity: true)
    hitHash = group.saltHash
    while hits.count < limit {
      copyBlock(hits.count, prompt: group.prompt, output: output)
      let hash = cache.hash(after: hitHash, blockTokens.span)
      guard let block = cache.find(hash: hash, parent: hits.last, parentHash: hitHash, tokens: blockTokens.span) else {
        break
      }
      hits.append(block)
      hitHash = hash
    }
    return known
  }

  /// The tokens of a full block into `blockTokens`.
  mutating func copyBlock(_ index: Int, prompt: [TokenID], output: [TokenID]) {
    let first = index * configuration.blockSize
    for offset in 0..<configuration.blockSize {
      let position = first + offset
      blockTokens[offset] = position < prompt.count ? prompt[position] : output[position - prompt.count]
    }
  }
}
