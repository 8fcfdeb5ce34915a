package import SwerveCore
package import SwerveHardware
package import SwerveInference
import Synchronization

/// Ranks as threads of this process, each with its own kernel threads, weights and keys and values; rank 0 is the caller's
/// thread.
package final class ThreadRanks: RankHandle, Sendable {
  /// How a rank is started.
  package struct Start: Sendable {
    package var layout: RankLayout
    /// Of the whole model; a rank replaces the shape.
    package var runner: RunnerConfiguration
    package var files: ModelFiles
    package var blockCount: Int
    /// Threads and kernels of all ranks together.
    package var device: CPUConfiguration
    /// The shortest wait of one rank for another that fails; those further down the stages wait longer.
    package var seconds: Double
    /// Data workers of ranks; nil: every rank has all keys and values of its layers.
    package var data: RankDataWorkers?
    /// [ranks] CPUs that each keeps to; empty: nobody named some.
    package var cpus: [[Int]?] = []
    /// Of weights, configuration, types and kernels: what those workers are told.
    package var fingerprint = ""
    /// For tests: what goes wrong in which rank.
    package var faults: [Int: Fault] = [:]

    package init(
      layout: RankLayout, runner: RunnerConfiguration, files: ModelFiles, blockCount: Int, device: CPUConfiguration,
      seconds: Double
    ) {
      self.layout = layout
      self.runner = runner
      self.files = files
      self.blockCount = blockCount
      self.device = device
      self.seconds = seconds
    }

    package func runner(_ rank: Int) -> RunnerConfiguration {
      var own = runner
      own.shape = layout.shape(rank)
      return own
    }
  }

  /// What a rank may be told to do wrong, after so many messages of rank 0.
  package enum Fault: Sendable, Hashable {
    case ends(afterMessages: Int)
    /// It neither answers nor ends.
    case hangs(afterMessages: Int)

    fileprivate var messages: Int {
      switch self {
      case .ends(let count), .hangs(let count): count
      }
    }
  }

  private let start: Start
  private let channels: [RankWay: ThreadChannel]
  private let loading = Mailbox<Loaded>()
  private let report = Mutex<String?>(nil)

  /// What a rank says when it has loaded, or could not.
  private struct Loaded: Sendable {
    var rank: Int
    var failure: String?
  }

  /// Starts the threads of ranks 1, 2, …, which begin to load. The caller then loads its own part and calls `wait`.
  ///
  /// - Parameter onEnd: called on each of those threads as its last act.
  package init(_ start: Start, onEnd: @escaping @Sendable () -> Void) {
    self.start = start
    let spins = start.device.spinMicroseconds > 0 && start.layout.rankCount <= KernelPool.allowedCPUs.count
    let capacity = RankLinks.messageBytes(hiddenSize: start.runner.model.hiddenSize)
    var channels: [RankWay: ThreadChannel] = [:]
    for way in RankWay.all(start.layout) {
      channels[way] = ThreadChannel(
        from: start.layout.name(way.from), to: start.layout.name(way.to), capacity: capacity,
        sendSeconds: 4 * start.seconds, receiveSeconds: way.patience(start.layout).map { $0 * start.seconds },
        spins: spins)
    }
    self.channels = channels
    for rank in 1..<start.layout.rankCount {
      startThread("swerve-rank-\(rank)") { [self] in
        run(rank)
        onEnd()
      }
    }
  }

  /// The rest of rank 0.
  package func links() -> RankLinks { links(0) }
  package func coordinator() -> RankCoordinator { RankCoordinator(start.layout) { way, _ in channel(way) } }

  private func links(_ rank: Int) -> RankLinks { RankLinks(rank, of: start.layout) { way, _ in channel(way) } }

  private func channel(_ way: RankWay) -> ThreadChannel {
    guard let channel = channels[way] else { preconditionFailure("a way that the layout has not got") }
    return channel
  }

  /// Returns when all ranks have loaded.
  ///
  /// - Throws: what the first one says that could not.
  package func wait() throws(EngineStartError) {
    var missing = Set(1..<start.layout.rankCount)
    var messages: [Loaded] = []
    while !missing.isEmpty {
      loading.take(into: &messages, waits: true)
      for message in messages {
        if let failure = message.failure { throw .device("\(start.layout.name(message.rank)): \(failure)") }
        missing.remove(message.rank)
      }
    }
  }

  package var firstReport: String? { report.withLock { $0 } }

  package func stop(hasFailed: Bool) { for channel in channels.values { channel.close() } }

  private func run(_ rank: Int) {
    if !compute(rank) { return }
    // Whoever waits for this rank hears that it has ended.
    for (way, channel) in channels where way.from == rank || way.to == rank { channel.close() }
  }

  /// Answers whether the others are to be told of its end.
  private func compute(_ rank: Int) -> Bool {
    let worker: any RankTask
    do {
      worker = try load(rank)
    } catch {
      loading.post(Loaded(rank: rank, failure: "\(error)"))
      return true
    }
    loading.post(Loaded(rank: rank, failure: nil))
    let fault = start.faults[rank]
    do {
      try worker.run(mostMessages: fault?.messages)
    } catch {
      report.withLock { $0 = $0 ?? "\(error)" }
    }
    if case .hangs? = fault { return false }
    return true
  }

  private func load(_ rank: Int) throws -> any RankTask {
    let links = links(rank)
    let cpus = start.cpus.indices.contains(rank) ? start.cpus[rank] : nil
    guard let coordinator = links.coordinator else { preconditionFailure("rank 0 is not a thread of its own") }
    let device = try CPUDevice(
      configuration: start.device.share(rank, of: start.layout).keeping(to: cpus))
    if start.layout.isHolder(rank), let gathering = start.runner.gathering {
      return try ShareHolder(
        gathering.plan, rank: rank, of: gathering.rankCount, path: gathering.path, coordinator: coordinator,
        device: device)
    }
    if cpus != nil { device.confineCallingThread() }
    let own = start.runner(rank)
    let excess = try start.data?.start(
      own, blockCount: start.blockCount, fingerprint: start.fingerprint, device: device, parameter: cpus,
      rank: rank, ranks: start.layout.computingCount)
    let shard = try ModelShard(
      own, files: start.files, device: device, blockCount: start.blockCount, excess: excess, links: links)
    return RankWorker(shard, coordinator: coordinator)
  }
}

extension CPUConfiguration {
  /// The part of a rank of this machine: one thread without a CPU of its own for those that compute nothing.
  func share(_ rank: Int, of layout: RankLayout) -> CPUConfiguration {
    if !layout.isHolder(rank) { return share(rank, of: layout.computingCount) }
    var own = self
    own.threadCount = 1
    own.cpus = nil
    own.isPinned = false
    return own
  }

  /// With a thread on each of these CPUs; nil: as it is.
  func keeping(to cpus: [Int]?) -> CPUConfiguration {
    guard let cpus else { return self }
    var own = self
    own.cpus = cpus
    own.threadCount = cpus.count
    own.isPinned = true
    return own
  }

  /// The CPUs and threads of one of several ranks on this machine: each CPU is one rank's as far as they suffice.
  package func share(_ rank: Int, of ranks: Int) -> CPUConfiguration {
    let available = KernelPool.allowedCPUs.map(Int.init)
    let threads = threadCount ?? available.count
    let first = threads * rank / ranks
    let count = threads * (rank + 1) / ranks - first
    var own = self
    own.threadCount = max(1, count)
    own.cpus = nil
    if threads >= ranks && threads <= available.count {
      own.cpus = Array(available[first..<first + count])
    } else {
      own.isPinned = false
    }
    return own
  }
}
