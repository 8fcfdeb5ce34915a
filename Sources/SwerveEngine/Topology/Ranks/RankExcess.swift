package import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveTransfer

/// Data workers of a rank: its own keys and values have a fixed quota, and sequences beyond it have theirs, of the rank's
/// layers, with these. They are the rank's: it starts them, and it ends when one is lost.
package struct RankExcess: Sendable {
  package var workers: DataWorkerConfiguration

  package init(_ workers: DataWorkerConfiguration) { self.workers = workers }

  /// Parts of equal size that the pool is cut into: the rank's own, then one a worker.
  private var bankCount: Int { 1 + workers.count }

  /// Blocks of the rank's own, of the whole pool.
  func quota(of blockCount: Int) -> Int { blockCount / bankCount }

  /// Starts the workers and waits until they are ready.
  ///
  /// - Parameters:
  ///   - runner: the rank's.
  ///   - blockCount: of the whole pool.
  ///   - fingerprint: of weights, types and kernels.
  ///   - findsRegions: whether this process was started with a region for each worker, which has what it had before.
  /// - Throws: `EngineStartError` when one does not start, `HardwareError` for memory, `TransferError` for a region that is
  ///   not there.
  func start(
    _ runner: RunnerConfiguration, blockCount: Int, fingerprint: String, device: CPUDevice, findsRegions: Bool = false
  ) throws -> ExcessAttention {
    let quota = quota(of: blockCount)
    let shape = AttentionShape(runner.share)
    let limits = runner.limits
    let threads = device.threadCount * (1 + workers.count)
    let greeting = WorkerGreeting(
      version: workers.version, fingerprint: Array(fingerprint.utf8), worker: 0, epoch: 0, type: runner.type,
      kvType: runner.kvType, kernels: device.kernelSet.rawValue, threads: device.threadCount,
      sharesCores: threads > KernelPool.allowedCPUs.count, headCount: shape.headCount,
      keyValueHeadCount: shape.keyValueHeadCount, headDim: shape.headDim, windows: shape.windows,
      limits: StepMessage.Limits(
        rows: limits.rows, sequences: limits.sequences, contextTokens: limits.contextTokens + limits.drafts,
        blockTokens: limits.blockTokens, blockCount: quota),
      deadline: workers.deadline)
    var exact = workers
    exact.maximum = workers.count
    let layout = try shape.layout(type: runner.kvType, blockTokens: limits.blockTokens)
    let set = DataSet(
      greeting, exact, blockBytes: layout.blockBytes, parameterBytes: { device.memoryInUseBytes }, onNotice: { _ in })
    if findsRegions {
      for worker in 0..<workers.count { try set.keep(inherited: worker, byteCount: layout.blockBytes * quota) }
    }
    try set.start()
    let port = try FanoutAttention(
      shape: shape, type: runner.type, limits: limits, workers: set, device: device)
    return ExcessAttention(quota: quota, port: port) {
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
    ]
    return .object(object)
  }

  /// nil for anything else.
  init?(_ json: JSON) {
    guard let count = json["workers"]?.int, (1...256).contains(count), let deadline = json["deadline"]?.double,
      (0.05...3600).contains(deadline), let version = json["version"]?.string
    else { return nil }
    workers = DataWorkerConfiguration()
    workers.count = count
    workers.deadline = deadline
    workers.version = version
    // A rank that is a process has processes of the same program as its workers.
    workers.launch = .process(path: WorkerProcess.ownPath, arguments: ["data-worker"])
  }
}
