import SwerveCore
import SwerveHardware
import SwerveInference

/// One rank, or several.
extension EngineThreads {
  /// The runner of this thread and what executes plans over all ranks. With several, all of them load at once.
  ///
  /// - Parameter attention: another place for keys and values; only with one rank.
  func makeExecutor(
    _ device: CPUDevice, lower: LowerPlaces, attention: (any AttentionPort)?, watch: (any LayerWatch)? = nil,
    onProgress: @escaping @Sendable (Double) -> Void
  ) throws(EngineStartError) -> (ModelRunner, any StepExecutor) {
    guard plan.layout.rankCount > 1 else {
      let runner = try makeRunner(
        device, lower: lower, attention: attention, watch: watch, onProgress: onProgress)
      return (runner, InlineExecutor(runner: runner))
    }
    let ranks = try startRanks(kernels: device.kernelSet)
    do {
      let runner = try makeRunner(
        device, lower: lower, links: ranks.links(), coordinator: ranks.coordinator(), onProgress: onProgress)
      try ranks.wait()
      return (runner, RankedExecutor(runner: runner, ranks: ranks))
    } catch {
      ranks.stop(hasFailed: true)
      throw error
    }
  }

  private func startRanks(kernels: KernelSet) throws(EngineStartError) -> any RankHandle {
    let configuration = plan.configuration
    if plan.runsRanksAsThreads {
      return ThreadRanks(
        ThreadRanks.Start(
          layout: plan.layout, runner: plan.runner, files: plan.files, blockCount: plan.sizing.blockCount,
          device: try deviceConfiguration(), seconds: configuration.distributedTimeoutSeconds)
      ) { [end] in end.threadEnded() }
    }
    do {
      let greeting = RankGreeting(
        rank: 0, layout: plan.layout, folder: configuration.modelFolder, overrides: configuration.configOverrides,
        runner: plan.runner, blockCount: plan.sizing.blockCount, threads: configuration.threads, kernels: kernels,
        seconds: configuration.distributedTimeoutSeconds,
        fingerprint: try RankGreeting.fingerprint(
          files: plan.files, runner: plan.runner, overrides: configuration.configOverrides, kernels: kernels))
      if configuration.executor == .mpi { return try MPIRanks(greeting) }
      guard let program = configuration.rankProgram else { preconditionFailure("checked with the configuration") }
      return try ProcessRanks(greeting, program: program.path, arguments: program.arguments)
    } catch {
      throw .device("\(error)")
    }
  }
}

extension StartPlan {
  /// Whether the other ranks are threads of this process.
  var runsRanksAsThreads: Bool {
    layout.rankCount > 1 && (configuration.executor ?? .threads) == .threads
  }
}
