import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveTiers
import SwerveTransfer

// What the separated placement builds in place of a pool of its own.
extension EngineThreads {
  /// Attention over the data workers, which are started and ready; nil where keys and values are in this process.
  ///
  /// - Throws: `.device` when a worker does not start, or is not the one it has to be; nothing was accepted then.
  func makeSeparation(_ device: CPUDevice, _ cpus: WorkerCPUs?) throws(EngineStartError) -> FanoutAttention? {
    guard plan.configuration.placement == .separated, let cpus else { return nil }
    var configuration = plan.configuration.dataWorkers
    configuration.cpus = cpus.data
    let endpoints = try endpoints(configuration)
    let hasRanks = plan.layout.computingCount > 1
    let workers = DataSet(
      try greeting(device, endpoints, cpus), configuration, endpoints, plan.links,
      pools: try pools(device), isFixed: hasRanks, blockBytes: try StartPlan.shareLayout(plan.runner).blockBytes,
      parameterBytes: { device.memoryInUseBytes }, onNotice: { [board] in board.record(notice: $0) })
    try workers.start()
    do {
      // Pieces of several ranks' steps are the stages' to cut.
      return try FanoutAttention(
        shape: AttentionShape(plan.runner.share), type: plan.runner.type, limits: plan.runner.limits, workers: workers,
        device: device, microBatches: hasRanks ? 1 : plan.configuration.microBatches,
        leastRows: try leastRows(of: workers.template, device))
    } catch {
      throw .memory("\(error)")
    }
  }

  /// Who computes where on this host, as the calling thread may; nil: nobody is told where.
  func workerCPUs() throws(EngineStartError) -> WorkerCPUs? {
    let configuration = plan.configuration
    let workers = configuration.dataWorkers
    if configuration.placement != .separated && configuration.parameterCPUs == nil { return nil }
    // Each process of a job looks at what its own host has.
    if configuration.executor != .mpi { try WorkerCPUs.check(configuration.parameterDevices) }
    let isSeparated = configuration.placement == .separated
    if isSeparated && plan.layout.computingCount > 1 {
      let launcher = configuration.executor == .mpi ? configuration.launcher : nil
      let ranks = launcher?.localSize ?? plan.layout.computingCount
      let threads = max(1, (configuration.threads ?? KernelPool.allowedCPUs.count) / ranks)
      return try WorkerCPUs(
        parameter: configuration.parameterCPUs, data: workers.cpus(of: launcher?.localRank ?? 0, among: ranks),
        threads: threads, count: workers.count, ranks: ranks)
    }
    let elsewhere = try endpoints(workers).count { !$0.isLoopback }
    return try WorkerCPUs(
      parameter: configuration.parameterCPUs, data: isSeparated ? workers.cpus : [], threads: configuration.threads,
      count: isSeparated ? workers.count : 0, local: isSeparated ? workers.count - elsewhere : 0,
      reachable: KernelPool.reachableCPUs.map(Int.init), allowed: KernelPool.allowedCPUs.map(Int.init))
  }

  /// Rows of a micro-batch at least, where this side chooses: measured, while nothing else runs.
  private func leastRows(of greeting: WorkerGreeting, _ device: CPUDevice) throws(HardwareError) -> Int {
    if plan.configuration.microBatches != nil || greeting.parts == 1 { return StepPieces.leastRows }
    let model = plan.model
    let probe = MachineProbe(
      device: device,
      shape: KernelBenchmark.Shape(
        name: "", hidden: model.hiddenSize, queryHeads: model.headCount, kvHeads: model.keyValueHeadCount,
        headDim: model.headDim, intermediate: model.intermediateSize, layers: model.layerCount,
        vocabulary: model.vocabularySize),
      type: plan.runner.type, format: plan.runner.policy.format(inputs: model.hiddenSize))
    return try probe.balancedRows()
  }

  /// Parts of a step at most: micro-batches, unless all workers compute on this side's cores and nobody asked for
  /// some; or the turns of a sequence that lies with several workers.
  private func parts(sharesCores: Bool, remote: Int) -> Int {
    let configuration = plan.configuration
    let wanted = plan.layout.computingCount == 1 ? configuration.microBatches : 1
    if sharesPools { return wanted ?? 1 }
    let overlaps = !sharesCores || remote > 0
    let microBatches = wanted ?? (overlaps ? StepPieces.most : 1)
    return max(microBatches, plan.sizing.spansBanks ? configuration.dataWorkers.count : 1)
  }

  /// The workers' pools as this process sees them, where blocks are kept below them; nil: nothing is.
  private func pools(_ device: CPUDevice) throws(EngineStartError) -> DataPools? {
    guard sharesPools else { return nil }
    let layout = try StartPlan.shareLayout(plan.runner)
    let configuration = plan.configuration.dataWorkers
    do throws(TransferError) {
      var places: SharedPlaces?
      if placeCount > 0 {
        let memory = try SharedMemory(
          name: "swerve-kv-places", byteCount: SharedPlaces.byteCount(placeCount, blockBytes: layout.blockBytes))
        places = try SharedPlaces(memory, placeCount: placeCount, blockBytes: layout.blockBytes)
      }
      return DataPools(
        layout: layout, bankBlocks: plan.sizing.blockCount / configuration.count,
        bankCount: configuration.resolvedMaximum, places: places, hasTiers: plan.tiers != nil, device: device)
    } catch {
      throw .memory("\(error)")
    }
  }

  /// Whether blocks are copied between the workers' pools and what is below them, or other engines.
  var sharesPools: Bool { plan.tiers != nil || placeCount > 0 || plan.configuration.kvTransfer != nil }

  /// Places for running sequences' blocks below the pools of all workers.
  private var placeCount: Int { plan.configuration.overflow?.hostBlocks ?? 0 }

  /// Where workers of other hosts listen.
  private func endpoints(_ configuration: DataWorkerConfiguration) throws(EngineStartError) -> [Endpoint] {
    var endpoints: [Endpoint] = []
    for address in configuration.addresses {
      guard let endpoint = Endpoint(address), endpoint.port > 0 else {
        throw .configuration([
          "--data-workers-at must be host:port, or several with commas between them, not \(address.debugDescription)."
        ])
      }
      if let problem = plan.links.problem(with: endpoint) { throw .configuration(["\(problem)."]) }
      endpoints.append(endpoint)
    }
    return endpoints
  }

  /// What each data worker has to be.
  private func greeting(
    _ device: CPUDevice, _ endpoints: [Endpoint], _ cpus: WorkerCPUs
  ) throws(EngineStartError) -> WorkerGreeting {
    let configuration = plan.configuration
    let fingerprint: Digest
    do {
      fingerprint = try ModelFingerprint.digest(
        files: plan.files, runner: plan.runner, overrides: configuration.configOverrides, kernels: device.kernelSet)
    } catch {
      throw .model("\(error)")
    }
    var bytes = [UInt8](repeating: 0, count: Digest.byteCount)
    bytes.withUnsafeMutableBytes { fingerprint.write(to: $0, at: 0) }
    let workers = configuration.dataWorkers
    var greeting = WorkerGreeting(
      plan.runner, bankBlocks: plan.sizing.blockCount / workers.count, placeCount: placeCount, fingerprint: bytes,
      workers: workers, device: device, sharesCores: cpus.isShared,
      parts: parts(sharesCores: cpus.isShared, remote: endpoints.count { !$0.isLoopback }),
      spans: plan.sizing.spansBanks)
    greeting.takesTurns = keepsToOneCore(cpus) && plan.layout.computingCount == 1
    return greeting
  }

  /// Whether this thread hands over to data workers on one core. Many engines of one process are left to the system.
  func keepsToOneCore(_ cpus: WorkerCPUs) -> Bool {
    guard case .process = plan.configuration.dataWorkers.launch else { return false }
    return cpus.isShared && cpus.parameter == nil
  }
}
