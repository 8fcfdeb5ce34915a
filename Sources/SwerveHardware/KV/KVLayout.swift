internal import CSwerveKernels
package import SwerveCore

/// Where keys and values lie inside a block. D head_dim, B tokens of a block, per KV head:
///
/// - 16-bit: K `[B/16][D/2][16 tokens × 2]`, V `[B/2][D][2]`
/// - float32: K `[B/16][D][16]`, V `[B][D]`
/// - 8-bit: K `[B/16][D/4][4][4 × 4]`, V `[B/4][D/4][4 × 4]`, K scales `[B]`, V scales `[B]` in bfloat16
///
/// A block of a layer is all heads' K, then all heads' V; of the 8-bit types each head's K, V and scales.
package struct KVLayout: Sendable, Hashable {
  package let type: KVType
  package let blockTokens: Int
  package let headCount: Int
  package let headDim: Int
  package let layerCount: Int

  /// - Throws: `.shape` unless blocks hold 16, 32, 64 or 128 tokens, head_dim is at most 512 and even, or a multiple of 4
  ///   for the 8-bit types.
  package init(
    type: KVType, blockTokens: Int, headCount: Int, headDim: Int, layerCount: Int
  ) throws(HardwareError) {
    guard [16, 32, 64, 128].contains(blockTokens) else {
      throw .shape("a KV block of \(blockTokens) tokens is not possible; use 16, 32, 64 or 128")
    }
    guard headDim % 2 == 0, (2...512).contains(headDim) else {
      throw .shape("head_dim \(headDim) is not possible; use an even number up to 512")
    }
    guard !type.isScaled || headDim % 4 == 0 else {
      throw .shape(
        "head_dim \(headDim) is not possible with \(type.rawValue) keys and values; use a multiple of 4, or another type"
      )
    }
    guard headCount > 0, layerCount > 0 else { throw .shape("a KV layout needs at least one head and one layer") }
    self.type = type
    self.blockTokens = blockTokens
    self.headCount = headCount
    self.headDim = headDim
    self.layerCount = layerCount
  }

  /// Bytes of one block in one layer, keys and values.
  package var blockLayerBytes: Int { swerve_kv_block_bytes(type.kernelType, headCount, blockTokens, headDim) }

  /// Bytes of one block in all layers.
  package var blockBytes: Int { blockLayerBytes * layerCount }

  /// Bytes of one token in all layers.
  package var tokenBytes: Int { blockBytes / blockTokens }
}

extension KVType {
  /// The type's number in C.
  var kernelType: Int32 {
    switch self {
    case .float32: 0
    case .bfloat16: 1
    case .float16: 2
    case .int8: 3
    case .fp8E4M3: 4
    case .fp8E5M2: 5
    }
  }
}
