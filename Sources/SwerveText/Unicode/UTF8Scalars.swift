// Characters: their properties, normal forms and case, and the UTF-8 they are written in.
// This room must not know tokens. Start with CharacterProperties.

/// A view of UTF-8 text. Every reader here tolerates invalid bytes and never reads past the end.
typealias Bytes = UnsafeBufferPointer<UInt8>

/// One scalar and the number of bytes it took.
struct DecodedScalar {
  var value: UInt32
  var length: Int
}

extension UnsafeBufferPointer<UInt8> {
  /// The scalar that begins at `place` (`place < count`). An invalid or cut sequence reads as U+FFFD of one byte.
  @inline(__always)
  func scalar(at place: Int) -> DecodedScalar {
    let first = self[place]
    if first < 0x80 { return DecodedScalar(value: UInt32(first), length: 1) }
    return multibyteScalar(at: place, first: first)
  }

  func multibyteScalar(at place: Int, first: UInt8) -> DecodedScalar {
    let left = count - place
    if first >= 0xC2, first < 0xE0, left >= 2, self[place + 1] & 0xC0 == 0x80 {
      return DecodedScalar(value: UInt32(first & 0x1F) << 6 | UInt32(self[place + 1] & 0x3F), length: 2)
    }
    if first & 0xF0 == 0xE0, left >= 3, self[place + 1] & 0xC0 == 0x80, self[place + 2] & 0xC0 == 0x80 {
      let value = UInt32(first & 0x0F) << 12 | UInt32(self[place + 1] & 0x3F) << 6 | UInt32(self[place + 2] & 0x3F)
      if value >= 0x800, value & 0xFFFF_F800 != 0xD800 { return DecodedScalar(value: value, length: 3) }
    } else if first >= 0xF0, first < 0xF5, left >= 4, self[place + 1] & 0xC0 == 0x80, self[place + 2] & 0xC0 == 0x80,
      self[place + 3] & 0xC0 == 0x80
    {
      let high = UInt32(first & 0x07) << 18 | UInt32(self[place + 1] & 0x3F) << 12
      let value = high | UInt32(self[place + 2] & 0x3F) << 6 | UInt32(self[place + 3] & 0x3F)
      if value >= 0x10000, value < 0x110000 { return DecodedScalar(value: value, length: 4) }
    }
    return DecodedScalar(value: 0xFFFD, length: 1)
  }

  /// Where the scalar that ends before `place` begins (`place > 0`).
  @inline(__always)
  func scalarStart(before place: Int) -> Int {
    var start = place - 1
    while start > 0, place - start < 4, self[start] & 0xC0 == 0x80 { start -= 1 }
    return start
  }

  @inline(__always)
  func scalar(before place: Int) -> UInt32 { scalar(at: scalarStart(before: place)).value }

  @inline(__always)
  func slice(_ start: Int, _ end: Int) -> Bytes { Bytes(rebasing: self[start..<end]) }

  /// Whether the bytes from `place` on begin with `other`.
  func starts(with other: [UInt8], at place: Int) -> Bool {
    guard count - place >= other.count else { return false }
    for offset in 0..<other.count where self[place + offset] != other[offset] { return false }
    return true
  }

  var isASCII: Bool {
    var place = 0
    if let base = baseAddress {
      let raw = UnsafeRawPointer(base)
      while place + 8 <= count {
        if raw.loadUnaligned(fromByteOffset: place, as: UInt64.self) & 0x8080_8080_8080_8080 != 0 { return false }
        place += 8
      }
    }
    while place < count {
      if self[place] >= 0x80 { return false }
      place += 1
    }
    return true
  }
}

extension [UInt8] {
  /// Appends a scalar as UTF-8; a surrogate or a number beyond Unicode as U+FFFD.
  mutating func append(scalar value: UInt32) {
    switch value {
    case 0..<0x80: append(UInt8(value))
    case 0x80..<0x800:
      append(UInt8(0xC0 | value >> 6))
      append(UInt8(0x80 | value & 0x3F))
    case 0x800..<0xD800, 0xE000..<0x10000:
      append(UInt8(0xE0 | value >> 12))
      append(UInt8(0x80 | value >> 6 & 0x3F))
      append(UInt8(0x80 | value & 0x3F))
    case 0x10000..<0x110000:
      append(UInt8(0xF0 | value >> 18))
      append(UInt8(0x80 | value >> 12 & 0x3F))
      append(UInt8(0x80 | value >> 6 & 0x3F))
      append(UInt8(0x80 | value & 0x3F))
    default: append(scalar: 0xFFFD)
    }
  }

  /// The scalars of this UTF-8 text, invalid bytes as U+FFFD.
  var scalars: [UInt32] {
    withUnsafeBufferPointer { bytes in
      var out: [UInt32] = []
      out.reserveCapacity(bytes.count)
      var place = 0
      while place < bytes.count {
        let scalar = bytes.scalar(at: place)
        out.append(scalar.value)
        place += scalar.length
      }
      return out
    }
  }
}
