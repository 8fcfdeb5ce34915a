// Storage below the device: sealed KV blocks in host memory and in files, their keys, and the threads that move them.
// This room must not know the scheduler, the runner, HTTP or what a number in a block means beyond its layout.
// Start with BlockIdentity, then HostTier, FileTier and TransferLane.

import Crypto

/// 256 bits that name something: SHA-256 of its description. Used for a model's fingerprint and for chains of blocks.
package struct Digest: Hashable, Sendable {
  package static let byteCount = 32

  /// The 32 bytes in order, as four little-endian words.
  private let words: (UInt64, UInt64, UInt64, UInt64)

  /// Reads the first 32 of `bytes`, which must be that many.
  package init(reading bytes: UnsafeRawBufferPointer) {
    precondition(bytes.count >= Self.byteCount, "a digest is 32 bytes")
    words = (
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)),
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self))
    )
  }

  /// SHA-256 of `description`: what a model's fingerprint is made of (weights' tags, configuration, adapter, revision).
  package init(of description: [UInt8]) {
    self = SHA256.hash(data: description).withUnsafeBytes { Digest(reading: $0) }
  }

  /// The first 128 bits, which tables are keyed by.
  package var short: ShortDigest { ShortDigest(low: words.0, high: words.1) }

  /// Writes the 32 bytes at `offset`.
  package func write(to bytes: UnsafeMutableRawBufferPointer, at offset: Int) {
    bytes.storeBytes(of: words.0.littleEndian, toByteOffset: offset, as: UInt64.self)
    bytes.storeBytes(of: words.1.littleEndian, toByteOffset: offset + 8, as: UInt64.self)
    bytes.storeBytes(of: words.2.littleEndian, toByteOffset: offset + 16, as: UInt64.self)
    bytes.storeBytes(of: words.3.littleEndian, toByteOffset: offset + 24, as: UInt64.self)
  }

  package static func == (a: Self, b: Self) -> Bool { a.words == b.words }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(words.0)
    hasher.combine(words.1)
  }
}

/// 128 bits: half a digest, a file's name, the id of a key.
package struct ShortDigest: Hashable, Sendable {
  package static let byteCount = 16

  package var low: UInt64
  package var high: UInt64

  package init(low: UInt64, high: UInt64) {
    self.low = low
    self.high = high
  }

  /// Reads 16 bytes at `offset`.
  package init(reading bytes: UnsafeRawBufferPointer, at offset: Int = 0) {
    low = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    high = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
  }

  /// Random bits of the operating system.
  package static func random() -> Self {
    var generator = SystemRandomNumberGenerator()
    return Self(low: generator.next(), high: generator.next())
  }

  package func write(to bytes: UnsafeMutableRawBufferPointer, at offset: Int) {
    bytes.storeBytes(of: low.littleEndian, toByteOffset: offset, as: UInt64.self)
    bytes.storeBytes(of: high.littleEndian, toByteOffset: offset + 8, as: UInt64.self)
  }

  /// 32 lower-case hexadecimal digits, byte 0 first.
  package var hexadecimal: String {
    var text: [UInt8] = []
    text.reserveCapacity(32)
    for word in [low, high] {
      for byte in 0..<8 {
        let value = UInt8(truncatingIfNeeded: word >> UInt64(byte * 8))
        text.append(hexadecimalDigit(value >> 4))
        text.append(hexadecimalDigit(value & 15))
      }
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// Reads what `hexadecimal` writes; nil for anything else.
  package init?(hexadecimal text: some StringProtocol) {
    let digits = Array(text.utf8)
    guard digits.count == 32 else { return nil }
    var words: [UInt64] = [0, 0]
    for place in 0..<16 {
      guard let first = hexadecimalValue(digits[2 * place], lowerCaseOnly: true),
        let second = hexadecimalValue(digits[2 * place + 1], lowerCaseOnly: true)
      else { return nil }
      words[place / 8] |= UInt64(first << 4 | second) << UInt64(place % 8 * 8)
    }
    self.init(low: words[0], high: words[1])
  }
}

func hexadecimalDigit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 87 + value }

func hexadecimalValue(_ digit: UInt8, lowerCaseOnly: Bool = false) -> UInt8? {
  switch digit {
  case 48...57: digit - 48
  case 97...102: digit - 87
  case 65...70 where !lowerCaseOnly: digit - 55
  default: nil
  }
}
