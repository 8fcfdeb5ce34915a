// The bytes behind the blocks: keys and values of all layers on the device.
// This room copies and names blocks as the plan says; it must not decide which block is whose (that is the scheduler's).
// Start here; the layout inside a block is the device's (KVLayout).

package import SwerveCore
package import SwerveHardware

/// The KV pool of a runner: `blockCount` blocks of `blockTokens` tokens for every layer, in the run's KV type.
package struct KVStore {
  package let cache: KVCache

  package init(layout: KVLayout, blockCount: Int, device: CPUDevice) throws(HardwareError) {
    cache = try KVCache(layout: layout, blockCount: blockCount, device: device)
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
