/// What a parameter worker tells a data worker of another host first of all: who wants a link, for which incarnation, and
/// how its data channel is to be recognised and sealed.
package struct LinkOffer: Sendable, Hashable {
  /// The program's version.
  package var version: String
  /// A number of the parameter worker's process, drawn at its start: epochs count within it.
  package var group: UInt64
  package var worker: UInt32
  package var epoch: UInt32
  /// Names the data channel, which is another connection.
  package var link: LinkID
  package var encryption: LinkEncryption
  /// 32 bytes; empty where nothing is sealed. Only ever sent where the control channel keeps secrets.
  package var key: [UInt8]

  package init(version: String, group: UInt64, worker: UInt32, epoch: UInt32, key: LinkKey?) {
    self.version = version
    self.group = group
    self.worker = worker
    self.epoch = epoch
    link = LinkID()
    encryption = key == nil ? .none : .aesGCM
    self.key = key?.bytes ?? []
  }

  func write(to writer: inout FieldWriter) {
    writer.put(version)
    writer.put(group)
    writer.put(worker)
    writer.put(epoch)
    writer.put(link.bytes)
    writer.put(encryption.rawValue)
    writer.put(key)
  }

  init(_ reader: inout FieldReader) throws(TransferError) {
    version = try reader.text()
    group = try reader.u64()
    worker = try reader.u32()
    epoch = try reader.u32()
    guard let link = LinkID(try reader.list()) else { throw .malformed("a link without a name is offered") }
    self.link = link
    let name = try reader.text()
    guard let encryption = LinkEncryption(rawValue: name) else {
      throw .refused("there is no link encryption \(name.debugDescription); use the same program on both sides")
    }
    self.encryption = encryption
    key = try reader.list()
    guard key.count == (encryption == .none ? 0 : LinkKey.byteCount) else {
      throw .malformed("a link's key has \(key.count) bytes")
    }
  }
}

/// 16 random bytes that name a link.
package struct LinkID: Sendable, Hashable {
  static let byteCount = 16
  let bytes: [UInt8]

  init() {
    var random = SystemRandomNumberGenerator()
    bytes = (0..<Self.byteCount).map { _ in UInt8.random(in: 0...255, using: &random) }
  }

  init?(_ bytes: [UInt8]) {
    guard bytes.count == Self.byteCount else { return nil }
    self.bytes = bytes
  }
}

/// The first bytes of each connection: 24, before any protection.
struct LinkPreamble: Hashable {
  enum Kind: UInt8 { case control = 1, data = 2 }

  /// What the listener answers to a control connection.
  enum Reply: UInt8 { case goOn = 0, wantsTLS = 1, hasNoTLS = 2, otherProtocol = 3 }

  static let byteCount = 24
  static let number: UInt8 = 1
  private static let magic: [UInt8] = Array("SWRV".utf8)

  var kind: Kind
  var isProtected: Bool
  /// Of data connections.
  var link: LinkID?

  var bytes: [UInt8] {
    Self.magic + [Self.number, kind.rawValue, isProtected ? 1 : 0, 0]
      + (link?.bytes ?? [UInt8](repeating: 0, count: LinkID.byteCount))
  }

  init(_ kind: Kind, isProtected: Bool, link: LinkID? = nil) {
    (self.kind, self.isProtected, self.link) = (kind, isProtected, link)
  }

  /// nil for what no worker of this program sends.
  init?(_ bytes: [UInt8]) {
    guard bytes.count == Self.byteCount, Array(bytes[..<4]) == Self.magic, bytes[4] == Self.number,
      let kind = Kind(rawValue: bytes[5]), bytes[6] <= 1, bytes[7] == 0
    else { return nil }
    self.kind = kind
    isProtected = bytes[6] == 1
    link = kind == .data ? LinkID(Array(bytes[8...])) : nil
  }
}
