package import SwerveCore

/// What an engine tells another one before anything else: what its blocks are. Blocks are taken only from an engine of the
/// same.
package struct BlockGreeting: Sendable, Hashable {
  /// The program's version.
  package var version: String
  /// What clients and metrics call the engine.
  package var engine: String
  /// The engine's incarnation: a restarted one has another.
  package var epoch: UInt64
  /// Digest of weights, configuration, types and kernels. 32 bytes
  package var model: [UInt8]
  package var type: KVType
  package var layerCount: Int
  package var headCount: Int
  package var headDim: Int
  package var blockTokens: Int
  /// Bytes of one layer of a block.
  package var layerBytes: Int
  /// Whether frames behind this one are sealed.
  package var isSealed = false
  /// Random bits of this connection. 16 bytes
  package var nonce: [UInt8] = []

  package init(
    version: String, engine: String, epoch: UInt64, model: [UInt8], type: KVType, layerCount: Int, headCount: Int,
    headDim: Int, blockTokens: Int, layerBytes: Int
  ) {
    self.version = version
    self.engine = engine
    self.epoch = epoch
    self.model = model
    self.type = type
    self.layerCount = layerCount
    self.headCount = headCount
    self.headDim = headDim
    self.blockTokens = blockTokens
    self.layerBytes = layerBytes
  }

  /// Bytes of all layers of a block.
  package var blockBytes: Int { layerCount * layerBytes }

  /// Greetings are no longer than this.
  static let capacity = 1024

  package var bytes: [UInt8] {
    var out: [UInt8] = []
    func append(_ text: String) {
      let utf8 = Array(text.utf8.prefix(200))
      out.append(UInt8(utf8.count))
      out += utf8
    }
    append(version)
    append(engine)
    append(type.rawValue)
    for word in [epoch] + [layerCount, headCount, headDim, blockTokens, layerBytes].map({ UInt64($0) }) {
      withUnsafeBytes(of: word.littleEndian) { out += $0 }
    }
    out.append(isSealed ? 1 : 0)
    out += model
    out += nonce
    return out
  }

  /// - Throws: `.malformed` for anything but what `bytes` writes.
  package init(_ bytes: UnsafeRawBufferPointer, from peer: String) throws(TransferError) {
    var at = 0
    func take(_ count: Int) throws(TransferError) -> UnsafeRawBufferPointer {
      guard count <= bytes.count - at else { throw .malformed("the greeting of \(peer) is too short") }
      defer { at += count }
      return UnsafeRawBufferPointer(rebasing: bytes[at..<at + count])
    }
    func text() throws(TransferError) -> String {
      let count = Int(try take(1)[0])
      return String(decoding: try take(count), as: UTF8.self)
    }
    func word() throws(TransferError) -> UInt64 {
      UInt64(littleEndian: try take(8).loadUnaligned(as: UInt64.self))
    }
    func size() throws(TransferError) -> Int {
      let value = try word()
      guard value <= 1 << 40 else { throw .malformed("the greeting of \(peer) has a size of \(value)") }
      return Int(value)
    }
    version = try text()
    engine = try text()
    let name = try text()
    guard let type = KVType(rawValue: name) else {
      throw .malformed("\(peer) keeps keys and values as \(name.debugDescription), which this version does not know")
    }
    self.type = type
    epoch = try word()
    layerCount = try size()
    headCount = try size()
    headDim = try size()
    blockTokens = try size()
    layerBytes = try size()
    isSealed = try take(1)[0] == 1
    model = Array(try take(32))
    nonce = Array(try take(16))
    guard at == bytes.count else { throw .malformed("the greeting of \(peer) is too long") }
  }

  /// - Throws: `.refused` with what differs, where blocks of one are nothing to the other.
  package func check(_ other: BlockGreeting, at peer: String) throws(TransferError) {
    let name = "the engine \(other.engine) at \(peer)"
    if other.version != version {
      throw .refused("\(name) is version \(other.version) and this one is \(version); start both from the same program")
    }
    if isSealed != other.isSealed {
      let (with, without) = isSealed ? ("this engine", name) : (name, "this engine")
      throw .refused("\(with) seals its links and \(without) does not; give both the same --link-key-file")
    }
    if other.type != type {
      throw .refused(
        "\(name) keeps keys and values as \(other.type.rawValue) and this one as \(type.rawValue); give both the same "
          + "--dtype and --kv-cache-dtype")
    }
    if other.blockTokens != blockTokens {
      throw .refused(
        "\(name) has blocks of \(other.blockTokens) tokens and this one of \(blockTokens); give both the same --block-size"
      )
    }
    let shapes = [(other.layerCount, layerCount), (other.headCount, headCount), (other.headDim, headDim)]
    if shapes.contains(where: { $0 != $1 }) || other.layerBytes != layerBytes || other.model != model {
      throw .refused(
        "\(name) serves another model, or the same in another type or with other kernels; start both with the same "
          + "model and flags, on CPUs of one kind or with the same SWERVE_CPU_KERNELS")
    }
  }
}
