import SwerveCore

/// The open part of a block file, 128 bytes, all integers little-endian. Everything here is authenticated with the
/// payload, and nothing here tells the tokens or their keys and values.
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 8 | magic `SWKVBLK1` |
/// | 8 | 4 | version: 2 |
/// | 12 | 4 | length of the header: 128 |
/// | 16 | 32 | model fingerprint |
/// | 48 | 1 | precision of the payload: 0 exact, 1 int8, 2 int4 |
/// | 49 | 1 | element type on the device: 0 float32, 1 bfloat16, 2 float16 |
/// | 50 | 1 | flags: 1 went through a lower precision, 2 sealed with the key of one process |
/// | 51 | 1 | 0 |
/// | 52 | 4 | layers |
/// | 56 | 4 | tokens |
/// | 60 | 4 | reload cost, float32 |
/// | 64 | 8 | generation |
/// | 72 | 16 | key id |
/// | 88 | 16 | the file's own name |
/// | 104 | 8 | length of the payload, without tags |
/// | 112 | 4 | 0 |
/// | 116 | 12 | nonce |
///
/// Then the payload, sealed in pieces of 64 KiB, each with its tag of 16 bytes (`PieceCipher`), and no more. Version 1 had one
/// tag behind all of it.
struct BlockHeader: Hashable, Sendable {
  static let byteCount = 128
  static let nonceOffset = 116
  static let magic: UInt64 = 0x314B_4C42_564B_5753  // "SWKVBLK1"
  static let version: UInt32 = 2
  static let lossyFlag: UInt8 = 1
  static let ephemeralFlag: UInt8 = 2

  var model: Digest
  var precision: TierPrecision
  var elementCode: UInt8
  var isLossy: Bool
  /// Sealed with a key that ended with its process: nobody can read it any more.
  var isEphemeral: Bool
  var layerCount: UInt32
  var tokenCount: UInt32
  var reloadCost: Float
  var generation: UInt64
  var keyID: ShortDigest
  var name: ShortDigest
  var payloadBytes: UInt64

  /// What a file with this header must measure.
  var fileBytes: UInt64? {
    guard payloadBytes < 1 << 48 else { return nil }
    return UInt64(Self.fileBytes(payload: Int(payloadBytes)))
  }

  static func fileBytes(payload: Int) -> Int { byteCount + payload + PieceCipher.tagBytes(for: payload) }

  /// Writes all but the nonce.
  func write(to bytes: UnsafeMutableRawBufferPointer) {
    func store<Value: FixedWidthInteger>(_ value: Value, _ offset: Int) {
      bytes.storeBytes(of: value.littleEndian, toByteOffset: offset, as: Value.self)
    }
    store(Self.magic, 0)
    store(Self.version, 8)
    store(UInt32(Self.byteCount), 12)
    model.write(to: bytes, at: 16)
    store(precision.rawValue, 48)
    store(elementCode, 49)
    store((isLossy ? Self.lossyFlag : 0) | (isEphemeral ? Self.ephemeralFlag : 0), 50)
    store(0 as UInt8, 51)
    store(layerCount, 52)
    store(tokenCount, 56)
    store(reloadCost.bitPattern, 60)
    store(generation, 64)
    keyID.write(to: bytes, at: 72)
    name.write(to: bytes, at: 88)
    store(payloadBytes, 104)
    store(0 as UInt32, 112)
  }

  /// Nil for anything that is not such a header.
  init?(reading bytes: UnsafeRawBufferPointer) {
    func load<Value: FixedWidthInteger>(_ offset: Int, _: Value.Type = Value.self) -> Value {
      Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Value.self))
    }
    guard bytes.count >= Self.byteCount, load(0, UInt64.self) == Self.magic, load(8, UInt32.self) == Self.version,
      load(12, UInt32.self) == UInt32(Self.byteCount), let precision = TierPrecision(rawValue: load(48)),
      load(50, UInt8.self) & ~(Self.lossyFlag | Self.ephemeralFlag) == 0, load(51, UInt8.self) == 0,
      load(112, UInt32.self) == 0
    else { return nil }
    model = Digest(reading: UnsafeRawBufferPointer(rebasing: bytes[16..<48]))
    self.precision = precision
    elementCode = load(49)
    isLossy = load(50, UInt8.self) & Self.lossyFlag != 0
    isEphemeral = load(50, UInt8.self) & Self.ephemeralFlag != 0
    layerCount = load(52)
    tokenCount = load(56)
    reloadCost = Float(bitPattern: load(60))
    generation = load(64)
    keyID = ShortDigest(reading: bytes, at: 72)
    name = ShortDigest(reading: bytes, at: 88)
    payloadBytes = load(104)
  }

  init(
    model: Digest, precision: TierPrecision, elementCode: UInt8, isLossy: Bool, isEphemeral: Bool, layerCount: UInt32,
    tokenCount: UInt32, reloadCost: Float, generation: UInt64, keyID: ShortDigest, name: ShortDigest,
    payloadBytes: UInt64
  ) {
    self.model = model
    self.precision = precision
    self.elementCode = elementCode
    self.isLossy = isLossy
    self.isEphemeral = isEphemeral
    self.layerCount = layerCount
    self.tokenCount = tokenCount
    self.reloadCost = reloadCost
    self.generation = generation
    self.keyID = keyID
    self.name = name
    self.payloadBytes = payloadBytes
  }
}
