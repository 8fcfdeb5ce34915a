import SwerveCore
import SwerveHardware
import SwerveInference

/// One rank, or several.
extension EngineThreads {
  /// The runner of this thread and what executes plans over all ranks. With several, all of them load at once.
  func makeExecutor(
    _ device: CPUDevice, lower: LowerPlaces, attention: (any AttentionPort)?,
    onProgress: @escaping @Sendable (Double) -> Void
  ) throws(EngineStartError) -> (ModelRunner, any StepExecutor) {
    guard plan.layout.rankCount > 1 else {
      let runner = try makeRunner(device, lower: lower, attention: attention, onProgress: onProgress)
      return (runner, InlineExecutor(runner: runner))
    }
    let ranks = ThreadRanks(
      ThreadRanks.Start(
        layout: plan.layout, runner: plan.runner, files: plan.files, blockCount: plan.sizing.blockCount,
        device: try deviceConfiguration(), seconds: plan.configuration.distributedTimeoutSeconds)
    ) { [end] in end.threadEnded() }
    do {
      let runner = try makeRunner(
        device, lower: lower, links: ranks.links(), coordinator: ranks.coordinator(), onProgress: onProgress)
      try ranks.wait()
      return (runner, RankedExecutor(runner: runner, ranks: ranks))
    } catch {
      ranks.stop()
      throw error
    }
  }
}

extension StartPlan {
  /// Whether the other ranks are threads of this process.
  var runsRanksAsThreads: Bool {
    layout.rankCount > 1 && (configuration.executor ?? .threads) == .threads
  }
}
