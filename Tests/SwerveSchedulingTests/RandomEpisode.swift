import SwerveCore
import SwerveScheduling

/// What happened in all episodes together.
struct EpisodeTotals {
  var operations = 0, requests = 0, verified = 0, truncated = 0, preemptions = 0, prefixHitTokens = 0
  var failedSteps = 0, missingSamples = 0, resets = 0, steps = 0, expired = 0, draftTokens = 0, acceptedTokens = 0
  var movedToHost = 0, movedInBanks = 0, movedToStore = 0, storeReads = 0, recoveries = 0, parked = 0
  var searches = 0, searchesEnded = 0, copies = 0
  /// Banks that lost their content, in a step and at all; those that were emptied first; sequences that had to move.
  var lostBanks = 0, lostInStep = 0, drainedBanks = 0, recalled = 0
  /// Steps lost with all earlier ones kept: of a bank, of all; banks that went on with what they had.
  var suspended = 0, interrupted = 0, resumed = 0
  /// Rows of sequences that lay in several banks.
  var spreadRows = 0
}

/// One configuration and one history.
final class Episode {
  struct Live {
    var prompt: [TokenID]
    var salt: [UInt8]
    var sampling: SamplingState
    var n: Int32
    /// Steps after which it must be gone.
    var deadline: Int
    /// Steps it can take when it is alone.
    var cost: Int
    var isSearch = false
    /// Choices ended from outside: what they produced is a beginning of the reference.
    var truncated: Set<Int32> = []
    var ended: Set<Int32> = []
  }

  var generator: SeededGenerator
  /// A bank whose worker broke in the step under way.
  var broken: Int?
  let harness: Harness
  let numbers: SchedulerConfiguration
  /// Whether requests are served in the order they came, so that each one's end can be foretold.
  let isOrdered: Bool
  var live: [UInt64: Live] = [:]
  var nextID: UInt64 = 1
  var steps = 0
  let prefixes: [[TokenID]]

  init(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let length = Int.random(in: 4...48, using: &generator)
    let sequences = Int.random(in: 1...8, using: &generator)
    var numbers = SchedulerConfiguration(
      maxBatchedTokens: Int.random(in: 1...64, using: &generator), maxSequences: sequences,
      blockSize: Int.random(in: 1...5, using: &generator), blockCount: Int.random(in: 2...50, using: &generator),
      maxModelLength: length)
    if generator.chance(40) {
      // Few on the device, so that sequences do not fit there.
      numbers.blockCount = Int.random(in: 2...12, using: &generator)
      numbers.hostBlockCount = generator.chance(70) ? Int.random(in: 1...12, using: &generator) : 0
      numbers.overflowBlockCount = generator.chance(70) ? Int.random(in: 1...40, using: &generator) : 0
      numbers.storeBlocksPerStep = generator.chance(50) ? Int.random(in: 1...12, using: &generator) : nil
    }
    let isBanked = numbers.ranges.count == numbers.blockCount && generator.chance(50)
    if isBanked {
      numbers.bankCount = Int.random(in: 2...4, using: &generator)
      numbers.blockCount = numbers.bankCount * Int.random(in: 1...16, using: &generator)
      numbers.openBanks = Int.random(in: 1...numbers.bankCount, using: &generator)
    }
    // From a generator of its own, so that histories are those they were.
    var other = SeededGenerator(seed: ~seed)
    if isBanked && other.chance(60) { numbers.spanTokens = numbers.blockSize * Int.random(in: 1...3, using: &other) }
    numbers.enablePrefixCaching = generator.chance(80)
    numbers.enableChunkedPrefill = generator.chance(75)
    numbers.longPrefillThreshold = generator.chance(30) ? Int.random(in: 1...8, using: &generator) : 0
    numbers.watermark = generator.chance(30) ? Double.random(in: 0..<0.5, using: &generator) : 0
    if generator.chance(25) { numbers.blockHashBits = Int.random(in: 1...6, using: &generator) }
    numbers.groupsLengths = generator.chance(15)
    numbers.evictsByCost = !isBanked && generator.chance(50)
    numbers.attentionCostTokens = Int.random(in: 1...100, using: &generator)
    numbers.adaptsLongPrefill = generator.chance(40)
    numbers.queueTimeout = generator.chance(15) ? UInt64.random(in: 5...200, using: &generator) : nil
    let policies = Policies.all.map(\.policy) + Policies.extensions.map(\.policy)
    let policy = generator.chance(50) ? FirstComeFirstServed() : policies.randomElement(using: &generator)!
    isOrdered =
      policy is FirstComeFirstServed && !numbers.groupsLengths && !numbers.adaptsLongPrefill
      && numbers.ranges.count == numbers.blockCount && numbers.bankCount == 1
    for _ in 0..<Int.random(in: 0...4, using: &generator) {
      var rule = ServiceRule()
      rule.weight = Double.random(in: 0.1...8, using: &generator)
      rule.firstTokenTarget = generator.chance(50) ? UInt64.random(in: 1...50, using: &generator) : nil
      rule.tokenTarget = generator.chance(30) ? UInt64.random(in: 1...20, using: &generator) : nil
      rule.maxShare = generator.chance(30) ? Double.random(in: 0.05...1, using: &generator) : 1
      rule.preempts = generator.chance(40)
      numbers.serviceRules.append(rule)
    }
    if generator.chance(50) {
      var speculation = SpeculationConfiguration()
      speculation.tokens = Int.random(in: 1...15, using: &generator)
      speculation.promptLookupMin = Int.random(in: 1...3, using: &generator)
      speculation.promptLookupMax = Int.random(in: 3...6, using: &generator)
      numbers.speculation = speculation
    }
    // By the seed itself, so that histories kept below stay what they were.
    if isBanked && seed % 4 == 1 { numbers.evictsByCost = true }
    if isBanked && seed % 5 == 1 { numbers.hostBlockCount = Int(seed / 5 % 11) }
    harness = try Harness(numbers, policy: policy)
    harness.stepTime = UInt64.random(in: 1...3, using: &generator)
    // Often draft what is hardly ever right.
    if generator.chance(70) { harness.setRowCost(1e-4) }
    self.numbers = numbers
    prefixes = (0..<3).map { _ in
      (0..<length).map { _ in TokenID(Int.random(in: 0..<61, using: &generator)) }
    }
    self.generator = generator
  }

  func run(operations: Int, totals: inout EpisodeTotals) throws {
    for _ in 0..<operations {
      totals.operations += 1
      switch Int.random(in: 0..<100, using: &generator) {
      case 0..<15: try add(&totals)
      case 15..<18: try addSearch(&totals)
      case 18..<21: cancelAny()
      case 21..<24: finishAny()
      case 24:
        harness.resetPrefixCache()
        totals.resets += 1
      default: try step(&totals)
      }
    }
    openAllBanks()
    let bound = steps + costOfAll() * 2
    while harness.hasWork {
      if steps > bound { throw RunnerFault(description: "the drain takes more than \(bound) steps") }
      try step(&totals, faults: false)
    }
    try step(&totals, faults: false)
    try verifyDrained()
    totals.preemptions += harness.statistics.preemptions
    totals.prefixHitTokens += harness.statistics.prefixHitTokens
    totals.steps += steps
    totals.draftTokens += harness.statistics.draftTokens
    totals.acceptedTokens += harness.statistics.acceptedTokens
    totals.movedToHost += harness.runner.movedToHost
    if numbers.bankCount > 1 { totals.movedInBanks += harness.runner.movedToHost }
    totals.movedToStore += harness.runner.movedToStore
    totals.storeReads += harness.runner.storeReads
    totals.recoveries += harness.statistics.overflow.recoveries
    let moved = harness.statistics.overflow
    if moved.blocksToHost != harness.runner.movedToHost || moved.blocksToStore != harness.runner.movedToStore {
      throw RunnerFault(description: "the scheduler counts other moves than it planned: \(moved)")
    }
    totals.copies += harness.runner.copies
  }

  private func addSearch(_ totals: inout EpisodeTotals) throws {
    let id = nextID
    nextID += 1
    let base = prefixes.randomElement(using: &generator) ?? []
    let prompt = Array(base.prefix(Int.random(in: 1...max(base.count, 1), using: &generator)))
    let width = Int.random(in: 1...5, using: &generator)
    let maxTokens = generator.chance(20) ? nil : Int.random(in: 1...16, using: &generator)
    do {
      try harness.addSearch(
        id, prompt, width: width, maxTokens: maxTokens, arrival: harness.now, salt: generator.chance(20) ? [9] : [],
        skip: generator.chance(10), tenant: UInt64.random(in: 0..<4, using: &generator),
        serviceClass: Int32.random(in: 0..<Int32(max(numbers.serviceRules.count, 1)), using: &generator),
        priority: Int.random(in: 0..<3, using: &generator), seed: generator.next())
    } catch is SchedulingError {
      return
    }
    totals.searches += 1
    let output = harness.searches[id]?.maxTokens ?? 0
    // Waits until its slots are free together.
    let wait = numbers.maxSequences * (3 * numbers.maxModelLength + 2)
    let cost = width * (prompt.count + 2 * output + 2) + wait
    live[id] = Live(
      prompt: prompt, salt: [], sampling: sampling(), n: 1,
      deadline: isOrdered ? steps + 2 * costOfAll() + 2 * cost + 10 : .max, cost: cost, isSearch: true)
  }

  private func add(_ totals: inout EpisodeTotals) throws {
    let id = nextID
    nextID += 1
    let base = prefixes.randomElement(using: &generator) ?? []
    let shared = Int.random(in: 0...base.count, using: &generator)
    let own = Int.random(in: 0...4, using: &generator)
    let prompt = base.prefix(shared) + (0..<own).map { _ in TokenID(Int.random(in: 0..<61, using: &generator)) }
    let maxTokens = generator.chance(15) ? nil : generator.chance(8) ? 0 : Int.random(in: 1...20, using: &generator)
    let terminators: [TokenID] = generator.chance(50) ? [3, 17, 40] : []
    let minTokens = generator.chance(30) ? Int.random(in: 0...(maxTokens ?? 5), using: &generator) : 0
    let state = sampling(
      maxTokens: maxTokens, minTokens: minTokens, terminators: terminators, seed: generator.next(),
      topK: generator.chance(40) ? Int.random(in: 1...2, using: &generator) : 0)
    let n = generator.chance(25) ? Int.random(in: 2...5, using: &generator) : 1
    let salt: [UInt8] = generator.chance(20) ? [9] : []
    let fits = harness.scheduler.fits(promptTokens: prompt.count, maxTokens: maxTokens)
    do {
      try harness.add(
        id, Array(prompt), n: n, state, priority: Int.random(in: 0..<3, using: &generator), arrival: harness.now,
        salt: salt, skip: generator.chance(10), promptLogprobs: generator.chance(10),
        tenant: UInt64.random(in: 0..<4, using: &generator),
        serviceClass: Int32.random(in: 0..<Int32(max(numbers.serviceRules.count, 1)), using: &generator))
    } catch let refusal as SchedulingError {
      if fits { throw RunnerFault(description: "refused what fits: \(refusal)") }
      return
    }
    if !fits { throw RunnerFault(description: "accepted what does not fit") }
    totals.requests += 1
    // Alone, a choice computes its known tokens one by one at worst, once; the first in order is never preempted.
    let output = min(maxTokens ?? .max, numbers.contextLimit - prompt.count)
    let cost = n * (prompt.count + 2 * max(output, 0) + 2)
    // Those before it, itself, and for each of its choices a slot's worth of later ones that came while it waited for
    // its sibling.
    let overtaken = n > 1 ? n * numbers.maxSequences * (3 * numbers.maxModelLength + 2) : 0
    let deadline = isOrdered ? steps + 2 * costOfAll() + 2 * cost + overtaken + 10 : Int.max
    live[id] = Live(
      prompt: Array(prompt), salt: salt, sampling: state, n: Int32(n), deadline: deadline, cost: cost + overtaken)
  }

  private func costOfAll() -> Int { live.values.reduce(10) { $0 + $1.cost } }

  private func randomID() -> UInt64? { live.keys.sorted().randomElement(using: &generator) }

  private func cancelAny() {
    guard let id = randomID() else { return }
    harness.cancel(id)
    live[id] = nil
  }

  private func finishAny() {
    guard let id = randomID(), let request = live[id] else { return }
    let choice = Int32.random(in: 0..<request.n, using: &generator)
    guard harness.finish(sequence(id, choice)) else { return }
    if request.isSearch {
      harness.searches[id] = nil
      live[id] = nil
    } else {
      end(id, choice, truncated: true)
    }
  }

  private func end(_ id: UInt64, _ choice: Int32, truncated: Bool) {
    live[id]?.ended.insert(choice)
    if truncated { live[id]?.truncated.insert(choice) }
  }

  private func step(_ totals: inout EpisodeTotals, faults: Bool = true) throws {
    steps += 1
    if faults && numbers.overflowBlockCount > 0 && generator.chance(2) {
      let first = numbers.ranges.firstOverflow
      harness.runner.lost.insert(BlockID(Int.random(in: first..<numbers.ranges.count, using: &generator)))
    }
    if faults && numbers.bankCount > 1 && generator.chance(6) { try changeBank(&totals) }
    if faults { resumeBanks(&totals) }
    defer { totals.parked += harness.statistics.overflow.parkedSequences }
    if faults && generator.chance(0.3) {
      totals.failedSteps += 1
      harness.scheduler.schedule(into: &harness.plan)
      try harness.runner.begin(harness.plan)
      harness.scheduler.fail(harness.plan, into: &harness.outputs)
      harness.collect()
      try harness.check()
    } else if faults && numbers.ranges.count == numbers.blockCount && generator.chance(0.5) {
      totals.interrupted += 1
      harness.scheduler.schedule(into: &harness.plan)
      try harness.runner.begin(harness.plan)
      harness.runner.tear(harness.plan)
      harness.scheduler.interrupt(harness.plan, into: &harness.outputs)
      harness.collect()
      try harness.check()
    } else {
      let bank =
        faults && numbers.bankCount > 1 && generator.chance(2) ? openBanks.randomElement(using: &generator) : nil
      let size = Int32(numbers.bankBlocks)
      harness.runner.torn = bank.map { Int32($0) * size..<(Int32($0) + 1) * size }
      defer { harness.runner.torn = nil }
      try harness.step {
        if !faults { return }
        if let bank {
          harness.scheduler.suspend(bank: bank)
          totals.suspended += 1
        }
        if numbers.bankCount > 1 && generator.chance(2) { loseBankInStep(&totals) }
        if generator.chance(2) { cancelAny() }
        if generator.chance(2) { finishAny() }
        if generator.chance(2) { try add(&totals) }
        if generator.chance(0.5), !harness.result.samples.isEmpty {
          totals.missingSamples += 1
          let place = Int.random(in: 0..<harness.result.samples.count, using: &generator)
          let sequence = harness.result.samples[place].sequenceIndex
          harness.result.samples.removeAll { $0.sequenceIndex == sequence }
        }
      }
    }
    closeBroken(&totals)
    for step in harness.plan.sequences where step.blockCount > 0 {
      let first = harness.plan.blocks[Int(step.firstBlock)]
      let last = harness.plan.blocks[Int(step.firstBlock + step.blockCount) - 1]
      if Int(first.rawValue) / numbers.bankBlocks != Int(last.rawValue) / numbers.bankBlocks {
        if numbers.bankCount > 1 { totals.spreadRows += Int(step.rowCount) }
      }
    }
    for request in harness.expired where live.removeValue(forKey: request.rawValue) != nil { totals.expired += 1 }
    harness.expired = []
    for id in harness.endedSearches where live.removeValue(forKey: id) != nil { totals.searchesEnded += 1 }
    harness.endedSearches = []
    for output in harness.outputs where output.finish != nil {
      if live[output.sequence.request.rawValue]?.isSearch == true {
        live[output.sequence.request.rawValue] = nil
        continue
      }
      end(output.sequence.request.rawValue, output.sequence.index, truncated: output.finish == .error)
    }
    try verifyEnded(&totals)
    if let late = live.first(where: { $0.value.deadline < steps }) {
      throw RunnerFault(description: "request \(late.key) starves: it should have ended by step \(late.value.deadline)")
    }
  }

  private func verifyEnded(_ totals: inout EpisodeTotals) throws {
    for (id, request) in live where request.ended.count == Int(request.n) {
      for choice in 0..<request.n {
        let alone = FakeModel.reference(
          prompt: request.prompt, salt: request.salt, sampling: request.sampling, choice: choice,
          contextLimit: limit)
        let got = harness.tokens(id, choice)
        if request.truncated.contains(choice) {
          totals.truncated += 1
          if !alone.tokens.starts(with: got) {
            throw RunnerFault(description: "\(id).\(choice): \(got) does not begin \(alone)")
          }
        } else {
          totals.verified += 1
          if got != alone.tokens || harness.reason(id, choice) != alone.finish {
            throw RunnerFault(description: "\(id).\(choice): \(got) is not \(alone)")
          }
        }
        harness.produced[sequence(id, choice)] = nil
      }
      live[id] = nil
    }
  }

  private var limit: Int {
    let limit = numbers.contextLimit
    return numbers.enableChunkedPrefill ? limit : min(limit, numbers.maxBatchedTokens + 1)
  }

  private func verifyDrained() throws {
    if !live.isEmpty { throw RunnerFault(description: "requests \(live.keys.sorted()) never ended") }
    let statistics = harness.statistics
    if statistics.blocksUsed != 0 || statistics.runningRequests != 0 || statistics.waitingRequests != 0 {
      throw RunnerFault(description: "something is left: \(statistics)")
    }
    if statistics.overflow.hostBlocksUsed != 0 || statistics.overflow.storeBlocksUsed != 0 {
      throw RunnerFault(description: "places below the device are still used: \(statistics.overflow)")
    }
    if !harness.runner.slots.isEmpty { throw RunnerFault(description: "slots are left in the runner") }
    if !harness.resetPrefixCache() { throw RunnerFault(description: "the prefix cache keeps blocks") }
    try harness.check()
  }
}
