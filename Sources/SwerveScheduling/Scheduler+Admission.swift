import DequeModule
import SwerveCore

extension Scheduler {
  /// Gives slots and blocks to waiting sequences, as long as tokens, slots and blocks last: from the lane whose turn it
  /// is, in its order. The first one that does not fit holds up those behind it: nobody is overtaken for being large.
  /// Those who wait for a prefix are passed over. `passing`: the running prompt that gives way to them, to none that is
  /// less urgent.
  mutating func admit(into plan: inout StepPlan, budget: inout Int, passing long: SchedulingKey? = nil) {
    var first: Int32?
    while budget > 0, let slot = freeSlots.last, let lane = preferredLane ?? waiting.nextLane() {
      preferredLane = nil
      guard mayGrow(lane), let position = admissible(in: lane, like: first) else {
        waiting.setAside(lane, in: &asideLanes)
        continue
      }
      let place = RequestQueue.Place(lane: lane, position: position)
      let length = waiting[place].key.promptTokens
      guard mayHold(waiting[place]), waiting[place].key.priority <= long?.priority ?? .max else {
        waiting.setAside(lane, in: &asideLanes)
        continue
      }
      guard admit(at: place, to: slot, into: &plan, budget: &budget, isPassing: long != nil) else { break }
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
      if !awaitsSibling(entry) && !awaitsTier(RequestQueue.Place(lane: lane, position: position))
        && !awaitsPrefix(entry) && !exceedsOpenBanks(entry)
      {
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

  /// Full blocks of so many known tokens that can come from others: one token at least is always computed.
  func reusableBlocks(_ knownTokens: Int) -> Int { (knownTokens - 1) / configuration.blockSize }

  func readsCache(_ entry: RequestQueue.Entry, of group: SequenceGroup) -> Bool {
    if !configuration.enablePrefixCaching || group.skipPrefixCacheRead { return false }
    // Once the first token was sampled, the log-probabilities of the prompt are out.
    let hasOutput = entry.preempted.map { !$0.generated.isEmpty } ?? false
    return hasOutput || !group.wantsPromptLogprobs || entry.key.choice > 0
  }

  mutating func admit(
    at place: RequestQueue.Place, to slot: SlotID, into plan: inout StepPlan, budget: inout Int,
    isPassing: Bool = false
  ) -> Bool {
    let entry = waiting[place]
    let group = groups[entry.group]
    let output = entry.preempted?.generated ?? []
    let known = group.prompt.count + output.count
    if let beams = group.beams, freeSlots.count < Int(beams.width) { return false }
    let (needed, free) = blocksToAdmit(entry)
    let bank = banks.chosen
    guard mayAdmit(entry, to: bank) else { return false }
    var taken = free
    let reserve = order.isEmpty ? 0 : configuration.watermarkBlocks
    guard chooseFurther(entry, known: known, reserve: reserve) else { return false }
    // What can never be on the device as a whole takes blocks as it is computed.
    let isStreamed = exceedsDevice(known)
    // One as large as the prompt that gives way would take the very blocks that this one is to go on with, step by step.
    if isPassing && isStreamed
      && order.contains(where: { running[Int($0.rawValue)].isStreamed && self.bank(of: $0) == bank })
    {
      return false
    }
    while !isStreamed && pool.freeCount(in: bank) - taken < reserve {
      // What never fits the device makes room for what does.
      guard moveOne(from: bank, ofLargeOnly: true, in: &plan) else { return false }
      taken = needed + hits.count { pool.referenceCount(of: $0) == 0 }
    }
    let loadable = isStreamed ? 0 : loadableBlocks(entry, known: known)
    // Hypotheses that come back share what they have in common by blocks; a fork brings its beginning along; and whole
    // blocks that can be loaded are worth more than the beginning of one.
    let start =
      group.beams != nil || isForkHit || isStreamed || loadable > 0 || hits.count >= Int(group.stretch)
      ? nil : findStart(of: entry, known: known, spareBlocks: pool.freeCount(in: bank) - taken - reserve)
    var cached = hitTokens + (start?.tokens ?? 0)
    let loads = min(loadable, budget - 1)
    if !configuration.enableChunkedPrefill && known - cached - loads * configuration.blockSize > budget - loads {
      return false
    }

    var granted = 0
    settle(entry.group, in: bank, slot)
    if isStreamed {
      granted = takeFirstBlocks(slot, known: known, limit: chunk(budget), in: &plan)
      if granted == 0 { return false }
      cached = hitTokens
    } else {
      for block in hits {
        reviveBlock(block)
        tables.append(block, to: slot)
      }
      if let start { holdSource(start.block) }
      for _ in hits.count..<configuration.blocks(for: known) where !appendBlock(to: slot) {
        preconditionFailure("the pool has fewer free blocks than it counted")
      }
    }
    if let source = partialHit { plan.copies.append(BlockCopy(from: source, to: tables[slot, hits.count])) }
    if let start { copyStart(start, to: tables[slot, hits.count], in: &plan) }
    enter(entry, group, slot, Start(tokens: Int32(cached), hash: hitHash, isForked: isForkHit))
    running[Int(slot.rawValue)].awaitsCopy = start != nil || partialHit != nil
    leaveQueue(entry, at: place, choices: group.choices)
    plan.admissions.append(
      Admission(
        sequence: running[Int(slot.rawValue)].sequence, slot: slot, sampling: group.sampling,
        tokens: output.isEmpty ? group.prompt : group.prompt + output, promptTokens: group.prompt.count))
    if group.beams != nil { enterBeams(entry, leader: slot, into: &plan) }
    running[Int(slot.rawValue)].isStreamed = isStreamed
    // One that takes its blocks as it goes loads nothing: its read ends here, for with one token left nobody asks again.
    if continueLoading(slot, &budget) { return true }
    var rows = isStreamed ? granted : prefillRows(slot, budget)
    // Another long prompt, where a long one gives way: it is let in for the sake of those behind it.
    if isPassing && Int(running[Int(slot.rawValue)].remainingTokens) > budget {
      rows = min(rows, max(configuration.maxBatchedTokens / 32, 1))
    }
    if rows > 0 { append(slot, rows: rows, to: &plan) }
    budget -= rows
    return true
  }

  /// Looks an entry's prefix up (`findPrefix`) and answers how many blocks it needs on top, and how many free blocks go
  /// with those it revives.
  mutating func blocksToAdmit(_ entry: RequestQueue.Entry) -> (needed: Int, taken: Int) {
    let blocks = min(configuration.blocks(for: findPrefix(of: entry)), Int(groups[entry.group].stretch))
    var needed = max(blocks - hits.count, 0)
    if let kept = entry.preempted, kept.beams.count > 1 {
      needed += (kept.beams.count - 1) * (blocks - Int(kept.sharedBlocks))
    }
    return (needed, needed + hits.count { pool.referenceCount(of: $0) == 0 })
  }

  /// What a sequence that enters a slot need not compute.
  struct Start {
    var tokens: Int32
    /// Hash of the last full block of them, or the salt's.
    var hash: BlockHash
    /// Whether they come from another choice of the request, not from the prefix cache.
    var isForked: Bool
  }

  /// Fills the slot's state and its place in the order.
  mutating func enter(_ entry: RequestQueue.Entry, _ group: SequenceGroup, _ slot: SlotID, _ start: Start) {
    let index = Int(slot.rawValue)
    let isNew = entry.preempted == nil
    var sequence = RunningSequence()
    sequence.sequence = SequenceID(request: group.request, index: entry.key.choice)
    sequence.key = entry.key
    sequence.isActive = true
    sequence.group = entry.group
    sequence.promptTokens = Int32(group.prompt.count)
    sequence.computedTokens = start.tokens
    sequence.sealedBlocks =
      configuration.enablePrefixCaching ? min(start.tokens / Int32(configuration.blockSize), group.stretch) : 0
    sequence.chainHash = start.hash
    sequence.maxNewTokens = group.maxNewTokens
    sequence.minNewTokens = group.minNewTokens
    sequence.cachedTokens = start.isForked ? group.cachedTokens : start.tokens
    sequence.paidTokens = start.tokens
    sequence.isBeam = group.beams != nil
    sequence.isForking = sequence.isBeam || group.sharesBlocks
    sequence.lastToken = group.prompt[group.prompt.count - 1]
    sequence.read = entry.read
    generated[index] = []
    if let kept = entry.preempted {
      sequence.generatedTokens = Int32(kept.generated.count)
      sequence.cachedTokens = kept.cachedTokens
      sequence.preemptions = kept.preemptions
      sequence.recoveries = kept.recoveries
      sequence.recoveredTokens = kept.recoveredTokens
      sequence.isAnnounced = kept.isAnnounced
      sequence.paidTokens = kept.paidTokens
      sequence.hasReadLossy = kept.hasReadLossy
      if let last = kept.generated.last { sequence.lastToken = last }
      generated[index] = kept.generated
    }
    generated[index].reserveCapacity(Int(group.maxNewTokens))
    terminators[index] = group.sampling.terminators
    if !sequence.isBeam {
      drafts?.admit(
        slot, prompt: group.prompt, output: entry.preempted?.generated ?? [], maxNewTokens: group.maxNewTokens)
    }
    running[index] = sequence
    freeSlots.removeLast()
    startRunning(slot)
    // Those after the first one go on from it, or find what it computed: looked up is a prompt once.
    guard isNew && entry.key.choice == 0 else { return }
    groups[entry.group].cachedTokens = start.tokens
    counters.promptTokens += group.prompt.count
    if readsCache(entry, of: group) {
      counters.prefixQueriedTokens += group.prompt.count
      counters.prefixHitTokens += Int(start.tokens)
    }
  }

  /// The slot's sequence takes its place in the order.
  mutating func startRunning(_ slot: SlotID) {
    let key = running[Int(slot.rawValue)].key
    let group = running[Int(slot.rawValue)].group
    waiting.startedRunning(key.lane)
    let place = order.firstIndex { policy.isBefore(key, running[Int($0.rawValue)].key) } ?? order.count
    order.insert(slot, at: place)
    groups[group].running += 1
    if groups[group].running == 1 { runningRequests += 1 }
  }

  /// The entry goes; a request with choices that have not started stays for the next one.
  mutating func leaveQueue(_ entry: RequestQueue.Entry, at place: RequestQueue.Place, choices: Int32) {
    if entry.preempted == nil {
      if entry.key.choice == 0 { counters.waitingTokens -= groups[entry.group].prompt.count }
      groups[entry.group].nextChoice = entry.key.choice + 1
      if entry.key.choice + 1 < choices {
        waiting[place].key.choice += 1
        waiting[place].read = nil
        waiting[place].restarts = 0
        return
      }
    }
    waiting.remove(at: place)
  }

  /// Looks for what an entry need not compute: `hitTokens` of its known tokens, in the blocks `hits`, whose last one has
  /// the hash `hitHash`, and, where those do not hold all of them, at the beginning of the block `partialHit`. They come
  /// from another choice of its request or, where it reads that, from the cache. Answers how many tokens are known.
  ///
  /// With several banks these are blocks of one of them, `banks.chosen`.
  mutating func findPrefix(of entry: RequestQueue.Entry) -> Int {
    pool.bankCount == 1 ? findPrefix(of: entry, in: 0) : findPrefixInBanks(of: entry)
  }

  mutating func findPrefix(of entry: RequestQueue.Entry, in bank: Int) -> Int {
    let group = groups[entry.group]
    banks.chosen = bank
    let output = entry.preempted?.generated ?? []
    let known = group.prompt.count + output.count
    hits.removeAll(keepingCapacity: true)
    hitHash = chainStart(of: group)
    partialHit = nil
    isForkHit = false
    let sibling = forkSource(of: entry)
    // What a preempted choice computed itself may go further than the prompt.
    let looksUp = readsCache(entry, of: group) && (sibling == nil || !output.isEmpty)
    var limit = looksUp ? min(reusableBlocks(known), Int(group.stretch)) : 0
    if let kept = entry.preempted, kept.beams.count > 1 { limit = min(limit, Int(kept.sharedBlocks)) }
    while hits.count < limit {
      copyBlock(hits.count, prompt: group.prompt, output: output)
      guard let block = cache.find(parent: hits.last, parentHash: hitHash, tokens: blockTokens.span) else { break }
      hits.append(block)
      hitHash = cache.hash(after: hitHash, blockTokens.span)
    }
    hitTokens = hits.count * configuration.blockSize
    if let sibling, hitTokens < min(group.prompt.count, known - 1) { fork(from: sibling, known: known, group) }
    return known
  }

  /// The tokens of a block, or its first `count`, into `blockTokens`.
  mutating func copyBlock(_ index: Int, count: Int? = nil, prompt: [TokenID], output: [TokenID]) {
    let first = index * configuration.blockSize
    for offset in 0..<(count ?? configuration.blockSize) {
      let position = first + offset
      blockTokens[offset] = position < prompt.count ? prompt[position] : output[position - prompt.count]
    }
  }
}
