import SwerveCore
import SwerveHardware
import SwerveInference
package import SwerveScheduling
package import SwerveTiers

/// The KV tiers below the device that a configuration asks for, checked: what a start will open.
package struct TierPlan: Sendable {
  /// Bytes of host memory for blocks.
  package var hostBytes: Int
  package var hostPolicy: EvictionPolicy
  package var hostPrecision: TierPrecision
  /// Whether host memory only carries blocks between device and files.
  package var hostIsPassage: Bool
  package var files: TierSpecification.Files?
  package var master: MasterKey?
  package var rules: TierRules
  /// What files are; others in tests.
  package var fileSystem: any BlockFileSystem = PosixFileSystem()
  package var lane = TransferLane.Configuration()

  /// Blocks of host memory where only files were asked for, at least.
  private static let passageBlocks = 64

  /// nil where nothing is kept below the device. Every flag that cannot work is one sentence.
  init?(_ configuration: EngineConfiguration) throws(EngineStartError) {
    let specification = try Self.specification(configuration)
    if let path = configuration.kvKeyFile {
      guard specification.nvme != nil || configuration.journalFolder != nil else {
        throw .configuration([
          "--kv-key-file \(path) seals blocks in files and the journal, and there is neither; add nvme=SIZE:/FOLDER to --kv-tiers, or --journal."
        ])
      }
      do { master = try MasterKey(file: path) } catch { throw .configuration(["--kv-key-file: \(error)"]) }
    }
    guard specification.host != nil || specification.nvme != nil else {
      if configuration.preemptionMode == .swap {
        throw .configuration([
          "--preemption-mode swap needs a place to copy blocks to; add host=SIZE to --kv-tiers, or --swap-space GIB."
        ])
      }
      return nil
    }
    files = specification.nvme
    hostBytes = specification.host?.capacityBytes ?? 0
    hostPolicy = specification.host?.options.policy ?? .lru
    hostPrecision = specification.host?.options.precision ?? .exact
    hostIsPassage = specification.host == nil
    rules = TierRules()
    rules.preemption = configuration.preemptionMode
  }

  /// What the flags say together.
  static func specification(_ configuration: EngineConfiguration) throws(EngineStartError) -> TierSpecification {
    var specification = TierSpecification()
    if let text = configuration.kvTiers, text != "device" {
      do { specification = try TierSpecification(parsing: text) } catch { throw .configuration(["\(error)"]) }
    }
    if let bytes = configuration.kvOffloadingBytes {
      if specification.host != nil {
        throw .configuration([
          "--kv-offloading-size (--swap-space) and host= of --kv-tiers both size the host tier; give one of them."
        ])
      }
      specification.host = TierSpecification.Host(capacityBytes: bytes)
    }
    if case .bytes = specification.device, configuration.kvCacheBytes != nil || configuration.kvBlocks != nil {
      throw .configuration([
        "device= of --kv-tiers and --kv-cache-memory-bytes (--num-gpu-blocks-override) both size the device's pool; give "
          + "one of them."
      ])
    }
    return specification
  }

  /// Whether a tier keeps blocks at a lower precision.
  var isLossy: Bool { hostPrecision.isLossy || files?.options.precision.isLossy == true }

  /// Checks the host tier against the machine, which holds so many bytes of weights and working memory beside.
  func check(_ memory: SystemMemory, beside: Int) throws(EngineStartError) {
    if hostBytes > memory.totalBytes - beside {
      throw .configuration([
        "--kv-tiers: a host tier of \(ByteText.binary(hostBytes)) does not fit beside \(ByteText.binary(beside)) of weights and "
          + "working memory on a machine of \(ByteText.binary(memory.totalBytes)); make it smaller."
      ])
    }
  }

  /// Checks sizes against a block.
  ///
  /// - Parameter stepTokens: tokens of a step at most. What two steps fill finds room on its way to files: a prompt's
  ///   blocks come a step's worth at once.
  mutating func check(blockBytes: Int, layout: KVLayout, stepTokens: Int) throws(EngineStartError) {
    if hostIsPassage {
      let blocks = max(Self.passageBlocks, 2 * (stepTokens / layout.blockTokens + 1))
      hostBytes = blocks * ((blockBytes + 4095) & ~4095)
    }
    let hostBlock = try conversion(layout, hostPrecision, tier: "host")?.byteCount ?? blockBytes
    if hostBytes < (hostBlock + 4095) & ~4095 {
      throw .configuration([
        "--kv-tiers: host=\(hostBytes) bytes cannot hold one block of \(ByteText.binary(hostBlock)); make it larger."
      ])
    }
    if let files, files.options.precision != .exact {
      _ = try conversion(layout, files.options.precision, tier: "nvme")
    }
  }

  /// How blocks of a layout are kept at a precision; nil: as they are.
  func conversion(
    _ layout: KVLayout, _ precision: TierPrecision, tier: String
  ) throws(EngineStartError) -> PrecisionConversion? {
    if precision == .exact { return nil }
    guard let packed = try packedLayout(layout, tier: tier) else {
      throw .configuration([
        "--kv-tiers: dtype=\(precision) of \(tier) needs keys and values of 16 or 32 bits on the device, not "
          + "\(layout.type.rawValue); use dtype=auto."
      ])
    }
    return PrecisionConversion(layout: packed, precision: precision)
  }

  private func packedLayout(_ layout: KVLayout, tier: String) throws(EngineStartError) -> SwerveTiers.PackedLayout? {
    let type: ElementType
    switch layout.type {
    case .float32: type = .float32
    case .bfloat16: type = .bfloat16
    case .float16: type = .float16
    case .int8, .fp8E4M3, .fp8E5M2: return nil
    }
    do {
      let packed = try SwerveTiers.PackedLayout(
        layerCount: layout.layerCount, headCount: layout.headCount, headDimension: layout.headDim,
        blockTokens: layout.blockTokens, elementType: type)
      return packed.byteCount(.exact) == layout.blockBytes ? packed : nil
    } catch {
      throw .configuration(["--kv-tiers: \(error)"])
    }
  }

  /// Opens host memory and files. Waits for the disk.
  func open(
    model: Digest, layout: KVLayout, deviceBlocks: Int, sharesPrefixes: Bool, failsWithoutBlocks: Bool = false,
    onNotice: @escaping @Sendable (String) -> Void
  ) throws(EngineStartError) -> BlockTiers {
    let shape = BlockShape(
      model: model, type: layout.type, layerCount: layout.layerCount, blockTokens: layout.blockTokens,
      deviceBytes: layout.blockBytes, conversion: try conversion(layout, hostPrecision, tier: "host"))
    do {
      let host = try HostTier(blockBytes: shape.hostBytes, capacityBytes: hostBytes, policy: hostPolicy)
      var opened: FileTier?
      if let files {
        var settings = FileTierConfiguration(
          folder: files.folder, capacityBytes: files.capacityBytes, model: model, elementType: layout.type,
          layerCount: layout.layerCount, blockTokens: layout.blockTokens, blockBytes: layout.blockBytes)
        settings.policy = files.options.policy
        settings.precision = files.options.precision
        settings.isReadOnly = files.options.isReadOnly
        if files.options.precision != .exact { settings.layout = try packedLayout(layout, tier: "nvme") }
        opened = try FileTier(settings, master: master ?? .ephemeral(), files: fileSystem)
      }
      return BlockTiers(
        shape: shape, host: host, files: opened, deviceBlocks: deviceBlocks, sharesPrefixes: sharesPrefixes,
        lane: lane, failsWithoutBlocks: failsWithoutBlocks, onNotice: onNotice)
    } catch let error as EngineStartError {
      throw error
    } catch {
      throw .configuration(["--kv-tiers: \(error)"])
    }
  }
}
