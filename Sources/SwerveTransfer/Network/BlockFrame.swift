internal import CSwervePlatform
internal import Crypto

/// The name of one prompt's transfer: 128 random bits, so that nobody names another one's.
package struct BlockTransferID: Hashable, Sendable, CustomStringConvertible {
  package let low: UInt64
  package let high: UInt64

  package init(low: UInt64, high: UInt64) {
    self.low = low
    self.high = high
  }

  package static func random() -> Self {
    var generator = SystemRandomNumberGenerator()
    return Self(low: generator.next(), high: generator.next())
  }

  /// 32 hexadecimal digits; nil for anything else.
  package init?(_ text: String) {
    guard text.utf8.count == 32, text.utf8.allSatisfy({ $0 < 128 && Character(UnicodeScalar($0)).isHexDigit }),
      let high = UInt64(text.prefix(16), radix: 16), let low = UInt64(text.suffix(16), radix: 16)
    else { return nil }
    self.init(low: low, high: high)
  }

  /// The transfer that a router called by any name: both sides come to the same.
  package init(named name: String) {
    if let id = Self(name) {
      self = id
    } else {
      self.init(digestOf: Array(name.utf8))
    }
  }

  private init(digestOf bytes: [UInt8]) {
    self = SHA256.hash(data: bytes).withUnsafeBytes {
      Self(
        low: UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
        high: UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }
  }

  package var description: String { Self.digits(high) + Self.digits(low) }

  private static func digits(_ word: UInt64) -> String {
    let text = String(word, radix: 16)
    return String(repeating: "0", count: 16 - text.count) + text
  }

  /// The transfer of a request's further prompt; both sides come to the same. 0 is the request's own.
  package func place(_ index: Int) -> Self {
    index == 0 ? self : Self(digestOf: Array("\(self) \(index)".utf8))
  }
}

/// The line before everything that two engines tell each other about blocks. 64 bytes, little-endian, with a check of its
/// own and one of the payload behind it.
package struct BlockFrame: Sendable, Hashable {
  package enum Kind: UInt16, Sendable {
    /// Both: who they are. The payload is a `BlockGreeting`.
    case hello = 1
    /// Producer → consumer: room for `count` blocks. The payload is the digest of their tokens.
    case reserve
    /// Consumer → producer: there is room, under this generation.
    case reserved
    /// Either: no; the payload is the reason.
    case refused
    /// Consumer → producer: send the blocks from `first` on, `count` in all. The payload is the digest of their tokens.
    case pull
    /// Producer → consumer: a layer of `count` blocks from `first` on.
    case layer
    /// Producer → consumer: all was sent.
    case end
    /// Consumer → producer: all has come.
    case done
    /// Producer → consumer: still computing.
    case alive
  }

  package var kind: Kind
  package var layer: UInt16 = 0
  package var transfer: BlockTransferID
  package var generation: UInt32 = 0
  package var first: UInt32 = 0
  package var count: UInt32 = 0
  package var payloadBytes: UInt32 = 0
  package var payloadCheck: UInt32 = 0

  package static let byteCount = 64
  /// `SWB1`, of which the last is the protocol's version.
  static let magic: UInt32 = 0x3142_5753

  package init(_ kind: Kind, _ transfer: BlockTransferID, generation: UInt32 = 0) {
    self.kind = kind
    self.transfer = transfer
    self.generation = generation
  }

  package func write(to bytes: UnsafeMutableRawBufferPointer) {
    bytes.storeBytes(of: Self.magic.littleEndian, as: UInt32.self)
    bytes.storeBytes(of: kind.rawValue.littleEndian, toByteOffset: 4, as: UInt16.self)
    bytes.storeBytes(of: layer.littleEndian, toByteOffset: 6, as: UInt16.self)
    bytes.storeBytes(of: transfer.low.littleEndian, toByteOffset: 8, as: UInt64.self)
    bytes.storeBytes(of: transfer.high.littleEndian, toByteOffset: 16, as: UInt64.self)
    for (offset, word) in [generation, first, count, payloadBytes, payloadCheck].enumerated() {
      bytes.storeBytes(of: word.littleEndian, toByteOffset: 24 + 4 * offset, as: UInt32.self)
    }
    for offset in stride(from: 44, to: 60, by: 4) { bytes.storeBytes(of: 0, toByteOffset: offset, as: UInt32.self) }
    bytes.storeBytes(
      of: swerve_crc32c(0, bytes.baseAddress, 60).littleEndian, toByteOffset: 60, as: UInt32.self)
  }

  /// - Throws: `.malformed` for a damaged line, or one of another protocol.
  package init(_ bytes: UnsafeRawBufferPointer, from peer: String) throws(TransferError) {
    func u32(_ offset: Int) -> UInt32 {
      UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
    func u64(_ offset: Int) -> UInt64 {
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
    guard bytes.count >= Self.byteCount else { throw .malformed("\(peer) sent \(bytes.count) bytes for a header") }
    guard u32(0) == Self.magic else {
      throw .malformed("\(peer) does not speak this version's block protocol; start both from the same program")
    }
    guard u32(60) == swerve_crc32c(0, bytes.baseAddress, 60) else {
      throw .malformed("a header of \(peer) is damaged")
    }
    guard let kind = Kind(rawValue: UInt16(truncatingIfNeeded: u32(4))) else {
      throw .malformed("\(peer) sent a message of an unknown kind")
    }
    self.init(kind, BlockTransferID(low: u64(8), high: u64(16)), generation: u32(24))
    layer = UInt16(truncatingIfNeeded: u32(4) >> 16)
    first = u32(28)
    count = u32(32)
    payloadBytes = u32(36)
    payloadCheck = u32(40)
  }
}
