import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveTiers

extension StartPlan {
  /// Who gets which memory: what depends on one another and is decided together.
  struct Memory {
    /// With the places below the device that running sequences get.
    var configuration: EngineConfiguration
    var runner: RunnerConfiguration
    var plan: MemoryPlan
    var sizing: MemorySizing
    /// nil = nothing is kept below the device.
    var tiers: TierPlan?
    let machine = SystemMemory.current()
  }
}

extension StartPlan.Memory {
  /// Sizes everything. Where the longest sequence does not fit the device, tiers give up to half of their room to blocks
  /// of running sequences.
  init(
    _ asked: EngineConfiguration, files: ModelFiles, model: ModelConfiguration, layout ranks: RankLayout
  ) throws(EngineStartError) {
    let tiers = try TierPlan(asked)
    if let tiers, tiers.isLossy, ranks.computingCount > 1 {
      throw .configuration([
        "--kv-tiers: dtype= converts whole blocks, and those are spread over \(ranks.computingCount) ranks; leave it out, or "
          + "use one rank."
      ])
    }
    let sharesPools = tiers != nil || asked.kvTransfer != nil
    if sharesPools, asked.placement == .separated, ranks.computingCount == 1, let count = asked.microBatches, count > 1
    {
      throw .configuration([
        "--micro-batches \(count) cannot be combined with tiers below data workers, nor with handing their blocks over; use 1, "
          + "or start without --kv-tiers and --kv-transfer-config."
      ])
    }
    if asked.overflow == nil, asked.enableChunkedPrefill, ranks.computingCount == 1, let tiers {
      let runner = try StartPlan.runner(asked, files: files, model: model)
      let layout = try StartPlan.layout(runner)
      if let places = tiers.mostPlaces(layout, inMemoryOnly: asked.placement != .unified) {
        var wide = asked
        wide.overflow = places
        try self.init(wide, files: files, model: model, ranks: ranks, tiers: tiers)
        // One sequence lies with one data worker.
        let missing =
          MemorySizing.blocksFor(sizing.maxModelLength, asked.blockSize) - sizing.blockCount / asked.bankCount
        if missing > 0 {
          givePlaces(places, missing: missing, layout: layout)
          return
        }
      }
    }
    try self.init(asked, files: files, model: model, ranks: ranks, tiers: tiers)
  }

  /// Keeps as many of the places as one sequence of the greatest length needs, host memory first; the rest stays the tiers'.
  private mutating func givePlaces(_ most: OverflowConfiguration, missing: Int, layout: KVLayout) {
    var places = most
    places.hostBlocks = min(most.hostBlocks, missing)
    places.storeBlocks = min(most.storeBlocks, missing - places.hostBlocks)
    if places.storeBlocks == 0 { places.makeStore = nil }
    configuration.overflow = places
    tiers?.hostBytes -= places.hostBlocks * HostRegion.placeStride(layout)
    tiers?.files?.capacityBytes -= places.storeBlocks * TierPlan.placeBytes(layout)
  }

  private init(
    _ configuration: EngineConfiguration, files: ModelFiles, model: ModelConfiguration, ranks: RankLayout,
    tiers: TierPlan?
  ) throws(EngineStartError) {
    self.configuration = configuration
    self.tiers = tiers
    runner = try StartPlan.runner(configuration, files: files, model: model, layout: ranks)
    do {
      plan = try MemoryPlan(
        runner, ranks: ranks, threads: configuration.threads ?? KernelPool.allowedCPUs.count)
    } catch {
      throw .model("\(error)")
    }
    try self.tiers?.check(machine, beside: plan.fixedBytes)
    if tiers != nil {
      try self.tiers?.check(
        blockBytes: plan.blockBytes, layout: try StartPlan.layout(runner),
        stepTokens: configuration.resolvedMaxBatchedTokens)
    }
    var sized = configuration
    let device = try TierPlan.specification(configuration).device
    if case .bytes(let bytes) = device { sized.kvCacheBytes = bytes }
    sizing = try MemorySizing.decide(
      sized,
      .init(
        weightBytes: plan.weightBytes, scratchBytes: plan.fixedBytes - plan.weightBytes,
        blockBytes: plan.blockBytes, maxSequences: configuration.resolvedMaxSequences, modelContext: model.contextTokens
      ),
      memory: machine.without(self.tiers?.hostBytes ?? 0), hasTiers: tiers != nil || configuration.kvTransfer != nil)
  }
}
