package import SwerveCore

/// The line before everything that parameter and data workers tell each other in a step. All numbers little-endian.
///
/// Its check covers the line itself; a step's hash covers its body. Rows of queries, keys, values and outputs carry no
/// checksum of their own: they lie in sealed memory of two processes, not on a wire.
package struct MessageHeader: Sendable, Hashable {
  package enum Kind: UInt32, Sendable {
    /// Parameter worker → data worker: what a step computes attention for. Then one `layer` for each layer, if it has rows.
    case step = 0x5301
    /// Parameter worker → data worker: queries, keys and values of a layer.
    case layer = 0x5302
    /// Data worker → parameter worker: a layer's output.
    case output = 0xD301
    /// Data worker → parameter worker: why there is none.
    case refusal = 0xD302
  }

  /// Who says what: a data worker never submits a step.
  package enum Role: UInt32, Sendable { case parameter = 1, data = 2 }

  package var kind: Kind
  package var layer: UInt32 = 0
  package var plan: UInt64
  /// Incarnation of the data worker.
  package var epoch: UInt32
  package var rows: UInt32 = 0
  /// The step's hash, in answers that of the step they answer.
  package var hash: UInt64 = 0
  /// Nanoseconds that an output took.
  package var busy: UInt64 = 0
  /// Which part of the step, of those that go through its layers one after the other: micro-batches, or the turns of
  /// sequences that lie with several workers.
  package var part: UInt32 = 0

  package static let byteCount = 64
  /// In `layer` of a refusal: the step names a block by a generation that is not the block's.
  package static let staleBlock: UInt32 = 1

  package init(_ kind: Kind, plan: UInt64, epoch: UInt32) {
    self.kind = kind
    self.plan = plan
    self.epoch = epoch
  }

  package var sender: Role { kind == .step || kind == .layer ? .parameter : .data }

  private var check: UInt64 {
    var hash = WordHash()
    hash.absorb(UInt64(kind.rawValue) << 32 | UInt64(layer))
    hash.absorb(plan)
    hash.absorb(UInt64(epoch) << 32 | UInt64(rows))
    hash.absorb(self.hash)
    hash.absorb(busy)
    hash.absorb(UInt64(part))
    return hash.value
  }

  package func write(to bytes: UnsafeMutableRawBufferPointer) {
    bytes.storeBytes(of: kind.rawValue.littleEndian, as: UInt32.self)
    bytes.storeBytes(of: layer.littleEndian, toByteOffset: 4, as: UInt32.self)
    bytes.storeBytes(of: plan.littleEndian, toByteOffset: 8, as: UInt64.self)
    bytes.storeBytes(of: epoch.littleEndian, toByteOffset: 16, as: UInt32.self)
    bytes.storeBytes(of: rows.littleEndian, toByteOffset: 20, as: UInt32.self)
    bytes.storeBytes(of: hash.littleEndian, toByteOffset: 24, as: UInt64.self)
    bytes.storeBytes(of: busy.littleEndian, toByteOffset: 32, as: UInt64.self)
    bytes.storeBytes(of: check.littleEndian, toByteOffset: 40, as: UInt64.self)
    bytes.storeBytes(of: UInt64(part).littleEndian, toByteOffset: 48, as: UInt64.self)
    bytes.storeBytes(of: 0, toByteOffset: 56, as: UInt64.self)
  }

  /// Reads a line that somebody of a role sent.
  ///
  /// - Throws: `.malformed` for a damaged line, or one that the role must not send.
  package init(_ bytes: UnsafeRawBufferPointer, from role: Role, peer: String) throws(ChannelError) {
    func fail(_ reason: String) -> ChannelError { .malformed(peer: peer, reason: reason) }
    guard bytes.count >= Self.byteCount else { throw fail("a message of \(bytes.count) bytes has no header") }
    func u32(_ offset: Int) -> UInt32 {
      UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
    func u64(_ offset: Int) -> UInt64 {
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
    guard let kind = Kind(rawValue: u32(0)) else { throw fail("there is no message of kind \(u32(0))") }
    self.init(kind, plan: u64(8), epoch: u32(16))
    layer = u32(4)
    rows = u32(20)
    hash = u64(24)
    busy = u64(32)
    part = u32(48)
    guard check == u64(40) else { throw fail("a message's header is damaged") }
    guard sender == role else { throw fail("a \(role) worker must not send a message of kind \(kind)") }
  }
}

/// Mixes 64-bit words into one. Not cryptographic: it finds damage, not malice.
package struct WordHash: Sendable {
  package private(set) var value: UInt64 = 0x6A09_E667_F3BC_C908

  package init() {}

  package mutating func absorb(_ word: UInt64) {
    let product = (value ^ word).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
    value = (product.high ^ product.low) &+ 0xBB67_AE85_84CA_A73B &+ word
  }

  /// Whole words; what is left over is filled with zeros.
  package mutating func absorb(_ bytes: UnsafeRawBufferPointer) {
    var at = 0
    while at + 8 <= bytes.count {
      absorb(bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))
      at += 8
    }
    if at == bytes.count { return }
    var rest: UInt64 = 0
    for index in at..<bytes.count { rest = rest << 8 | UInt64(bytes[index]) }
    absorb(rest)
  }
}
