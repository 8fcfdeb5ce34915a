internal import CSwervePlatform

/// Messages of one direction in shared memory: a line for what the sender writes, one for what the receiver writes, and
/// the bytes in a circle. Positions count bytes since the beginning; a message is one line of header and its bytes, never
/// cut by the end of the circle.
///
/// Whatever is read here was written by another process: positions and headers are checked before they are used.
struct Ring {
  /// Bytes of the circle: two longest messages.
  let circleBytes: Int
  private let start: UnsafeMutableRawPointer

  static let line = 64
  private static let headBytes = 2 * line
  /// Messages are kept to the beginning of the circle while they find room there: memory that caches know.
  static let hotBytes = 256 << 10

  init(_ memory: UnsafeMutableRawBufferPointer, capacity: Int) {
    precondition(memory.count >= Self.byteCount(capacity: capacity), "memory too small for its ring")
    guard let start = memory.baseAddress else { preconditionFailure("a ring without memory") }
    precondition(Int(bitPattern: start) % Self.line == 0, "a ring that is not aligned to lines")
    self.start = start
    circleBytes = Self.circleBytes(capacity)
  }

  /// A line more than the circle: whoever reads rows may read that far beyond them.
  static func byteCount(capacity: Int) -> Int { headBytes + circleBytes(capacity) + line }

  private static func circleBytes(_ capacity: Int) -> Int { 2 * needed(capacity) }

  /// Bytes a message takes with its header, in whole lines.
  static func needed(_ byteCount: Int) -> Int { line + (byteCount + line - 1) / line * line }

  // MARK: Words

  private func word(_ offset: Int) -> UnsafeMutablePointer<UInt32> {
    (start + offset).assumingMemoryBound(to: UInt32.self)
  }
  private func long(_ offset: Int) -> UnsafeMutablePointer<UInt64> {
    (start + offset).assumingMemoryBound(to: UInt64.self)
  }

  /// One side's words: how far it is, what changes when it moves, whether it ended, whether it sleeps until the other moves, and
  /// when it moved last where both take turns (monotonic nanoseconds).
  struct Side {
    let position: UnsafeMutablePointer<UInt64>
    let bell: UnsafeMutablePointer<UInt32>
    let ended: UnsafeMutablePointer<UInt32>
    let sleeps: UnsafeMutablePointer<UInt32>
    let moved: UnsafeMutablePointer<UInt64>
  }

  private func side(_ offset: Int) -> Side {
    Side(
      position: long(offset), bell: word(offset + 8), ended: word(offset + 12), sleeps: word(offset + 16),
      moved: long(offset + 24))
  }

  var sender: Side { side(0) }
  var receiver: Side { side(Self.line) }

  /// The memory behind a position.
  func bytes(at position: UInt64) -> UnsafeMutableRawPointer {
    start + Self.headBytes + Int(position % UInt64(circleBytes))
  }

  // MARK: Headers

  /// What stands before a message.
  struct Header {
    /// `message`, or `skip`: nothing here, go on at the beginning of the circle.
    var kind: UInt32
    var byteCount: UInt64
    /// Counts messages and skips.
    var number: UInt64
    /// Check of the message's bytes; 0: there is none.
    var content: UInt64 = 0

    static let message: UInt32 = 0x5357_0001
    static let skip: UInt32 = 0x5357_0002

    /// Differs when any bit of the others does, almost always.
    var check: UInt32 {
      var value = (UInt64(kind) &+ 1) &* 0x9E37_79B9_7F4A_7C15
      value = (value ^ (value >> 29) ^ byteCount) &* 0xBF58_476D_1CE4_E5B9
      value = (value ^ (value >> 32) ^ number) &* 0x94D0_49BB_1331_11EB
      value = (value ^ (value >> 30) ^ content) &* 0xD6E8_FEB8_6659_FD93
      return UInt32(truncatingIfNeeded: value >> 32)
    }
  }

  func write(_ header: Header, at position: UInt64) {
    let at = bytes(at: position)
    at.storeBytes(of: header.kind, as: UInt32.self)
    at.storeBytes(of: header.check, toByteOffset: 4, as: UInt32.self)
    at.storeBytes(of: header.byteCount, toByteOffset: 8, as: UInt64.self)
    at.storeBytes(of: header.number, toByteOffset: 16, as: UInt64.self)
    at.storeBytes(of: header.content, toByteOffset: 24, as: UInt64.self)
  }

  /// The header there, each of its words read once; nil for one that nobody wrote.
  func header(at position: UInt64) -> Header? {
    let at = bytes(at: position)
    let header = Header(
      kind: at.load(as: UInt32.self), byteCount: at.load(fromByteOffset: 8, as: UInt64.self),
      number: at.load(fromByteOffset: 16, as: UInt64.self), content: at.load(fromByteOffset: 24, as: UInt64.self))
    let check = at.load(fromByteOffset: 4, as: UInt32.self)
    guard check == header.check, header.kind == Header.message || header.kind == Header.skip else { return nil }
    return header
  }
}
