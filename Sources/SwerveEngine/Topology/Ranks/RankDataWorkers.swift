package import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveTransfer

/// Data workers of a rank, which have keys and values of the rank's layers and heads. They are the rank's: it starts them,
/// and it ends when one is lost.
package struct RankDataWorkers: Sendable {
  package var workers: DataWorkerConfiguration
  /// Whether a rank of the first stage has a fixed quota of keys and values itself, and ranks of other stages have all of
  /// theirs (`pipeline-pd`); else each rank's are all with data workers (`separated`).
  package var hasQuota: Bool
  /// Whether a sequence may lie with several workers.
  package var spans: Bool
  /// Whether the rank copies blocks out of their pools and into them, for what is kept below or goes to other engines.
  package var sharesPools: Bool

  package init(
    _ workers: DataWorkerConfiguration, hasQuota: Bool, spans: Bool = false, sharesPools: Bool = false
  ) {
    self.workers = workers
    self.hasQuota = hasQuota
    self.spans = spans
    self.sharesPools = sharesPools
  }

  /// Workers of a rank.
  func count(of shape: RankShape) -> Int { hasQuota && !shape.isFirstStage ? 0 : workers.count }

  /// Blocks of each of the equal parts that a rank's pool is cut into: its own, where it has one, then one a worker.
  func bankBlocks(of shape: RankShape, _ blockCount: Int) -> Int {
    let count = count(of: shape)
    return count == 0 ? blockCount : blockCount / (count + (hasQuota ? 1 : 0))
  }

  /// Blocks with the rank itself.
  func quota(of shape: RankShape, _ blockCount: Int) -> Int {
    hasQuota || count(of: shape) == 0 ? bankBlocks(of: shape, blockCount) : 0
  }

  /// Starts the rank's workers and waits until they are ready; nil where it has none.
  ///
  /// - Parameters:
  ///   - runner: the rank's.
  ///   - blockCount: of the whole pool.
  ///   - fingerprint: of weights, types and kernels.
  ///   - parameter: CPUs that the rank keeps to; nil: nobody named some.
  ///   - rank, ranks: its number among those that compute on this host's CPUs.
  ///   - findsRegions: whether this process was started with a region for each worker, which has what it had before.
  /// - Throws: `EngineStartError` when one does not start, `HardwareError` for memory, `TransferError` for a region that is
  ///   not there.
  func start(
    _ runner: RunnerConfiguration, blockCount: Int, fingerprint: String, device: CPUDevice, parameter: [Int]?,
    rank: Int,
    ranks: Int, findsRegions: Bool = false
  ) throws -> ExcessAttention? {
    if count(of: runner.shape) == 0 { return nil }
    let bankBlocks = bankBlocks(of: runner.shape, blockCount)
    let shape = AttentionShape(runner.share)
    var exact = workers
    exact.maximum = workers.count
    exact.cpus = workers.cpus(of: rank, among: ranks)
    let cpus = try WorkerCPUs(
      parameter: parameter, data: exact.cpus, threads: device.threadCount, count: workers.count, ranks: ranks)
    let greeting = WorkerGreeting(
      runner, bankBlocks: bankBlocks, fingerprint: Array(fingerprint.utf8), workers: workers, device: device,
      sharesCores: cpus.isShared, parts: spans ? workers.count : 1, spans: spans)
    let layout = try shape.layout(type: runner.kvType, blockTokens: runner.limits.blockTokens)
    let pools =
      sharesPools
      ? DataPools(
        layout: layout, bankBlocks: bankBlocks, bankCount: workers.count, places: nil, hasTiers: false, device: device)
      : nil
    let set = DataSet(
      greeting, exact, pools: pools, blockBytes: layout.blockBytes, parameterBytes: { device.memoryInUseBytes },
      onNotice: { _ in })
    if findsRegions {
      for worker in 0..<workers.count { try set.keep(inherited: worker, byteCount: layout.blockBytes * bankBlocks) }
    }
    try set.start()
    let port = try FanoutAttention(
      shape: shape, type: runner.type, limits: runner.limits, workers: set, device: device, failsSteps: true)
    return ExcessAttention(quota: quota(of: runner.shape, blockCount), port: port) {
      set.links.reduce((bytes: 0, exchanges: 0)) { sum, link in
        guard let traffic = link?.traffic else { return sum }
        return (sum.bytes + traffic.sentBytes + traffic.receivedBytes, sum.exchanges + traffic.exchanges)
      }
    }
  }

  // MARK: JSON

  var json: JSON {
    let object: JSONObject = [
      "workers": .int(workers.count), "deadline": .double(workers.deadline), "version": .string(workers.version),
      "quota": .bool(hasQuota), "spans": .bool(spans), "pools": .bool(sharesPools),
      "checks": .bool(workers.links.checksContent),
      "cpus": .array(workers.cpus.map { CPUList.json($0) }),
    ]
    return .object(object)
  }

  /// nil for anything else.
  init?(_ json: JSON) {
    guard let count = json["workers"]?.int, (1...256).contains(count), let deadline = json["deadline"]?.double,
      (0.05...3600).contains(deadline), let version = json["version"]?.string, let quota = json["quota"]?.bool,
      let spans = json["spans"]?.bool, let sharesPools = json["pools"]?.bool
    else { return nil }
    var workers = DataWorkerConfiguration()
    workers.count = count
    workers.deadline = deadline
    workers.version = version
    workers.links.checksContent = json["checks"]?.bool ?? false
    workers.cpus = json["cpus"]?.array?.map { CPUList.numbers($0) } ?? []
    // A rank that is a process has processes of the same program as its workers.
    workers.launch = .process(path: WorkerProcess.ownPath, arguments: ["data-worker"])
    self.init(workers, hasQuota: quota, spans: spans, sharesPools: sharesPools)
  }
}
