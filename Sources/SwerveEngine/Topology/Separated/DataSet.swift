import SwerveCore
import SwerveScheduling
import SwerveTransfer

/// The data workers of a parameter worker: one link a bank of the scheduler's pool, each with a worker, waiting for one, or
/// empty. Comes and goes with the engine thread, which alone touches it.
///
/// A worker that is lost is fenced (its process ended, its epoch over), its bank closed and its sequences sent back to the
/// queue, and another one is started in its place; the bank opens again when that is ready.
package final class DataSet {
  /// [banks]
  private(set) var links: [DataLink?]
  let sharesCores: Bool
  private let template: WorkerGreeting
  /// [banks] where its worker comes from.
  private var sources: [any DataWorkerSource]
  private let launched: LaunchedWorkers
  /// Makes a source of a worker that waits somewhere.
  private let remote: (Endpoint) -> RemoteWorkers
  private let protection: LinkProtection
  private let bankBlocks: Int
  private let blockBytes: Int
  private let startSeconds = 60.0
  /// [banks] the last incarnation's number, and starts that failed one after the other.
  private var epochs: [UInt32]
  private var failedStarts: [Int]
  /// [banks] whether there shall be a worker, and when it may be started again. Monotonic nanoseconds.
  private var isWanted: [Bool]
  private var notBefore: [UInt64]
  /// Workers that somebody waits for to come or to go.
  private var attaching: [Int: DataAnswer] = [:]
  private var draining: [Int: (answer: DataAnswer, until: UInt64)] = [:]
  private var nextLook: UInt64 = 0
  private var nextReport: UInt64 = 0
  private var recoveries: [String: Int] = [:]
  private var recoveredSequences = 0
  private let parameterBytes: () -> Int
  private let onNotice: (String) -> Void

  /// - Parameters:
  ///   - template: a greeting; worker and epoch are filled in.
  ///   - endpoints: where the first workers wait; all others are launched.
  ///   - parameterBytes: what the parameter worker's device has handed out.
  ///   - onNotice: hears, in one sentence, of workers that come and go.
  init(
    _ template: WorkerGreeting, _ configuration: DataWorkerConfiguration, _ endpoints: [Endpoint] = [],
    _ protection: LinkProtection = LinkProtection(), blockBytes: Int,
    parameterBytes: @escaping () -> Int, onNotice: @escaping (String) -> Void
  ) {
    self.parameterBytes = parameterBytes
    self.template = template
    self.blockBytes = blockBytes
    sharesCores = template.sharesCores
    bankBlocks = template.limits.blockCount
    let banks = configuration.resolvedMaximum
    links = (0..<banks).map { _ in nil }
    launched = LaunchedWorkers(launch: configuration.launch)
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
    links[index] = try DataLink(greeting, firstBlock: index * bankBlocks, source: sources[index])
  }

  func close() {
    for link in links { link?.stop() }
    links = links.map { _ in nil }
    for (_, answer) in attaching { answer(.failure(.stopped)) }
    for (_, waiting) in draining { waiting.answer(.failure(.stopped)) }
    attaching.removeAll()
    draining.removeAll()
  }

  // MARK: Life

  /// Whether a worker is on its way: somebody has to look again soon, work or no work.
  var isChanging: Bool {
    if !attaching.isEmpty || !draining.isEmpty { return true }
    for index in links.indices where isWanted[index] && links[index]?.state != .ready { return true }
    return false
  }

  /// Before each step is scheduled: takes lost workers out, brings new ones in, ends drained ones. Without news it costs a
  /// look at the clock, and at the workers' sockets ten times a second.
  func advance(_ scheduler: inout Scheduler) {
    let now = TransferClock.now
    if now >= nextLook {
      nextLook = now + 100_000_000
      for link in links { link?.look() }
    }
    for index in links.indices {
      guard let link = links[index] else {
        if isWanted[index] && now >= notBefore[index] { restart(index, now) }
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
    guard link.state == .ready else { return }
    failedStarts[index] = 0
    scheduler.open(bank: index)
    let seconds = Double(now - link.started) * 1e-9
    onNotice("\(link.name) is attached (epoch \(link.greeting.epoch), \(Self.text(seconds)) s)")
    attaching.removeValue(forKey: index)?(.success(link.name))
    nextReport = 0
  }

  private func replace(
    _ link: DataLink, _ index: Int, _ reason: String, _ scheduler: inout Scheduler, _ now: UInt64
  ) {
    let wasReady = link.answer != nil
    let count = scheduler.close(bank: index)
    recoveredSequences += count
    recoveries[
      wasReady ? (link.traffic.refusals > 0 ? "step_refused" : "data_worker_lost") : "start_failed", default: 0] += 1
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
    // A host that stays away is not news each second.
    let isNews = wasReady || !isWanted[index] || failedStarts[index].nonzeroBitCount == 1
    if isNews {
      onNotice(
        "\(reason); its \(count) other running sequences are computed again"
          + (isWanted[index] ? ", and another worker is started" : ""))
    }
    // The first replacement at once; what does not start is not tried all the time.
    notBefore[index] = failedStarts[index] == 0 ? now : now + 1_000_000_000
    if isWanted[index] && now >= notBefore[index] { restart(index, now) }
  }

  private func restart(_ index: Int, _ now: UInt64) {
    do {
      try startWorker(index)
    } catch {
      failedStarts[index] += 1
      notBefore[index] = now + 1_000_000_000
      onNotice("data worker d\(index) does not start: \(error)")
    }
  }

  // MARK: Attaching and draining

  /// Attaches one more worker, one that waits somewhere or one of this host; the answer comes when it takes sequences.
  func attach(at endpoint: Endpoint?, _ answer: @escaping DataAnswer) {
    if let endpoint, let problem = protection.problem(with: endpoint) { return answer(.failure(.refused(problem))) }
    guard let index = links.indices.first(where: { !isWanted[$0] && links[$0] == nil }) else {
      return answer(
        .failure(
          .refused("there are \(links.count) data workers already; start with a larger --max-data-workers to have more")
        ))
    }
    sources[index] = endpoint.map(remote) ?? launched
    isWanted[index] = true
    notBefore[index] = 0
    failedStarts[index] = 0
    attaching[index] = answer
    restart(index, TransferClock.now)
  }

  /// Lets a worker's sequences end, for so many seconds at most, has the rest computed elsewhere, and ends the worker.
  func drain(
    _ index: Int, within seconds: Double, _ scheduler: inout Scheduler, _ answer: @escaping DataAnswer
  ) {
    guard links.indices.contains(index), let link = links[index], link.state == .ready, draining[index] == nil else {
      return answer(.failure(.refused("there is no data worker d\(index) that could be drained")))
    }
    guard links.indices.contains(where: { $0 != index && scheduler.isOpen($0) }) else {
      return answer(
        .failure(.refused("\(link.name) is the last one that takes sequences; attach another one first")))
    }
    scheduler.drain(bank: index)
    draining[index] = (answer, TransferClock.now + UInt64(max(seconds, 0) * 1e9))
  }

  private func finishDraining(_ scheduler: inout Scheduler, _ now: UInt64) {
    for (index, waiting) in draining {
      guard scheduler.sequenceCount(in: index) == 0 || now >= waiting.until, let link = links[index] else { continue }
      let count = scheduler.close(bank: index)
      recoveredSequences += count
      isWanted[index] = false
      link.stop()
      links[index] = nil
      draining[index] = nil
      nextReport = 0
      onNotice("\(link.name) is drained; \(count) of its sequences are computed again elsewhere")
      waiting.answer(.success(link.name))
    }
  }

  // MARK: Reports

  /// What workers do, once a second or when one came or went; nil: as before.
  func takeStatistics(_ scheduler: borrowing Scheduler) -> DataStatistics? {
    let now = TransferClock.now
    guard now >= nextReport else { return nil }
    nextReport = now + 1_000_000_000
    return statistics(scheduler)
  }

  func statistics(_ scheduler: borrowing Scheduler) -> DataStatistics {
    var all = DataStatistics()
    all.parameterBytes = parameterBytes()
    all.recoveries = recoveries
    all.recoveredSequences = recoveredSequences
    for index in links.indices {
      guard let link = links[index] else { continue }
      var worker = DataStatistics.Worker(name: "d\(index)")
      worker.device = (link.answer?.device ?? "") + (link.place.map { " at \($0)" } ?? "")
      worker.process = link.processID ?? 0
      worker.isReady = link.state == .ready
      worker.epoch = Int(link.greeting.epoch)
      worker.kvBytes = Int(link.answer?.kvBytes ?? 0)
      worker.scratchBytes = Int(link.answer?.scratchBytes ?? 0)
      worker.blocksTotal = worker.isReady ? bankBlocks : 0
      worker.blocksUsed = scheduler.usedBlocks(in: index)
      worker.sequences = scheduler.sequenceCount(in: index)
      worker.blockBytes = blockBytes
      worker.sentBytes = link.traffic.sentBytes
      worker.receivedBytes = link.traffic.receivedBytes
      worker.exchanges = link.traffic.exchanges
      worker.postSeconds = Double(link.traffic.postNanoseconds) * 1e-9
      worker.waitSeconds = Double(link.traffic.waitNanoseconds) * 1e-9
      worker.doneSeconds = Double(link.traffic.doneNanoseconds) * 1e-9
      worker.busySeconds = Double(link.traffic.busyNanoseconds) * 1e-9
      worker.medianDelay = link.traffic.delay(0.5)
      worker.highDelay = link.traffic.delay(0.99)
      all.workers.append(worker)
    }
    return all
  }

  private static func text(_ seconds: Double) -> String { ByteText.fixed(seconds, 3) }
}

/// How an attachment or a draining ended: the worker's name.
package typealias DataAnswer = @Sendable (Result<String, DataChangeError>) -> Void

/// Why workers do not change as asked.
package enum DataChangeError: Error, Sendable, Hashable, CustomStringConvertible {
  case refused(String)
  case stopped
  case isUnified

  package var description: String {
    switch self {
    case .refused(let sentence): sentence
    case .stopped: "the engine has stopped"
    case .isUnified: "there are no data workers; start with --placement separated to have some"
    }
  }
}
