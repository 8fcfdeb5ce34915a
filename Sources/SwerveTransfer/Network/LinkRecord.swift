internal import CSwervePlatform

/// What stands before each record of a message between hosts. A message is one record or several, each with its own check:
/// a tag where the link is sealed, a CRC-32C of header and content where it is not.
///
/// 32 bytes, little-endian: magic, bytes of content (u32), bytes of the whole message (u64), number (u64), check (u32), 0.
struct LinkRecord {
  static let headerBytes = 32
  /// Content at most: what a cipher works on stays in a near cache.
  static let capacity = 64 << 10
  private static let plainMagic: UInt32 = 0x5357_4C50
  private static let sealedMagic: UInt32 = 0x5357_4C53
  private static let checked = 24

  var byteCount: Int
  var messageBytes: Int
  /// Counts records of this direction, from 0.
  var number: UInt64

  init(byteCount: Int, messageBytes: Int, number: UInt64) {
    self.byteCount = byteCount
    self.messageBytes = messageBytes
    self.number = number
  }

  /// Writes the header; a plain one with the check of `content`.
  func write(to bytes: UnsafeMutableRawBufferPointer, plain content: UnsafeRawBufferPointer?) {
    let magic = content == nil ? Self.sealedMagic : Self.plainMagic
    bytes.storeBytes(of: magic.littleEndian, as: UInt32.self)
    bytes.storeBytes(of: UInt32(byteCount).littleEndian, toByteOffset: 4, as: UInt32.self)
    bytes.storeBytes(of: UInt64(messageBytes).littleEndian, toByteOffset: 8, as: UInt64.self)
    bytes.storeBytes(of: number.littleEndian, toByteOffset: 16, as: UInt64.self)
    bytes.storeBytes(of: 0, toByteOffset: 24, as: UInt64.self)
    guard let content else { return }
    let check = Self.check(UnsafeRawBufferPointer(bytes), content)
    bytes.storeBytes(of: check.littleEndian, toByteOffset: 24, as: UInt32.self)
  }

  /// Reads a header, which may say anything.
  ///
  /// - Throws: `Fault` for one that is not that of the record due.
  init(_ bytes: UnsafeRawBufferPointer, isSealed: Bool, number due: UInt64, capacity: Int) throws(Fault) {
    let magic = UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))
    guard magic == (isSealed ? Self.sealedMagic : Self.plainMagic) else {
      throw Fault(
        reason: magic == (isSealed ? Self.plainMagic : Self.sealedMagic)
          ? "a record is \(isSealed ? "not sealed" : "sealed") and the link is \(isSealed ? "" : "not ")"
          : "what should be a record's beginning is none")
    }
    let content = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    let whole = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    number = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
    guard number == due else {
      throw Fault(reason: "record \(number) came where \(due) was due: it was repeated, left out or put elsewhere")
    }
    guard content <= UInt32(Self.capacity), whole <= UInt64(capacity), UInt64(content) <= whole,
      content > 0 || whole == 0
    else {
      throw Fault(reason: "a record of \(content) bytes of a message of \(whole), where \(capacity) are the most")
    }
    byteCount = Int(content)
    messageBytes = Int(whole)
  }

  /// Whether a plain record is what was sent.
  static func isWhole(_ header: UnsafeRawBufferPointer, _ content: UnsafeRawBufferPointer) -> Bool {
    UInt32(littleEndian: header.loadUnaligned(fromByteOffset: 24, as: UInt32.self)) == check(header, content)
  }

  private static func check(_ header: UnsafeRawBufferPointer, _ content: UnsafeRawBufferPointer) -> UInt32 {
    let begin = swerve_crc32c(0, header.baseAddress, checked)
    return swerve_crc32c(begin, content.baseAddress, content.count)
  }

  /// Why a record is not taken.
  struct Fault: Error {
    var reason: String
  }
}
