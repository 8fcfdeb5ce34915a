// The scheduling room: which tokens are computed this step, and in which blocks of the KV store.
// It must not see a tensor, a string, a clock, a thread or a device: numbers in, a StepPlan out.
// Start with Scheduler: add → schedule → (the step runs) → apply. KV/ counts blocks, Policies/ orders requests.

package import SwerveCore

/// Decides, step by step, which sequences compute how many tokens in which blocks.
///
/// A step is a number of tokens per sequence; prefill, chunked prefill, decode and recomputation after a preemption are
/// the same thing. Within the token budget: first the sequences that need one token, then running prompts, then
/// admissions, each in the policy's order. A sequence is admitted when the pool holds all its known tokens, so prompts
/// never run out of blocks half-way; when output tokens do, the last sequence in the policy's order (of the tenant that
/// was served most, where tenants share) gives its blocks back and waits at its place in the queue. Its tokens are kept
/// and recomputed, so it continues as if nothing had happened. With speculation, what is left of the budget goes to
/// guesses of coming tokens; a guess that proves right saves the sequence a step, a wrong one is forgotten.
///
/// The step being executed is fixed by its plan: requests may be added, cancelled or finished between `schedule` and
/// `apply`; results of sequences that are gone are ignored.
///
/// Hot: `schedule` and `apply` cost tens of nanoseconds per running sequence and allocate nothing while no sequence
/// comes or goes. Warm: everything else. Not thread-safe; one engine thread owns it.
package struct Scheduler: ~Copyable {
  package let configuration: SchedulerConfiguration
  let policy: any SchedulingPolicy

  // The block manager. Others may look; a change from outside is a fault that `checkInvariants` finds.
  package var pool: BlockPool
  /// Which parts of the pool take sequences.
  package var banks: Banks
  package var lower: LowerPool
  package var tables: BlockTables
  package var cache: PrefixCache
  /// What losing a free cached block costs; nil where age alone decides what is evicted.
  package var evictions: EvictionHeap?

  /// [slots]
  package var running: [RunningSequence]
  /// [slots] output tokens of running sequences. Capacity for all of them is taken at admission.
  var generated: [[TokenID]]
  /// [slots] tokens that end the sequence.
  var terminators: [[TokenID]]
  /// Slots in use, in the policy's order.
  var order: [SlotID] = []
  /// Slots not in use, taken from the end.
  var freeSlots: [SlotID]
  /// Slots given back since the last plan.
  var releases: [SlotID] = []

  /// Blocks of the overflow store that a step may read, as far as it is not one sequence's own; nil = any.
  var storeBlocksPerStep: Int?

  /// Guesses for running sequences; nil without speculation.
  var drafts: Drafts?
  /// Blocks below the device; nil without.
  var tiers: TierState?

  var groups = SequenceGroups()
  var waiting: RequestQueue

  /// Waiting requests by age.
  var arrivals = ArrivalLog()
  /// How long steps take, where a class was promised a time between tokens.
  var pace = Pace()
  /// The moment of the step being planned, as `schedule(into:now:)` was told. Nanoseconds.
  var now: UInt64 = 0
  /// The lane that room was made for in this step: the first to be admitted from, or its victims would take the room.
  var preferredLane: Int32?
  /// Whether the last step let short prompts pass a long one.
  var longPromptGaveWay = false
  /// Blocks that the step being planned copies from, held for as long.
  var heldSources: [BlockID] = []
  /// Sequences that found no place for their next rows in the step being planned.
  var stuck: [SlotID] = []
  /// Lanes that are not looked at again in this step.
  var asideLanes: [Int32] = []

  var stepID: UInt64 = 0
  var nextSerial: UInt64 = 0
  /// Requests with at least one running choice.
  var runningRequests = 0
  var counters = EngineStatistics()

  /// [blockSize] tokens of the block being hashed.
  var blockTokens: [TokenID]
  /// What the look-up in progress found (`findPrefix`): full blocks and the hash of the last one, all tokens, the block
  /// of which a beginning is to be copied, and whether another choice of the request holds it all.
  var hits: [BlockID] = []
  var hitHash = BlockHash(low: 0, high: 0)
  var hitTokens = 0
  var partialHit: BlockID?
  var isForkHit = false

  /// Allocates all that a step needs. Throws `invalidConfiguration`.
  package init(
    configuration: SchedulerConfiguration, policy: any SchedulingPolicy = FirstComeFirstServed()
  ) throws(SchedulingError) {
    let problems = configuration.problems()
    if !problems.isEmpty { throw .invalidConfiguration(problems) }
    self.configuration = configuration
    self.policy = policy
    let slots = configuration.maxSequences
    pool = BlockPool(blockCount: configuration.blockCount, banks: configuration.bankCount)
    banks = Banks(count: configuration.bankCount, open: configuration.openBanks ?? configuration.bankCount)
    lower = LowerPool(ranges: configuration.ranges)
    tables = BlockTables(slots: slots, stride: configuration.maxBlocksPerSequence)
    cache = PrefixCache(
      blockCount: configuration.blockCount, blockSize: configuration.blockSize,
      vocabularySize: configuration.vocabularySize, countsChains: configuration.evictsByCost,
      hashBits: configuration.blockHashBits)
    if configuration.evictsByCost {
      evictions = EvictionHeap(blockCount: configuration.blockCount, banks: configuration.bankCount)
    }
    running = [RunningSequence](repeating: RunningSequence(), count: slots)
    generated = [[TokenID]](repeating: [], count: slots)
    terminators = [[TokenID]](repeating: [], count: slots)
    freeSlots = (0..<slots).reversed().map { SlotID($0) }
    waiting = RequestQueue(
      policy: policy, rules: configuration.serviceRules, leadTokens: 4 * configuration.maxBatchedTokens)
    storeBlocksPerStep = configuration.storeBlocksPerStep
    drafts = configuration.speculation.map { Drafts($0, slots: slots) }
    tiers = configuration.tiers.map { _ in TierState() }
    counters.draftLimit = configuration.speculation?.tokens ?? 0
    blockTokens = [TokenID](repeating: 0, count: configuration.blockSize)
    order.reserveCapacity(slots)
    releases.reserveCapacity(2 * slots)
    hits.reserveCapacity(configuration.maxBlocksPerSequence)
    asideLanes.reserveCapacity(64)
    heldSources.reserveCapacity(slots)
  }

  // MARK: Requests

  /// Whether a request of that size can ever run here. nil = as many output tokens as fit.
  package func fits(promptTokens: Int, maxTokens: Int?) -> Bool {
    refusal(promptTokens: promptTokens, maxTokens: maxTokens) == nil
  }

  /// Why a request of that size can never run here, or nil when it can.
  package func refusal(promptTokens: Int, maxTokens: Int?) -> SchedulingError? {
    if promptTokens < 1 { return .emptyPrompt }
    if let maxTokens, maxTokens < 0 { return .negativeMaxTokens(maxTokens) }
    let room = maxTokens == 0 ? 0 : 1
    let modelLimit = configuration.maxModelLength - room
    if promptTokens > modelLimit { return .promptTooLong(tokens: promptTokens, limit: modelLimit) }
    // The most tokens that are ever computed for it: the last output token is not.
    let output = min(maxTokens ?? 1, configuration.maxModelLength - promptTokens)
    let computed = promptTokens + max(output, 1) - 1
    let blocks = configuration.blocks(for: computed)
    let available = sequenceBlocks
    if blocks > available {
      return .exceedsPool(blocks: blocks, available: available, blockSize: configuration.blockSize)
    }
    if !configuration.enableChunkedPrefill && computed > configuration.maxBatchedTokens {
      return .exceedsStep(tokens: computed, budget: configuration.maxBatchedTokens)
    }
    return nil
  }

  /// Queues a request. Throws, and changes nothing, when it can never run (`refusal`) or its id is in use.
  package mutating func add(_ request: WaitingRequest) throws(SchedulingError) {
    let params = request.sampling.params
    if let refusal = refusal(promptTokens: request.promptTokens.count, maxTokens: params.maxTokens) { throw refusal }
    if request.n < 1 || request.n > Int(Int32.max) { throw .invalidChoiceCount(request.n) }
    if groups.index(of: request.request) != nil { throw .duplicateRequest(request.request) }
    guard waiting.rules.indices.contains(Int(request.serviceClass)) else {
      throw .unknownServiceClass(Int(request.serviceClass))
    }
    if let width = request.beamWidth { try checkBeams(width, request) }
    let prompt = request.promptTokens.count
    // Without a limit of its own a sequence ends where the model, the pool or (to be recomputed whole) the step does.
    var limit = min(configuration.maxModelLength, sequenceBlocks * configuration.blockSize + 1)
    if !configuration.enableChunkedPrefill { limit = min(limit, configuration.maxBatchedTokens + 1) }
    var room = min(params.maxTokens ?? .max, limit - prompt)
    if let width = request.beamWidth { room = min(room, longestBeams(width, promptTokens: prompt)) }
    var key = SchedulingKey(
      priority: request.priority, arrival: request.arrival, serial: nextSerial, choice: 0,
      promptTokens: Int32(prompt), rank: waiting.ranks[Int(request.serviceClass)])
    key.lane = waiting.lane(tenant: request.tenant, rule: request.serviceClass)
    nextSerial += 1
    let group = groups.insert(
      SequenceGroup(
        request: request.request, prompt: request.promptTokens, sampling: request.sampling, key: key,
        choices: Int32(request.n), skipPrefixCacheRead: request.skipPrefixCacheRead,
        wantsPromptLogprobs: request.wantsPromptLogprobs, salt: request.prefixSalt,
        saltHash: BlockHash(salt: request.prefixSalt),
        maxNewTokens: Int32(room), minNewTokens: Int32(clamping: params.minTokens),
        unfinished: Int32(request.n)))
    // What is larger than the device moves below it, block by block; what choices hold in common does not.
    groups[group].sharesBlocks = request.n > 1 && !exceedsDevice(prompt + max(room, 1) - 1)
    if request.beamWidth == nil { groups[group].stretch = stretch(for: prompt + max(room, 1) - 1) }
    groups[group].beams = request.beamWidth.map { BeamGroup(width: Int32($0)) }
    if request.generated.isEmpty {
      waiting.insert(RequestQueue.Entry(key: key, group: group, preempted: nil))
      counters.waitingTokens += prompt
    } else {
      // As one that was sent back to the queue.
      precondition(
        request.n == 1 && request.beamWidth == nil, "a request of several sequences cannot go on behind tokens")
      groups[group].nextChoice = 1
      let kept = RequestQueue.Preempted(
        generated: request.generated, cachedTokens: 0, preemptions: 0, isAnnounced: false, paidTokens: 0)
      waiting.insert(RequestQueue.Entry(key: key, group: group, preempted: kept))
    }
    arrivals.append(arrival: request.arrival, serial: key.serial, group: group)
  }

  /// Ends all choices of a request and gives back their blocks and slots at once. Answers whether the request was
  /// there.
  @discardableResult
  package mutating func cancel(request: RequestID) -> Bool {
    guard let group = groups.index(of: request) else { return false }
    let choices = groups[group].choices
    let key = groups[group].key
    var started = groups[group].nextChoice
    if started == 0 { counters.waitingTokens -= groups[group].prompt.count }
    if started < choices {
      var entryKey = key
      entryKey.choice = started
      if let place = waiting.place(of: entryKey) { dropEntry(at: place) }
      // Forgets the unstarted ones; the last of the started ones then takes the group along.
      groups[group].unfinished -= choices - started
      groups[group].nextChoice = choices
      if groups[group].unfinished == 0 {
        groups.remove(group)
        return true
      }
    }
    while started > 0 {
      started -= 1
      finish(SequenceID(request: request, index: started))
    }
    return true
  }

  /// Ends one sequence (a stop string was found in its text; a beam search ends with any of its sequences) and gives back
  /// its blocks and slot at once. Answers
  /// whether it was running or preempted; a choice that has not started, or is finished, is not.
  @discardableResult
  package mutating func finish(_ sequence: SequenceID) -> Bool {
    guard let group = groups.index(of: sequence.request) else { return false }
    if groups[group].beams != nil, groups[group].running > 0 {
      releaseBeams(group)
      finishedChoice(of: group)
      return true
    }
    if let slot = order.first(where: { running[Int($0.rawValue)].sequence == sequence }) {
      release(slot)
      finishedChoice(of: group)
      return true
    }
    guard sequence.index >= 0 && sequence.index < groups[group].nextChoice else { return false }
    var key = groups[group].key
    key.choice = sequence.index
    guard let place = waiting.place(of: key) else { return false }
    dropEntry(at: place)
    finishedChoice(of: group)
    return true
  }

  /// An entry leaves the queue for good.
  private mutating func dropEntry(at place: RequestQueue.Place) {
    end(waiting[place].read)
    waiting.remove(at: place)
  }

  // MARK: State

  /// Whether anything is left to be scheduled.
  package var hasWork: Bool { !order.isEmpty || !waiting.isEmpty }

  /// Gauges and counters; weights, bytes and load time are left 0. `waitingRequests` are those of which no choice runs.
  package var statistics: EngineStatistics {
    var snapshot = counters
    snapshot.runningRequests = runningRequests
    snapshot.waitingRequests = groups.count - runningRequests
    snapshot.deferredRequests = min(waitingReads, snapshot.waitingRequests)
    snapshot.oldestArrival = arrivals.oldest
    snapshot.blocksTotal = pool.blockCount - banks.closedCount * pool.bankBlocks
    snapshot.blocksUsed = pool.usedCount
    snapshot.blocksCached = pool.keptCount
    snapshot.runningSequences = order.count
    snapshot.waitingSequences = waiting.count
    snapshot.keptSequences = waiting.keptCount
    snapshot.blockSize = configuration.blockSize
    snapshot.overflow.hostBlocks = configuration.hostBlockCount
    snapshot.overflow.hostBlocksUsed = lower.usedHostCount
    snapshot.overflow.storeBlocks = configuration.overflowBlockCount
    snapshot.overflow.storeBlocksUsed = lower.usedOverflowCount
    return snapshot
  }

  /// Whether blocks are kept below the device.
  package var hasTiers: Bool { tiers != nil }

  // MARK: Giving back

  /// Takes a running sequence's blocks and its slot.
  mutating func release(_ slot: SlotID) {
    keepPartialBlock(of: slot)
    vacate(slot)
    freeSlots.append(slot)
    releases.append(slot)
  }

  /// Takes a running sequence's blocks (last first: a chain is evicted from its end) and leaves its slot to the caller.
  mutating func vacate(_ slot: SlotID) {
    while let block = tables.removeLast(slot) { giveBack(block) }
    let index = Int(slot.rawValue)
    let group = running[index].group
    running[index].isActive = false
    running[index].plannedStep = 0
    generated[index] = []
    terminators[index] = []
    drafts?.release(slot)
    end(running[index].read)
    running[index].read = nil
    if let position = order.firstIndex(of: slot) { order.remove(at: position) }
    waiting.stoppedRunning(running[index].key.lane)
    groups[group].running -= 1
    if groups[group].running == 0 { runningRequests -= 1 }
  }

  /// One choice less; the last one takes its group along.
  mutating func finishedChoice(of group: Int32) {
    groups[group].unfinished -= 1
    if groups[group].unfinished == 0 { groups.remove(group) }
  }
}
