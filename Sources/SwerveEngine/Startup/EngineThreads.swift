package import SwerveCore
package import SwerveHardware
import SwerveInference
import SwerveScheduling
package import SwerveText
import SwerveTiers
package import SwerveTransfer

/// The two threads of an engine and what connects them. The engine's state is built inside its thread and never leaves.
package struct EngineThreads: Sendable {
  package let plan: StartPlan
  package let clock: EngineClock
  package let observer: (any EngineObserver)?
  package let inbox = Mailbox<InboxMessage>()
  package let publisher = Mailbox<PublisherMessage>()
  package let spares = Mailbox<StepOutputs>(capacity: 4)
  package let board: StatusBoard
  package let end: ThreadEnd

  /// What the engine thread tells about itself when it is ready.
  package struct Loaded: Sendable {
    package var deviceDetail = ""
    package var warnings: [String] = []
    /// One line about blocks below the device; nil without.
    package var tiers: String?
    package var seconds = 0.0
    /// Where blocks come in from other engines and go out to them; nil without.
    package var exchange: BlockExchange?

    package init() {}
  }

  package init(
    plan: StartPlan, clock: EngineClock, observer: (any EngineObserver)?,
    onFailure: @escaping @Sendable (String) -> Void, onNotice: @escaping @Sendable (String) -> Void = { _ in }
  ) {
    self.plan = plan
    // The engine's, the publisher's and the other ranks'.
    end = ThreadEnd(threads: 1 + (plan.runsRanksAsThreads ? plan.layout.rankCount : 1))
    self.clock = clock
    self.observer = observer
    self.board = StatusBoard(
      watchdogSeconds: plan.configuration.watchdogSeconds, clock: clock, onFailure: onFailure,
      onNotice: onNotice)
  }

  /// Loads on the new thread and runs the loop there until `stop`.
  package func startEngineThread(
    onProgress: @escaping @Sendable (Double) -> Void
  ) async throws(EngineStartError) -> Loaded {
    let result = await withCheckedContinuation {
      (ready: CheckedContinuation<Result<Loaded, EngineStartError>, Never>) in
      startThread("swerve-engine") {
        self.runEngine(onProgress: onProgress) { ready.resume(returning: $0) }
        self.end.threadEnded()
      }
    }
    return try result.get()
  }

  package func startPublisherThread(tokenizer: Tokenizer?) {
    startThread("swerve-publish") {
      var publisher = Publisher(
        mailbox: self.publisher, spares: self.spares, inbox: self.inbox, tokenizer: tokenizer, observer: self.observer,
        clock: self.clock)
      publisher.run()
      self.end.threadEnded()
    }
  }

  private func runEngine(
    onProgress: @escaping @Sendable (Double) -> Void, ready: (Result<Loaded, EngineStartError>) -> Void
  ) {
    do {
      var loaded = Loaded()
      var loop = try makeLoop(&loaded, onProgress: onProgress)
      ready(.success(loaded))
      loop.run()
      board.set(.dead("it was told to stop."))
      publisher.post(.stop)
      loop.close()
    } catch let error as EngineStartError {
      ready(.failure(error))
    } catch {
      ready(.failure(.configuration(["\(error)"])))
    }
  }

  /// Builds what the engine thread owns; must run on that thread (it becomes the kernel pool's first worker).
  package func makeLoop(
    _ loaded: inout Loaded, onProgress: @escaping @Sendable (Double) -> Void
  ) throws -> EngineLoop {
    let begin = clock.now()
    let cpus = try workerCPUs()
    let device = try makeDevice(cpus?.parameter ?? plan.configuration.parameterCPUs)
    let separation = try makeSeparation(device, cpus)
    let lower = separation == nil ? try makeLowerPlaces(device) : LowerPlaces()
    let handover = try makeHandover()
    let (runner, local) = try makeExecutor(
      device, lower: lower, attention: separation, watch: handover?.packsBlocks == true ? nil : handover,
      onProgress: onProgress)
    var totals = EngineStatistics()
    totals.weightBytes = plan.memoryPlan.weightBytes
    totals.kvBytes = plan.sizing.kvBytes
    totals.scratchBytes = plan.memoryPlan.fixedBytes - plan.memoryPlan.weightBytes
    totals.device = device.name
    totals.loadSeconds = clock.now().seconds(since: begin)
    loaded.deviceDetail =
      "\(device.threadCount) threads, \(device.kernelSet.rawValue) kernels, \(plan.runner.type.rawValue)"
      + (plan.runner.quantization.map { ", \($0.name) weights" } ?? "")
    if let nodes = device.pool.plan?.nodeIDs {
      loaded.deviceDetail +=
        ", on memory node\(nodes.count == 1 ? "" : "s") "
        + nodes.map(String.init).joined(separator: ", ")
    }
    if plan.layout.holderCount > 0 {
      loaded.deviceDetail += ", weights shared out among \(plan.layout.rankCount) ranks"
    }
    if plan.layout.computingCount > 1 {
      loaded.deviceDetail +=
        ", \(plan.layout.rankCount) ranks (tensor parallel \(plan.layout.tensorSize), "
        + "\(plan.layout.stages.count) stage\(plan.layout.stages.count == 1 ? "" : "s"))"
    }
    loaded.warnings = runner.warnings
    if device.refusedPlacementCount > 0 {
      loaded.warnings.append(
        "--numa-bind: the system refused to bind \(device.refusedPlacementCount) matrices to their memory nodes; threads "
          + "are bound, weights are where they were first touched")
    }
    loaded.seconds = totals.loadSeconds
    let tiers = try openTiers(runner, kernels: device.kernelSet, &loaded)
    loaded.exchange = try openExchange(kernels: device.kernelSet)
    let executor: any StepExecutor =
      if let separation { SeparatedExecutor(local, attention: separation) } else { local }
    // Last, for threads that were started before are to run anywhere.
    if let cpus, keepsToOneCore(cpus) { device.confineCallingThread(to: 0) }
    return EngineLoop(
      scheduler: try Scheduler(configuration: schedulerConfiguration, policy: try policy()),
      executor: executor, overflow: lower.store,
      storeBudget: plan.configuration.overflow.flatMap {
        $0.storeBlocksPerStep == nil
          ? StoreBudget(secondsPerStep: $0.storeSecondsPerStep, blockBytes: plan.memoryPlan.blockBytes) : nil
      },
      inbox: inbox, publisher: publisher, spares: spares, board: board, clock: clock, totals: totals,
      tiers: tiers, data: separation?.workers, handover: handover, exchange: loaded.exchange,
      gatherTraffic: runner.gatherTraffic)
  }

  private func openTiers(
    _ runner: ModelRunner, kernels: KernelSet, _ loaded: inout Loaded
  ) throws(EngineStartError) -> BlockTiers? {
    guard let tiers = plan.tiers else { return try passage() }
    let model = try blockModel(kernels: kernels)
    let layout = try StartPlan.layout(plan.runner)
    if plan.layout.computingCount > 1 {
      guard try plan.blockOrder() != nil else {
        throw .configuration([
          "--kv-tiers keeps the parts of a block that ranks have, once each; use --reduction exact, or fewer ranks."
        ])
      }
    }
    let opened = try tiers.open(
      model: model, layout: layout, deviceBlocks: schedulerConfiguration.blockCount,
      sharesPrefixes: plan.configuration.enablePrefixCaching,
      failsWithoutBlocks: plan.configuration.kvTransfer?.loadFailurePolicy == .fail,
      onNotice: { [board] in board.record(notice: $0) })
    if tiers.files != nil && tiers.master == nil {
      loaded.warnings.append(
        "--kv-tiers: without --kv-key-file blocks in files end with this process; give a key file to keep them over a "
          + "restart")
    }
    loaded.tiers = opened.description
    return opened
  }

  /// What numbers in a block depend on: weights, types and kernels, and sums in another order than one rank's.
  func blockModel(kernels: KernelSet) throws(EngineStartError) -> Digest {
    let model: Digest
    do {
      model = try ModelFingerprint.digest(
        files: plan.files, runner: plan.runner, overrides: plan.configuration.configOverrides, kernels: kernels)
    } catch {
      throw .model("\(error)")
    }
    if plan.layout.tensorSize == 1 || plan.layout.isExact { return model }
    var words = [UInt8](repeating: 0, count: Digest.byteCount)
    words.withUnsafeMutableBytes { model.write(to: $0, at: 0) }
    return Digest(of: words + Array("ranks \(plan.layout.tensorSize)".utf8))
  }

  /// - Parameter cpus: that this thread and its kernel threads keep to; nil: all that the process may use.
  private func makeDevice(_ cpus: [Int]?) throws(EngineStartError) -> CPUDevice {
    var own = try deviceConfiguration()
    own.cpus = cpus
    if plan.layout.computingCount > 1 {
      let launcher = plan.configuration.executor == .mpi ? plan.configuration.launcher : nil
      own = own.share(launcher?.localRank ?? 0, of: launcher?.localSize ?? plan.layout.computingCount).keeping(to: cpus)
    }
    do {
      let device = try CPUDevice(configuration: own)
      if cpus != nil { device.confineCallingThread() }
      return device
    } catch {
      throw .device("\(error)")
    }
  }

  /// Of all ranks together.
  func deviceConfiguration() throws(EngineStartError) -> CPUConfiguration {
    var kernels: KernelSet?
    if let name = plan.configuration.kernelSet {
      guard let known = KernelSet(rawValue: name) else {
        let names = KernelSet.available.map(\.rawValue).joined(separator: ", ")
        throw .configuration(["SWERVE_CPU_KERNELS=\(name) is unknown; this CPU has \(names)."])
      }
      kernels = known
    }
    return CPUConfiguration(
      threadCount: plan.configuration.threads, kernels: kernels, numa: plan.configuration.numaBinding)
  }

  func makeRunner(
    _ device: CPUDevice, lower: LowerPlaces, attention: (any AttentionPort)? = nil, links: RankLinks = RankLinks(),
    coordinator: RankCoordinator? = nil, watch: (any LayerWatch)? = nil,
    onProgress: @escaping @Sendable (Double) -> Void
  ) throws(EngineStartError) -> ModelRunner {
    do {
      return try ModelRunner(
        plan.runner, files: plan.files, device: device, blockCount: plan.sizing.blockCount, lower: lower,
        attention: attention, links: links, coordinator: coordinator, watch: watch, progress: onProgress)
    } catch let error as HardwareError {
      throw .memory("\(error)")
    } catch {
      throw .model("\(error)")
    }
  }

  /// Host memory and the store for blocks of running sequences that leave the device.
  private func makeLowerPlaces(_ device: CPUDevice) throws(EngineStartError) -> LowerPlaces {
    var lower = LowerPlaces()
    guard let overflow = plan.configuration.overflow else { return lower }
    lower.stagingBlocks = overflow.stagingBlocks
    do {
      let layout = try plan.model.layout(type: plan.runner.kvType, blockTokens: plan.configuration.blockSize)
      if overflow.hostBlocks > 0 {
        lower.host = try HostRegion(layout: layout, placeCount: overflow.hostBlocks, device: device)
      }
      if overflow.storeBlocks > 0, let makeStore = overflow.makeStore {
        lower.store = try makeStore(
          OverflowConfiguration.Shape(
            placeCount: overflow.storeBlocks, layerCount: layout.layerCount, pieceBytes: layout.blockLayerBytes))
      }
    } catch {
      throw .memory("\(error)")
    }
    return lower
  }

  private func policy() throws(EngineStartError) -> any SchedulingPolicy {
    let configuration = plan.configuration
    if let custom = configuration.customPolicy { return custom }
    if let name = configuration.schedulerExtension {
      guard let policy = Policies.extensionNamed(name) else {
        let names = Policies.extensions.map(\.name).joined(separator: ", ")
        throw .configuration(["--scheduler-cls \(name) is unknown; there is \(names)."])
      }
      return policy
    }
    return Policies.named(configuration.schedulingPolicy.rawValue) ?? FirstComeFirstServed()
  }

  private var schedulerConfiguration: SchedulerConfiguration {
    let configuration = plan.configuration
    var scheduler = SchedulerConfiguration(
      maxBatchedTokens: configuration.resolvedMaxBatchedTokens, maxSequences: configuration.resolvedMaxSequences,
      blockSize: configuration.blockSize, blockCount: plan.sizing.blockCount,
      maxModelLength: plan.sizing.maxModelLength)
    if configuration.placement == .separated {
      // Blocks of workers that may still come have numbers from the start.
      let workers = configuration.dataWorkers
      scheduler.bankCount = workers.resolvedMaximum
      scheduler.openBanks = workers.count
      scheduler.blockCount = plan.sizing.blockCount / workers.count * workers.resolvedMaximum
      if plan.sizing.spansBanks { scheduler.spanTokens = AttentionPartition.tokens }
    }
    if configuration.placement == .pipelineData {
      // The parameter rank's own blocks are used before those of its data workers.
      scheduler.bankCount = configuration.bankCount
      scheduler.fillsBanksInOrder = true
    }
    if let overflow = configuration.overflow {
      scheduler.hostBlockCount = overflow.hostBlocks
      scheduler.overflowBlockCount = overflow.makeStore == nil ? 0 : overflow.storeBlocks
      scheduler.storeBlocksPerStep = overflow.storeBlocksPerStep
    }
    scheduler.enablePrefixCaching = configuration.enablePrefixCaching
    scheduler.enableChunkedPrefill = configuration.enableChunkedPrefill
    scheduler.longPrefillThreshold = configuration.longPrefillThreshold
    scheduler.watermark = configuration.watermark
    scheduler.serviceRules = configuration.serviceClasses.all.map { ServiceRule($0) }
    scheduler.queueTimeout = configuration.queueTimeout.map { UInt64($0 * 1e9) }
    scheduler.groupsLengths = configuration.groupsLengths
    scheduler.speculation = configuration.speculation
    scheduler.tiers = transferRules
    scheduler.vocabularySize = plan.model.vocabularySize
    scheduler.evictsByCost = configuration.prefixCachePolicy == .cost
    scheduler.adaptsLongPrefill = configuration.adaptsLongPrefill
    return scheduler
  }
}

extension EngineConfiguration {
  /// What `--numa-bind` and its companions ask of the device; nil without it.
  package var numaBinding: NUMABinding? { numaBind ? NUMABinding(nodes: numaNodes, cpus: numaCPUs) : nil }
}
