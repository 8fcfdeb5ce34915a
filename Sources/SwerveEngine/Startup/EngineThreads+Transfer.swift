import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveScheduling
import SwerveTiers
import SwerveTransfer

// What an engine that hands blocks over builds in addition.
extension EngineThreads {
  /// What hands prompts over; nil where none are.
  func makeHandover() throws(EngineStartError) -> BlockHandover? {
    guard plan.configuration.kvTransfer?.role.sends == true else { return nil }
    let layout = try StartPlan.layout(plan.runner)
    return BlockHandover(
      blockTokens: layout.blockTokens, layerCount: layout.layerCount, layerBytes: layout.blockLayerBytes,
      packsBlocks: plan.layout.computingCount > 1 || plan.configuration.placement == .separated)
  }

  /// The door for blocks, open. nil where none are handed over.
  ///
  /// - Throws: `.configuration` for what cannot work, `.device` where the port cannot be had.
  func openExchange(kernels: KernelSet) throws(EngineStartError) -> BlockExchange? {
    guard var settings = plan.configuration.kvTransfer else { return nil }
    if settings.role.sends && plan.tiers?.isLossy == true {
      throw .configuration([
        "--kv-transfer-config: a \(settings.role.rawValue) hands over what it computed, and --kv-tiers keeps blocks at a "
          + "lower precision here; leave dtype= out of --kv-tiers."
      ])
    }
    if plan.layout.computingCount > 1, try plan.blockOrder() == nil {
      throw .configuration([
        "--kv-transfer-config: blocks are handed over by ranks that have the parts of a block once each; use --reduction "
          + "exact, or fewer ranks."
      ])
    }
    let key = try settings.linkKeyFile.map { path throws(EngineStartError) in try Self.linkKey(path) }
    let isLoopback = Endpoint(host: settings.host, port: 0).isLoopback
    if !isLoopback && key == nil && !settings.trustsNetwork {
      throw .configuration([
        "--kv-transfer-config: kv_ip \(settings.host) can be reached from other machines and links would be open; add "
          + "--link-encryption aes-gcm --link-key-file FILE, or --trusted-network."
      ])
    }
    if settings.engineID.isEmpty { settings.engineID = "swerve-\(ShortDigest.random().hexadecimal.prefix(12))" }
    do {
      let exchange = try BlockExchange(
        settings, greeting: try greeting(settings, kernels: kernels), key: key,
        onNotice: { [board] in board.record(notice: $0) })
      try exchange.start()
      return exchange
    } catch let error as EngineStartError {
      throw error
    } catch {
      throw .device("--kv-transfer-config: \(error)")
    }
  }

  private static func linkKey(_ path: String) throws(EngineStartError) -> BlockKey {
    do {
      return BlockKey(try MasterKey(file: path).derived(for: "swerve links"))
    } catch {
      throw .configuration(["--link-key-file: \(error)"])
    }
  }

  private func greeting(_ settings: KVTransferConfiguration, kernels: KernelSet) throws(EngineStartError)
    -> BlockGreeting
  {
    let digest = try blockModel(kernels: kernels)
    do {
      var model = [UInt8](repeating: 0, count: Digest.byteCount)
      model.withUnsafeMutableBytes { digest.write(to: $0, at: 0) }
      let layout = try plan.model.layout(type: plan.runner.kvType, blockTokens: plan.configuration.blockSize)
      return BlockGreeting(
        version: settings.version, engine: settings.engineID, epoch: ShortDigest.random().low, model: model,
        type: layout.type, layerCount: layout.layerCount, headCount: layout.headCount, headDim: layout.headDim,
        blockTokens: layout.blockTokens, layerBytes: layout.blockLayerBytes)
    } catch {
      throw .model("\(error)")
    }
  }

  /// What takes blocks of other engines to the device where there is nothing below it. nil where none come.
  func passage() throws(EngineStartError) -> BlockTiers? {
    guard plan.configuration.kvTransfer?.role.receives == true else { return nil }
    let layout = try StartPlan.layout(plan.runner)
    let shape = BlockShape(
      model: Digest(of: []), type: layout.type, layerCount: layout.layerCount, blockTokens: layout.blockTokens,
      deviceBytes: layout.blockBytes)
    do {
      return BlockTiers(
        shape: shape,
        host: try HostTier(blockBytes: shape.hostBytes, capacityBytes: (shape.hostBytes + 4095) & ~4095), files: nil,
        deviceBlocks: plan.sizing.blockCount, sharesPrefixes: plan.configuration.enablePrefixCaching,
        keepsBlocks: false, failsWithoutBlocks: plan.configuration.kvTransfer?.loadFailurePolicy == .fail)
    } catch {
      throw .memory("\(error)")
    }
  }

  /// How the scheduler uses blocks that are not the device's.
  var transferRules: TierRules? {
    guard let transfer = plan.configuration.kvTransfer, transfer.role.receives else { return plan.tiers?.rules }
    var rules = plan.tiers?.rules ?? TierRules()
    if plan.tiers == nil { rules.preemption = .recompute }
    // Whether the other engine lives is the connection's question; here it is only asked not to wait for ever.
    rules.patience = max(rules.patience, UInt64(2 * transfer.silenceSeconds * 1e9))
    return rules
  }
}
