internal import CSwerveKernels
package import SwerveCore

/// The KV store of one device: for each layer, `blockCount` blocks of `KVLayout`. It knows no sequence; which block is
/// whose is the scheduler's.
package final class KVCache: Sendable {
  package let layout: KVLayout
  package let blockCount: Int
  private let buffer: DeviceBuffer

  package init(layout: KVLayout, blockCount: Int, device: CPUDevice) throws(HardwareError) {
    guard blockCount > 0 else { throw .shape("a KV cache of \(blockCount) blocks cannot hold a token; use at least 1") }
    let (bytes, overflow) = layout.blockBytes.multipliedReportingOverflow(by: blockCount)
    guard !overflow else { throw .outOfMemory(requestedBytes: .max) }
    self.layout = layout
    self.blockCount = blockCount
    self.buffer = try device.allocate(byteCount: bytes)
  }

  package var byteCount: Int { buffer.byteCount }

  /// First byte of a block in a layer.
  package func address(layer: Int, block: BlockID) -> UnsafeMutableRawPointer {
    precondition(layer >= 0 && layer < layout.layerCount, "no such layer")
    precondition(block.rawValue >= 0 && Int(block.rawValue) < blockCount, "no such block")
    return buffer.pointer + (layer * blockCount + Int(block.rawValue)) * layout.blockLayerBytes
  }

  /// Copies a block in all layers, scales included: copy on write. Every token of it then reads back with the same bits.
  package func copyBlock(from: BlockID, to: BlockID) {
    if from == to { return }
    for layer in 0..<layout.layerCount {
      address(layer: layer, block: to).copyMemory(
        from: address(layer: layer, block: from), byteCount: layout.blockLayerBytes)
    }
  }

  /// Copies a block out: the layers' pieces one after another, `layout.blockBytes` in all.
  package func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) {
    precondition(bytes.count >= layout.blockBytes, "a packed block needs \(layout.blockBytes) bytes")
    for layer in 0..<layout.layerCount {
      let piece = UnsafeRawBufferPointer(start: address(layer: layer, block: block), count: layout.blockLayerBytes)
      UnsafeMutableRawBufferPointer(rebasing: bytes[(layer * layout.blockLayerBytes)...]).copyMemory(from: piece)
    }
  }

  /// Copies a block in, from what `pack` wrote.
  package func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {
    precondition(bytes.count >= layout.blockBytes, "a packed block has \(layout.blockBytes) bytes")
    guard let start = bytes.baseAddress else { return }
    for layer in 0..<layout.layerCount {
      address(layer: layer, block: block).copyMemory(
        from: start + layer * layout.blockLayerBytes, byteCount: layout.blockLayerBytes)
    }
  }

  func kernelLayer(_ layer: Int) -> swerve_kv_layer {
    swerve_kv_layer(
      base: address(layer: layer, block: BlockID(rawValue: 0)), block_bytes: layout.blockLayerBytes,
      block_tokens: layout.blockTokens, kv_heads: layout.headCount, head_dim: layout.headDim,
      type: layout.type.kernelType)
  }
}
