import SwerveCore

/// Blocks to a lower precision and back.
///
/// Symmetric: a vector's scale is its largest magnitude / limit (127 or 7), a number is round(x / scale) to nearest, ties
/// to even, and comes back as q × scale rounded to the block's type. So |x' - x| ≤ scale / 2 (and half a unit in the last
/// place of the type). Plain IEEE float32 arithmetic in one order: the same bytes on every machine.
///
/// Stored: float32 scales [layer][K, V][head][token], then the numbers [layer][K, V][head][token][D]; int4 packs two
/// numbers a byte as q + 8, the even one in the low half.
package struct PrecisionConversion: Sendable {
  package let layout: PackedLayout
  package let precision: TierPrecision
  /// [2 x D] distance of each dimension from a vector's first element, keys then values.
  private let offsets: [Int]

  package init(layout: PackedLayout, precision: TierPrecision) {
    self.layout = layout
    self.precision = precision
    offsets = [false, true].flatMap { isValue in
      (0..<layout.headDimension).map { layout.offset(isValue: isValue, dimension: $0) }
    }
  }

  /// Bytes of a converted block.
  package var byteCount: Int { layout.byteCount(precision) }

  /// Writes the converted block. False, with `target` undefined, when the block holds a number that is not finite: it must
  /// be kept exactly. About 1 ns a number.
  package func encode(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Bool {
    precondition(source.count == layout.byteCount(.exact) && target.count >= byteCount, "a block of another layout")
    if precision == .exact {
      target.copyMemory(from: source)
      return true
    }
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: layout.headDimension) { vector in
      var isFinite = true
      forEachVector { number, base, offsets in
        var largest: Float = 0
        for dimension in offsets.indices {
          let value = load(source, base + offsets[dimension])
          vector[dimension - offsets.startIndex] = value
          isFinite = isFinite && value.isFinite
          largest = max(largest, abs(value))
        }
        let scale = largest / precision.limit
        target.storeBytes(of: scale.bitPattern.littleEndian, toByteOffset: number * 4, as: UInt32.self)
        store(vector, number, scale: scale, into: target)
        return isFinite
      }
      return isFinite
    }
  }

  /// Writes the block in its own type again. Any bytes decode to something.
  package func decode(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) {
    precondition(target.count == layout.byteCount(.exact) && source.count >= byteCount, "a block of another layout")
    if precision == .exact {
      target.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<target.count]))
      return
    }
    let dimensions = layout.headDimension
    let numbers = layout.vectorCount * 4
    forEachVector { number, base, offsets in
      let scale = Float(
        bitPattern: UInt32(littleEndian: source.loadUnaligned(fromByteOffset: number * 4, as: UInt32.self)))
      for dimension in 0..<dimensions {
        let element = number * dimensions + dimension
        let quantized: Int8
        if precision == .int8 {
          quantized = Int8(bitPattern: source[numbers + element])
        } else {
          let pair = source[numbers + element / 2]
          quantized = Int8(element % 2 == 0 ? pair & 15 : pair >> 4) - 8
        }
        store(Float(quantized) * scale, target, base + offsets[offsets.startIndex + dimension])
      }
      return true
    }
  }

  /// Calls `body` with each vector's number, the element it starts at and its dimensions' distances, until it says false.
  private func forEachVector(_ body: (Int, Int, ArraySlice<Int>) -> Bool) {
    let plane = layout.headCount * layout.blockTokens * layout.headDimension
    var number = 0
    for layer in 0..<layout.layerCount {
      for half in 0..<2 {
        let distances = offsets[(half * layout.headDimension)..<((half + 1) * layout.headDimension)]
        for head in 0..<layout.headCount {
          for token in 0..<layout.blockTokens {
            let base = (layer * 2 + half) * plane + layout.base(isValue: half == 1, head: head, token: token)
            if !body(number, base, distances) { return }
            number += 1
          }
        }
      }
    }
  }

  private func store(
    _ vector: UnsafeMutableBufferPointer<Float>, _ number: Int, scale: Float,
    into target: UnsafeMutableRawBufferPointer
  ) {
    let numbers = layout.vectorCount * 4 + number * vector.count * (precision == .int8 ? 2 : 1) / 2
    let limit = precision.limit
    func quantized(_ value: Float) -> Int8 {
      // A scale so small that the division overflows, or zero, or not finite, gives a number within the limits all the same.
      let ratio = scale > 0 ? (value / scale).rounded(.toNearestOrEven) : 0
      return ratio.isFinite ? Int8(min(max(ratio, -limit), limit)) : 0
    }
    if precision == .int8 {
      for dimension in vector.indices { target[numbers + dimension] = UInt8(bitPattern: quantized(vector[dimension])) }
    } else {
      for pair in 0..<vector.count / 2 {
        let low = UInt8(quantized(vector[2 * pair]) + 8)
        let high = UInt8(quantized(vector[2 * pair + 1]) + 8)
        target[numbers + pair] = low | high << 4
      }
    }
  }

  private func load(_ bytes: UnsafeRawBufferPointer, _ element: Int) -> Float {
    switch layout.elementType {
    case .float32: return bytes.loadUnaligned(fromByteOffset: element * 4, as: Float.self)
    case .bfloat16:
      return Float(bitPattern: UInt32(bytes.loadUnaligned(fromByteOffset: element * 2, as: UInt16.self)) << 16)
    case .float16:
      return Float(Float16(bitPattern: bytes.loadUnaligned(fromByteOffset: element * 2, as: UInt16.self)))
    }
  }

  private func store(_ value: Float, _ bytes: UnsafeMutableRawBufferPointer, _ element: Int) {
    switch layout.elementType {
    case .float32: bytes.storeBytes(of: value, toByteOffset: element * 4, as: Float.self)
    case .bfloat16:
      let bits = value.bitPattern
      let rounded = value.isNaN ? bits | 0x40_0000 : bits &+ 0x7FFF &+ (bits >> 16 & 1)
      bytes.storeBytes(of: UInt16(truncatingIfNeeded: rounded >> 16), toByteOffset: element * 2, as: UInt16.self)
    case .float16:
      bytes.storeBytes(of: Float16(value).bitPattern, toByteOffset: element * 2, as: UInt16.self)
    }
  }
}
