// The bytes behind the blocks: keys and values of all layers on the device.
// This room copies and names blocks as the plan says; it must not decide which block is whose (that is the scheduler's).
// Start here; the layout inside a block is the device's (KVLayout).

package import SwerveCore
package import SwerveHardware

/// Places for blocks below the device's pool.
package struct LowerPlaces {
  /// Blocks that are read where they lie.
  package var host: (any HostPlaces)?
  /// Blocks that are read layer by layer into a ring of `stagingBlocks`.
  package var store: (any OverflowStore)?
  package var stagingBlocks = 64

  package init() {}
}

/// The KV pool of a runner: `blockCount` blocks of `blockTokens` tokens for every layer, in the run's KV type, and what
/// lies below it.
package struct KVStore {
  package let cache: KVCache
  package let overflow: (any OverflowStore)?

  /// - Parameter region: memory of the pool, with what it holds; nil: the device's.
  package init(
    layout: KVLayout, blockCount: Int, device: CPUDevice, lower: LowerPlaces = LowerPlaces(),
    region: MemoryRegion? = nil
  ) throws(HardwareError) {
    var staging: StagingRegion?
    if lower.store != nil {
      staging = try StagingRegion(layout: layout, placeCount: lower.stagingBlocks, device: device)
    }
    cache = try KVCache(
      layout: layout, blockCount: blockCount, device: device, host: lower.host, staging: staging, region: region)
    overflow = lower.store
  }

  /// Moves of the plan, in order: blocks leave the device.
  package func apply(_ moves: Span<BlockMove>) {
    for index in moves.indices {
      let move = moves[index]
      guard Int(move.to.rawValue) >= cache.firstStaged else {
        cache.moveToHost(from: move.from, to: move.to)
        continue
      }
      guard let overflow else { preconditionFailure("there is no store to move a block to") }
      overflow.write(Int(move.to.rawValue) - cache.firstStaged) { cache.pack(move.from, into: $0) }
    }
  }

  /// Copies of the plan, on all layers, in order.
  package func apply(_ copies: Span<BlockCopy>) {
    for index in copies.indices { cache.copyBlock(from: copies[index].from, to: copies[index].to) }
  }
}

extension ModelConfiguration {
  /// Where keys and values lie in a block of this model.
  package func layout(type: KVType, blockTokens: Int) throws(HardwareError) -> KVLayout {
    try KVLayout(
      type: type, blockTokens: blockTokens, headCount: keyValueHeadCount, headDim: headDim, layerCount: layerCount)
  }
}
