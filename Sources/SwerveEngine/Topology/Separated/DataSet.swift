import SwerveCore
import SwerveScheduling
import SwerveTransfer

/// The data workers of a parameter worker: one link a bank of the scheduler's pool, each with a worker, waiting for one, or
/// empty. Comes and goes with the engine thread, which alone touches it.
///
/// A worker that is lost is fenced (its process ended, its epoch over), and another one is started in its place. A process
/// has its pool in a region that this set keeps: its bank is suspended meanwhile, and sequences go on with the next process,
/// which finds what they had. Otherwise the bank is closed and its sequences sent back to the queue.
package final class DataSet {
  /// [banks]
  var links: [DataLink?]
  let sharesCores: Bool
  let template: WorkerGreeting
  /// [banks] where its worker comes from.
  var sources: [any DataWorkerSource]
  let launched: LaunchedWorkers
  /// Makes a source of a worker that waits somewhere.
  let remote: (Endpoint) -> RemoteWorkers
  let protection: LinkProtection
  /// The workers' pools, where blocks are kept below them; nil: nothing is copied in or out.
  private(set) var pools: DataPools?
  /// Whether running sequences may have blocks below the pools.
  let hasPlaces: Bool
  /// Whether tiers keep blocks of the workers.
  let hasTiers: Bool
  /// Whether workers are those of the start, because other ranks have as many each.
  let isFixed: Bool
  let bankBlocks: Int
  package let blockBytes: Int
  private let startSeconds = 60.0
  /// How long sequences wait for a worker to come back that has their keys and values, before they are computed elsewhere.
  private let resumeSeconds = 10.0
  /// [banks] the last incarnation's number, and starts that failed one after the other.
  private var epochs: [UInt32]
  var failedStarts: [Int]
  /// [banks] whether there shall be a worker, and when it may be started again. Monotonic nanoseconds.
  var isWanted: [Bool]
  var notBefore: [UInt64]
  /// Workers that somebody waits for to come or to go.
  var attaching: [Int: DataAnswer] = [:]
  var draining: [Int: (answer: DataAnswer, until: UInt64)] = [:]
  /// Workers that were too slow: until when their sequences may go on with them. Monotonic nanoseconds.
  var retiring: [Int: UInt64] = [:]
  var speedWatch: SlowWorkerWatch
  /// [workers] of the last step; storage is kept.
  var speeds: [SlowWorkerWatch.Speed?]
  private var nextLook: UInt64 = 0
  var nextReport: UInt64 = 0
  var recoveries: [String: Int] = [:]
  var recoveredSequences = 0
  var verifyFailures: [String: Int] = [:]
  /// Sequences that were with a lost worker and went on with its replacement, nothing of them computed again.
  var keptSequences = 0
  /// How steps went to the workers.
  var steps = StepTraffic()
  /// Why a worker was lost last; nil: none was.
  private(set) var lastLoss: String?
  let parameterBytes: () -> Int
  let onNotice: (String) -> Void

  /// - Parameters:
  ///   - template: a greeting; worker and epoch are filled in.
  ///   - endpoints: where the first workers wait; all others are launched.
  ///   - pools: of as many banks as there may be workers, where blocks are kept below them; then all are of this host.
  ///   - isFixed: whether none may come or go later.
  ///   - parameterBytes: what the parameter worker's device has handed out.
  ///   - onNotice: hears, in one sentence, of workers that come and go.
  init(
    _ template: WorkerGreeting, _ configuration: DataWorkerConfiguration, _ endpoints: [Endpoint] = [],
    _ protection: LinkProtection = LinkProtection(), pools: DataPools? = nil, isFixed: Bool = false, blockBytes: Int,
    parameterBytes: @escaping () -> Int, onNotice: @escaping (String) -> Void
  ) {
    self.parameterBytes = parameterBytes
    self.template = template
    self.blockBytes = blockBytes
    sharesCores = template.sharesCores
    bankBlocks = template.limits.blockCount
    let banks = configuration.resolvedMaximum
    links = (0..<banks).map { _ in nil }
    self.pools = pools
    hasPlaces = pools?.places != nil
    hasTiers = pools?.hasTiers == true || hasPlaces
    self.isFixed = isFixed
    speedWatch = SlowWorkerWatch(workers: banks)
    speeds = (0..<banks).map { _ in nil }
    launched = LaunchedWorkers(
      launch: configuration.launch, sharesPools: pools != nil, places: pools?.places?.memory, cpus: configuration.cpus)
    let (group, patience) = (UInt64.random(in: 1...UInt64.max), configuration.connectSeconds)
    self.protection = protection
    remote = { RemoteWorkers(endpoint: $0, protection: protection, group: group, patience: patience) }
    sources = endpoints.map(remote) + [any DataWorkerSource](repeating: launched, count: banks - endpoints.count)
    epochs = [UInt32](repeating: 0, count: banks)
    failedStarts = [Int](repeating: 0, count: banks)
    notBefore = [UInt64](repeating: 0, count: banks)
    isWanted = (0..<banks).map { $0 < configuration.count }
    self.onNotice = onNotice
  }

  /// The worker that has a block.
  func owner(of block: BlockID) -> Int { Int(block.rawValue) / bankBlocks }

  // MARK: Start

  /// Starts the workers there shall be and waits until all are ready.
  func start() throws(EngineStartError) {
    for index in links.indices where isWanted[index] {
      do { try startWorker(index) } catch { throw .device("\(error)") }
    }
    for index in links.indices {
      guard let link = links[index] else { continue }
      link.poll(within: startSeconds)
      switch link.state {
      case .ready: continue
      case .lost(let reason): throw .device(reason)
      case .starting: throw .device("\(TransferError.timedOut(link.name, seconds: startSeconds))")
      }
    }
  }

  private func startWorker(_ index: Int) throws {
    epochs[index] += 1
    var greeting = template
    greeting.worker = UInt32(index)
    greeting.epoch = epochs[index]
    try sources[index].keep(byteCount: bankBlocks * blockBytes)
    let link = try DataLink(
      greeting, firstBlock: index * bankBlocks,
      firstPlace: pools?.places == nil ? nil : links.count * bankBlocks, source: sources[index])
    // What is launched here has arrived.
    try pools?.set(index, link.pool)
    links[index] = link
  }

  /// A worker has its pool in a region that this process was started with.
  func keep(inherited index: Int, byteCount: Int) throws {
    sources[index] = try launched.finding(try RegionFile(inherited: index, byteCount: byteCount), byteCount: byteCount)
  }

  /// The bank has no worker and shall have none: its memory goes back to the system.
  func giveUp(_ index: Int) {
    links[index] = nil
    sources[index].forget()
    pools?.retire(index)
  }

  func close() {
    for link in links { link?.stop() }
    for index in links.indices { giveUp(index) }
    for (_, answer) in attaching { answer(.failure(.stopped)) }
    for (_, waiting) in draining { waiting.answer(.failure(.stopped)) }
    attaching.removeAll()
    draining.removeAll()
  }

  // MARK: Life

  /// Whether a worker is on its way: somebody has to look again soon, work or no work.
  var isChanging: Bool {
    if !attaching.isEmpty || !draining.isEmpty || !retiring.isEmpty { return true }
    for index in links.indices where isWanted[index] && links[index]?.state != .ready { return true }
    return false
  }

  /// Before each step is scheduled: takes lost workers out, brings new ones in, ends drained ones. Without news it costs a
  /// look at the clock, and at the workers' sockets ten times a second.
  func advance(_ scheduler: inout Scheduler) {
    let now = TransferClock.now
    pools?.forgetRetired()
    if now >= nextLook {
      nextLook = now + 100_000_000
      for link in links { link?.look() }
    }
    watchSpeed(&scheduler, now)
    for index in links.indices {
      guard let link = links[index] else {
        if isWanted[index] && now >= notBefore[index] { restart(index, now, &scheduler) }
        continue
      }
      if link.state == .starting { welcome(link, index, &scheduler, now) }
      if case .lost(let reason) = link.state { replace(link, index, reason, &scheduler, now) }
    }
    if !draining.isEmpty { finishDraining(&scheduler, now) }
  }

  private func welcome(_ link: DataLink, _ index: Int, _ scheduler: inout Scheduler, _ now: UInt64) {
    link.poll(within: 0)
    if link.state == .starting && now > link.started + UInt64(startSeconds * 1e9) {
      link.lose("\(TransferError.timedOut(link.name, seconds: startSeconds))")
    }
    if link.state == .starting && scheduler.isSuspended(bank: index)
      && now > link.started + UInt64(resumeSeconds * 1e9)
    {
      closeBank(index, &scheduler)
    }
    guard link.state == .ready else { return }
    failedStarts[index] = 0
    let start = "(epoch \(link.greeting.epoch), \(Decimals.fixed(Double(now - link.started) * 1e-9, 3)) s)"
    if scheduler.isSuspended(bank: index) {
      let count = scheduler.resume(bank: index)
      keptSequences += count
      onNotice("\(link.name) is back \(start) and finds the keys and values of \(count) running sequences")
    } else {
      scheduler.open(bank: index)
      onNotice("\(link.name) is attached \(start)")
    }
    attaching.removeValue(forKey: index)?(.success(link.name))
    nextReport = 0
  }

  private func replace(
    _ link: DataLink, _ index: Int, _ reason: String, _ scheduler: inout Scheduler, _ now: UInt64
  ) {
    let wasReady = link.answer != nil
    verifyFailures.merge(link.verifyFailures) { $0 + $1 }
    retiring[index] = nil
    speedWatch.forget(index)
    let keeps = wasReady && keepsBlocks(index)
    if keeps { scheduler.suspend(bank: index) }
    let count = keeps ? scheduler.sequenceCount(in: index) : scheduler.close(bank: index)
    if !keeps { recoveredSequences += count }
    if wasReady { lastLoss = reason }
    recoveries[wasReady ? link.lossCause : "start_failed", default: 0] += 1
    links[index] = nil
    nextReport = 0
    if draining[index] != nil {
      isWanted[index] = false
      draining.removeValue(forKey: index)?.answer(.success(link.name))
    }
    if !wasReady {
      failedStarts[index] += 1
      if let answer = attaching.removeValue(forKey: index) {
        isWanted[index] = false
        answer(.failure(.refused(reason)))
      }
    }
    expectWanted(&scheduler)
    if !isWanted[index] { giveUp(index) }
    // A host that stays away is not news each second.
    let isNews = wasReady || !isWanted[index] || failedStarts[index].nonzeroBitCount == 1
    if isNews {
      onNotice(
        "\(reason); its \(count) other running sequences "
          + (keeps ? "wait for the worker started in its place, with what they have" : "are computed again")
          + (!keeps && isWanted[index] ? ", and another worker is started" : ""))
    }
    // The first replacement at once; what does not start is not tried all the time.
    notBefore[index] = failedStarts[index] == 0 ? now : now + 1_000_000_000
    if isWanted[index] && now >= notBefore[index] { restart(index, now, &scheduler) }
  }

  func restart(_ index: Int, _ now: UInt64, _ scheduler: inout Scheduler) {
    do {
      try startWorker(index)
    } catch {
      failedStarts[index] += 1
      notBefore[index] = now + 1_000_000_000
      onNotice("data worker d\(index) does not start: \(error)")
      if scheduler.isSuspended(bank: index) { closeBank(index, &scheduler) }
    }
  }

  /// What was kept in a bank is not waited for any longer.
  private func closeBank(_ index: Int, _ scheduler: inout Scheduler) {
    let count = scheduler.close(bank: index, keeping: hasTiers)
    recoveredSequences += count
    onNotice(
      "data worker d\(index) does not come back; its \(count) sequences "
        + (hasTiers ? "go on with what tiers keep of them" : "are computed again"))
  }

  /// Whether a lost worker's sequences can go on with another process: it had the pool in memory that is kept, and was not
  /// about to go anyway.
  func keepsBlocks(_ index: Int) -> Bool {
    links[index]?.keepsBlocks == true && isWanted[index] && draining[index] == nil
  }

  /// After a step, before its result is applied: what lost workers held is kept for those that come in their place.
  func suspendLost(_ scheduler: inout Scheduler) {
    for index in links.indices {
      guard case .lost(let reason)? = links[index]?.state, links[index]?.answer != nil else { continue }
      lastLoss = reason
      if keepsBlocks(index) { scheduler.suspend(bank: index) }
    }
  }
}
