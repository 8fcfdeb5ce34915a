package import SwerveCore

/// Where keys and values lie inside a block. D head_dim, B tokens of a block, per KV head:
///
/// - 16-bit: K `[B/16][D/2][16 tokens × 2]`, V `[B/2][D][2]`
/// - float32: K `[B/16][D][16]`, V `[B][D]`
///
/// A block of a layer is all heads' K, then all heads' V.
package struct KVLayout: Sendable, Hashable {
  package let type: ElementType
  package let blockTokens: Int
  package let headCount: Int
  package let headDim: Int
  package let layerCount: Int

  /// - Throws: `.shape` unless blocks hold 16, 32, 64 or 128 tokens, head_dim is even and at most 512.
  package init(
    type: ElementType, blockTokens: Int, headCount: Int, headDim: Int, layerCount: Int
  ) throws(HardwareError) {
    guard [16, 32, 64, 128].contains(blockTokens) else {
      throw .shape("a KV block of \(blockTokens) tokens is not possible; use 16, 32, 64 or 128")
    }
    guard headDim % 2 == 0, (2...512).contains(headDim) else {
      throw .shape("head_dim \(headDim) is not possible; use an even number up to 512")
    }
    guard headCount > 0, layerCount > 0 else { throw .shape("a KV layout needs at least one head and one layer") }
    self.type = type
    self.blockTokens = blockTokens
    self.headCount = headCount
    self.headDim = headDim
    self.layerCount = layerCount
  }

  /// Bytes of one block in one layer, keys and values.
  package var blockLayerBytes: Int { 2 * headCount * blockTokens * headDim * type.byteCount }

  /// Bytes of one block in all layers.
  package var blockBytes: Int { blockLayerBytes * layerCount }

  /// Bytes of one token in all layers.
  package var tokenBytes: Int { blockBytes / blockTokens }
}
