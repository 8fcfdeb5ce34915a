package import SwerveCore

/// How much KV memory an engine gets, and whether that is enough. Pure arithmetic over the model's sizes.
package struct MemorySizing: Sendable, Equatable {
  package struct Needs: Sendable {
    package var weightBytes: Int
    /// Activations, logits, sampler state.
    package var scratchBytes: Int
    /// Keys and values of one block over all layers.
    package var blockBytes: Int
    package var maxSequences: Int
    /// What the model's own configuration allows.
    package var modelContext: Int

    package init(weightBytes: Int, scratchBytes: Int, blockBytes: Int, maxSequences: Int, modelContext: Int) {
      self.weightBytes = weightBytes
      self.scratchBytes = scratchBytes
      self.blockBytes = blockBytes
      self.maxSequences = maxSequences
      self.modelContext = modelContext
    }
  }

  package var blockCount: Int
  package var maxModelLength: Int
  package var kvBytes: Int
  /// Whether a sequence may be longer than what one data worker holds: then it lies with several.
  package var spansBanks = false

  /// - The exact number of blocks, or exact bytes, where given.
  /// - Otherwise the share of memory that is left beside weights and scratch, but never more than what is available now,
  ///   and never more than `maxSequences` sequences of the maximum length can use.
  package static func decide(
    _ configuration: EngineConfiguration, _ needs: Needs, memory: SystemMemory, hasTiers: Bool = false
  ) throws(EngineStartError) -> MemorySizing {
    let blockSize = configuration.blockSize
    let wanted = try wantedLength(configuration, needs)
    let beside = needs.weightBytes + needs.scratchBytes
    let share = Int(Double(memory.totalBytes) * configuration.memoryUtilization)
    let budget = min(share, memory.availableBytes) - beside
    var blocks: Int
    if let exact = configuration.kvBlocks {
      blocks = exact
    } else if let bytes = configuration.kvCacheBytes {
      blocks = bytes / needs.blockBytes
    } else {
      if budget <= 0 {
        throw .memory(
          "The weights and working memory need \(bytes(beside)) and \(bytes(min(share, memory.availableBytes))) of "
            + "\(bytes(memory.totalBytes)) may be used; free memory, raise --gpu-memory-utilization or use a smaller model."
        )
      }
      let useful = needs.maxSequences * blocksFor(wanted, blockSize)
      blocks = min(budget / needs.blockBytes, useful)
    }
    // All data workers have the same number of blocks.
    let workers = configuration.bankCount
    blocks -= blocks % workers
    let pool = product(blocks, needs.blockBytes)
    // Beyond this machine only where other ones hold it.
    if pool > memory.totalBytes - beside, configuration.dataWorkers.addresses.isEmpty {
      throw .memory(
        "The KV cache would need \(bytes(pool)) beside \(bytes(beside)) of weights and working memory "
          + "and the machine has \(bytes(memory.totalBytes)); lower --kv-cache-memory-bytes.")
    }
    // Where blocks are copied from data workers' pools, a sequence lies with one of them.
    // The last output token is never computed: n blocks serve n × blockSize + 1 tokens.
    let spread = hasTiers ? 0 : spreadBlocks(configuration, blocks / workers)
    let most = max(blocks / workers + lowerBlocks(configuration), spread)
    let longest = most * blockSize
    let length: Int
    if configuration.maxModelLength == -1 {
      length = min(wanted, longest)
      if length < 1 { throw tooSmall(wanted: 1, longest: longest, needs, blockSize) }
    } else {
      length = wanted
      if longest < wanted { throw tooSmall(wanted: wanted, longest: longest, needs, blockSize) }
    }
    return MemorySizing(
      blockCount: blocks, maxModelLength: length, kvBytes: pool,
      spansBanks: spread > blocks / workers && blocksFor(length, blockSize) > blocks / workers)
  }

  /// Blocks of the longest sequence that lies with all data workers, whole partitions with each; 0 where none can.
  private static func spreadBlocks(_ configuration: EngineConfiguration, _ each: Int) -> Int {
    guard configuration.placement == .separated, configuration.dataWorkers.count > 1, configuration.overflow == nil
    else {
      return 0
    }
    let partition = AttentionPartition.tokens / configuration.blockSize
    return configuration.dataWorkers.count * (each / partition * partition)
  }

  /// Blocks that one sequence may have below the device.
  private static func lowerBlocks(_ configuration: EngineConfiguration) -> Int {
    guard let overflow = configuration.overflow, configuration.enableChunkedPrefill else { return 0 }
    return overflow.hostBlocks + (overflow.makeStore == nil ? 0 : overflow.storeBlocks)
  }

  private static func wantedLength(
    _ configuration: EngineConfiguration, _ needs: Needs
  ) throws(EngineStartError) -> Int {
    guard let asked = configuration.maxModelLength, asked != -1 else { return needs.modelContext }
    if asked > needs.modelContext && !configuration.allowLongMaxModelLength {
      throw .configuration([
        "--max-model-len \(asked) is larger than the model's own limit of \(needs.modelContext); set "
          + "VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 if you know that it works beyond."
      ])
    }
    return asked
  }

  private static func tooSmall(wanted: Int, longest: Int, _ needs: Needs, _ blockSize: Int) -> EngineStartError {
    let bytesNeeded = product(blocksFor(wanted, blockSize), needs.blockBytes)
    return .memory(
      "One sequence of \(wanted) tokens needs \(bytes(bytesNeeded)) of KV cache and the pool holds \(longest) tokens; set "
        + "--max-model-len \(max(1, longest)) or less, or raise --kv-cache-memory-bytes or --gpu-memory-utilization.")
  }

  package static func blocksFor(_ tokens: Int, _ blockSize: Int) -> Int { (tokens + blockSize - 1) / blockSize }

  /// The largest number where the product is larger: more than any memory either way.
  private static func product(_ a: Int, _ b: Int) -> Int {
    let (value, overflow) = a.multipliedReportingOverflow(by: b)
    return overflow ? .max : value
  }

  private static func bytes(_ count: Int) -> String { ByteText.binary(count) }
}
