import SwerveCore
import SwerveHardware
import SwerveInference

/// One rank, or several.
extension EngineThreads {
  /// The runner of this thread and what executes plans over all ranks. With several, all of them load at once.
  ///
  /// - Parameter attention: another place for the keys and values of this rank.
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
      // Ranks that only hold weights are told nothing of steps.
      let coordinator = plan.layout.computingCount > 1 ? ranks.coordinator() : nil
      let runner = try makeRunner(
        device, lower: lower, attention: attention, links: ranks.links(), coordinator: coordinator,
        onProgress: onProgress)
      try ranks.wait()
      return (
        runner,
        RankedExecutor(
          runner: runner, ranks: ranks, parts: try plan.blockParts(), order: try plan.blockOrder(),
          onNotice: { [board] in board.record(notice: $0) })
      )
    } catch {
      ranks.stop(hasFailed: true)
      throw error
    }
  }

  private func startRanks(kernels: KernelSet) throws(EngineStartError) -> any RankHandle {
    let configuration = plan.configuration
    var data: RankDataWorkers?
    if configuration.placement != .unified && plan.layout.computingCount > 1 {
      data = RankDataWorkers(
        configuration.dataWorkers, hasQuota: configuration.placement == .pipelineData, spans: plan.sizing.spansBanks,
        sharesPools: sharesPools)
    }
    do {
      var greeting = RankGreeting(
        rank: 0, layout: plan.layout, folder: configuration.modelFolder, overrides: configuration.configOverrides,
        runner: plan.runner, blockCount: plan.sizing.blockCount, threads: configuration.threads, kernels: kernels,
        seconds: configuration.distributedTimeoutSeconds,
        fingerprint: try RankGreeting.fingerprint(
          files: plan.files, runner: plan.runner, overrides: configuration.configOverrides, kernels: kernels))
      greeting.data = data
      greeting.checksContent = configuration.dataWorkers.links.checksContent
      greeting.cpus = configuration.namedParameterDevices
      if plan.runsRanksAsThreads {
        var start = ThreadRanks.Start(
          layout: plan.layout, runner: plan.runner, files: plan.files, blockCount: plan.sizing.blockCount,
          device: try deviceConfiguration(), seconds: configuration.distributedTimeoutSeconds)
        start.data = data
        start.cpus = greeting.cpus
        start.fingerprint = greeting.fingerprint
        return ThreadRanks(start) { [end] in end.threadEnded() }
      }
      if configuration.executor == .mpi { return try MPIRanks(greeting) }
      guard let program = configuration.rankProgram else { preconditionFailure("checked with the configuration") }
      return try ProcessRanks(greeting, program: program.path, arguments: program.arguments)
    } catch {
      throw .device("\(error)")
    }
  }
}

extension StartPlan {
  /// [ranks that compute] bytes of each one's part of a block.
  func blockParts() throws(EngineStartError) -> [Int] {
    var parts: [Int] = []
    for rank in 0..<layout.computingCount {
      var own = runner
      own.shape = layout.shape(rank)
      parts.append(try Self.shareLayout(own).blockBytes)
    }
    return parts
  }

  /// Where those lie in a block as one rank has it; nil where there is one, or where the parts are not the block.
  func blockOrder() throws(EngineStartError) -> RankBlockOrder? {
    if layout.computingCount == 1 { return nil }
    do {
      return try RankBlockOrder(layout, model: model, type: runner.kvType, blockTokens: runner.limits.blockTokens)
    } catch {
      throw .model("\(error)")
    }
  }

  /// Whether the other ranks are threads of this process.
  var runsRanksAsThreads: Bool {
    // Where there is a program to start, shares of the weights are in memory of their own, and ranks that depend on data
    // workers can be started again.
    let isBetterApart = layout.holderCount > 0 || configuration.placement != .unified
    let usual: EngineConfiguration.Executor = isBetterApart && configuration.rankProgram != nil ? .shm : .threads
    return layout.rankCount > 1 && (configuration.executor ?? usual) == .threads
  }
}
