import SwerveCore
import SwerveHardware

/// Keys and values read back from a cache by the layout that `KVLayout` documents, apart from any kernel.
struct CacheReader {
  var cache: KVCache
  var layer: Int

  /// All heads' keys and values of one token, [kv head × d].
  func token(_ block: BlockID, _ token: Int) -> (keys: [Float], values: [Float]) {
    var keys: [Float] = [], values: [Float] = []
    for head in 0..<cache.layout.headCount {
      for i in 0..<cache.layout.headDim {
        keys.append(number(block, token, head, i, isKey: true))
        values.append(number(block, token, head, i, isKey: false))
      }
    }
    return (keys, values)
  }

  private func number(_ block: BlockID, _ token: Int, _ head: Int, _ i: Int, isKey: Bool) -> Float {
    let layout = cache.layout
    let base = cache.address(layer: layer, block: block)
    let (d, tokens) = (layout.headDim, layout.blockTokens)
    if layout.type.isScaled {
      let start = head * (2 * tokens * d + 4 * tokens)
      let cell =
        isKey
        ? token / 16 * 16 * d + i / 4 * 64 + token % 16 / 4 * 16 + i % 4 / 2 * 8 + token % 4 * 2 + i % 2
        : tokens * d + token / 4 * 4 * d + i / 4 * 16 + token % 4 / 2 * 8 + i % 4 * 2 + token % 2
      let scale = base.load(
        fromByteOffset: start + 2 * tokens * d + (isKey ? 0 : 2 * tokens) + token * 2, as: UInt16.self)
      return Self.magnitude(base.load(fromByteOffset: start + cell, as: UInt8.self), layout.type)
        * Float(bitPattern: UInt32(scale) << 16)
    }
    let start = ((isKey ? 0 : layout.headCount) + head) * tokens * d
    if layout.type == .float32 {
      let place = isKey ? token / 16 * 16 * d + i * 16 + token % 16 : token * d + i
      return base.load(fromByteOffset: (start + place) * 4, as: Float.self)
    }
    let place =
      isKey ? token / 16 * 16 * d + i / 2 * 32 + token % 16 * 2 + i % 2 : token / 2 * 2 * d + i * 2 + token % 2
    let bits = base.load(fromByteOffset: (start + place) * 2, as: UInt16.self)
    return layout.type == .bfloat16 ? Float(bitPattern: UInt32(bits) << 16) : Float(Float16(bitPattern: bits))
  }

  /// What a code stands for.
  static func magnitude(_ code: UInt8, _ type: KVType) -> Float {
    let index = Int(code & 127), sign: Float = code >= 128 ? -1 : 1
    if type == .int8 { return sign * Float(index) }
    let (fraction, bias) = type == .fp8E4M3 ? (3, 7) : (2, 15)
    let exponent = index >> fraction, rest = Float(index % (1 << fraction)) / Float(1 << fraction)
    let unit = Float(sign: .plus, exponent: max(exponent, 1) - bias, significand: 1)
    return sign * unit * (exponent > 0 ? 1 + rest : rest)
  }
}
