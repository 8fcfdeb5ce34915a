internal import CSwerveKernels
package import SwerveCore

/// The KV store of one device: for each layer, `blockCount` blocks of `KVLayout`. It knows no sequence; which block is
/// whose is the scheduler's.
///
/// Blocks that are numbered behind the device's lie in host memory, and behind those in a staging ring, which has one
/// layer of each. Attention reads all three where they are; only the device's blocks are written to.
package final class KVCache: Sendable {
  package let layout: KVLayout
  package let blockCount: Int
  package let host: (any HostPlaces)?
  package let staging: StagingRegion?
  private let buffer: DeviceBuffer

  /// - Parameter region: memory for the device's blocks, with what it holds; nil: zeroed memory of the device.
  /// - Precondition: places of `host` hold a block of the layout.
  package init(
    layout: KVLayout, blockCount: Int, device: CPUDevice, host: (any HostPlaces)? = nil, staging: StagingRegion? = nil,
    region: MemoryRegion? = nil
  ) throws(HardwareError) {
    precondition(host.map { $0.placeStride >= layout.blockBytes } ?? true, "places of the host that hold no block")
    precondition(staging.map { $0.pieceBytes == layout.blockLayerBytes } ?? true, "staging places of another layout")
    guard blockCount > 0 else { throw .shape("a KV cache of \(blockCount) blocks cannot hold a token; use at least 1") }
    let (bytes, overflow) = layout.blockBytes.multipliedReportingOverflow(by: blockCount)
    guard !overflow else { throw .outOfMemory(requestedBytes: .max) }
    self.layout = layout
    self.blockCount = blockCount
    self.host = host
    self.staging = staging
    if let region {
      guard region.byteCount >= bytes else { throw .outOfMemory(requestedBytes: bytes) }
      var own = region
      own.byteCount = bytes
      self.buffer = DeviceBuffer(own)
    } else {
      self.buffer = try device.allocate(byteCount: bytes)
    }
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

  /// The first block that is read through the staging ring.
  package var firstStaged: Int { blockCount + (host?.placeCount ?? 0) }

  /// Copies a block out, as places below the device have it: the layers' pieces one after another, `layout.blockBytes` in all.
  package func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) {
    precondition(bytes.count >= layout.blockBytes, "a packed block needs \(layout.blockBytes) bytes")
    guard let start = bytes.baseAddress else { return }
    for layer in 0..<layout.layerCount {
      (start + layer * layout.blockLayerBytes).copyMemory(
        from: address(layer: layer, block: block), byteCount: layout.blockLayerBytes)
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

  /// Copies a block of the device to a place of the host, named by its number behind the device's.
  package func moveToHost(from block: BlockID, to place: BlockID) {
    guard let host else { preconditionFailure("there is no host memory to move a block to") }
    let index = Int(place.rawValue) - blockCount
    precondition(index >= 0 && index < host.placeCount, "no such place of the host")
    pack(
      block,
      into: UnsafeMutableRawBufferPointer(start: host.firstByte + index * host.placeStride, count: layout.blockBytes))
  }

  func kernelLayer(_ layer: Int) -> swerve_kv_layer {
    swerve_kv_layer(
      base: address(layer: layer, block: BlockID(rawValue: 0)), block_bytes: layout.blockLayerBytes,
      block_tokens: layout.blockTokens, kv_heads: layout.headCount, head_dim: layout.headDim,
      type: layout.type.kernelType, device_blocks: Int32(blockCount), staged_first: Int32(firstStaged),
      host: host.map { $0.firstByte + layer * layout.blockLayerBytes }, host_bytes: host?.placeStride ?? 0,
      staged: staging.map { $0.piece(0).baseAddress } ?? nil, staged_bytes: layout.blockLayerBytes)
  }
}
