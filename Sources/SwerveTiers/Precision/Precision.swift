package import SwerveCore

/// How the numbers of a block are kept on a tier.
package enum TierPrecision: UInt8, Sendable, Hashable, CaseIterable {
  /// The device's bytes, unchanged.
  case exact = 0
  /// Eight bits and a scale per layer, key or value, head and token. Lossy.
  case int8 = 1
  /// Four bits and such a scale. Lossy.
  case int4 = 2

  package var isLossy: Bool { self != .exact }

  /// The largest magnitude of a stored number.
  var limit: Float { self == .int8 ? 127 : 7 }
}

/// How keys and values lie in a packed block: for each layer in order the keys, then the values, as the kernels keep
/// them, with nothing between.
///
/// B tokens, D head dimension; 16-bit types: K [kv_head][B/16][D/2][16 tokens x 2], V [kv_head][B/2][D][2];
/// float32: K [kv_head][B/16][D][16], V [kv_head][B][D].
package struct PackedLayout: Sendable, Hashable {
  package let layerCount: Int
  package let headCount: Int
  package let headDimension: Int
  package let blockTokens: Int
  package let elementType: ElementType

  /// Throws when a count is not positive, the tokens are no multiple of 16 or the head dimension is odd.
  package init(
    layerCount: Int, headCount: Int, headDimension: Int, blockTokens: Int, elementType: ElementType
  ) throws(TierError) {
    guard layerCount > 0, headCount > 0, headDimension > 0, headDimension % 2 == 0, blockTokens > 0,
      blockTokens % 16 == 0
    else {
      throw .configuration(
        tier: "nvme",
        reason: "cannot convert blocks of \(blockTokens) tokens, \(layerCount) layers, \(headCount) heads of "
          + "\(headDimension); it needs tokens in multiples of 16 and an even head dimension, or dtype=auto")
    }
    self.layerCount = layerCount
    self.headCount = headCount
    self.headDimension = headDimension
    self.blockTokens = blockTokens
    self.elementType = elementType
  }

  /// Numbers in a block.
  package var elementCount: Int { 2 * layerCount * headCount * headDimension * blockTokens }
  /// Vectors of one token, head and layer, keys and values counted apart: each has one scale.
  package var vectorCount: Int { 2 * layerCount * headCount * blockTokens }

  /// Bytes of a block at a precision: the elements, and for a lower precision a float32 scale a vector before them.
  package func byteCount(_ precision: TierPrecision) -> Int {
    switch precision {
    case .exact: elementCount * elementType.byteCount
    case .int8: vectorCount * 4 + elementCount
    case .int4: vectorCount * 4 + elementCount / 2
    }
  }

  /// Where element 0 of a vector lies within its layer's keys (or values), in elements.
  func base(isValue: Bool, head: Int, token: Int) -> Int {
    let heads = head * blockTokens * headDimension
    if elementType == .float32 {
      return isValue ? heads + token * headDimension : heads + token / 16 * 16 * headDimension + token % 16
    }
    return isValue
      ? heads + token / 2 * 2 * headDimension + token % 2
      : heads + token / 16 * 16 * headDimension + token % 16 * 2
  }

  /// How far element `dimension` lies from element 0 of its vector.
  func offset(isValue: Bool, dimension: Int) -> Int {
    if elementType == .float32 { return isValue ? dimension : dimension * 16 }
    return isValue ? dimension * 2 : dimension / 2 * 32 + dimension % 2
  }
}
