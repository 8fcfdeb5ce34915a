import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveTransfer

extension WorkerGreeting {
  /// What data workers have to be for the layers and heads of a runner; worker and epoch are filled in later.
  ///
  /// - Parameters:
  ///   - bankBlocks: blocks with each worker.
  ///   - placeCount: places below all workers' pools.
  ///   - fingerprint: of weights, types and kernels.
  ///   - parts: of a step at most.
  ///   - spans: whether a sequence may lie with several.
  init(
    _ runner: RunnerConfiguration, bankBlocks: Int, placeCount: Int = 0, fingerprint: [UInt8],
    workers: DataWorkerConfiguration, device: CPUDevice, sharesCores: Bool, parts: Int, spans: Bool
  ) {
    let shape = AttentionShape(runner.share)
    let limits = runner.limits
    var steps = StepMessage.Limits(
      rows: limits.rows, sequences: limits.sequences, contextTokens: limits.contextTokens + limits.drafts,
      blockTokens: limits.blockTokens, blockCount: bankBlocks)
    steps.placeCount = placeCount
    self.init(
      version: workers.version, fingerprint: fingerprint, worker: 0, epoch: 0, type: runner.type,
      kvType: runner.kvType, kernels: device.kernelSet.rawValue, threads: device.threadCount,
      sharesCores: sharesCores, headCount: shape.headCount, keyValueHeadCount: shape.keyValueHeadCount,
      headDim: shape.headDim, windows: shape.windows, limits: steps, deadline: workers.deadline, parts: parts,
      rowStateBytes: spans
        ? AttentionBatch.stateBytes(rows: 1, queryHeads: shape.headCount, headDim: shape.headDim) : 0)
    checksContent = workers.links.checksContent
  }
}
