package import SwerveCore

/// How a file tier is set up.
package struct FileTierConfiguration: Sendable {
  /// The tier's folder: `blocks` (256 folders of files), `incoming` (files being written), `keys`, `lock`, `floor`.
  package var folder: String
  /// Most bytes of all block files together, as their lengths say.
  package var capacityBytes: Int
  package var policy = EvictionPolicy.lru
  package var precision = TierPrecision.exact
  /// Nothing is written, evicted, removed or locked.
  package var isReadOnly = false
  /// Whether each file is on the medium before it gets its name. Without it a power cut may leave damaged files, which
  /// are misses; a killed process leaves none.
  package var synchronizesBlocks = false
  /// What every block has in common: blocks of another model or shape are never read.
  package var model: Digest
  package var elementType: KVType
  package var layerCount: Int
  package var blockTokens: Int
  /// Bytes of one packed block.
  package var blockBytes: Int
  /// How the numbers lie in a packed block; needed for a precision other than exact.
  package var layout: PackedLayout?
  /// From how many seconds on one block's read or write counts as slow.
  package var slowSeconds = 5.0
  /// First pause before a read-only tier tries to write again, in seconds; it doubles up to 300.
  package var retrySeconds = 5.0

  package init(
    folder: String, capacityBytes: Int, model: Digest, elementType: KVType, layerCount: Int, blockTokens: Int,
    blockBytes: Int
  ) {
    self.folder = folder
    self.capacityBytes = capacityBytes
    self.model = model
    self.elementType = elementType
    self.layerCount = layerCount
    self.blockTokens = blockTokens
    self.blockBytes = blockBytes
  }

  /// Bytes before the keys and values within a sealed payload: see `PayloadRecord`.
  var recordBytes: Int { PayloadRecord.byteCount(tokens: blockTokens) }

  /// Bytes of a block's file, when it is kept at the tier's precision.
  package var fileBytes: Int {
    let block = precision == .exact ? blockBytes : layout?.byteCount(precision) ?? blockBytes
    return BlockHeader.fileBytes(payload: recordBytes + block)
  }

  func validate() throws(TierError) {
    guard blockBytes > 0, layerCount > 0, blockTokens > 0, blockBytes <= 1 << 32, blockTokens <= 1 << 20 else {
      throw .configuration(
        tier: "nvme",
        reason: "needs blocks of 1 byte to 4 GiB with layers and tokens, not \(blockBytes) bytes of \(layerCount) "
          + "layers and \(blockTokens) tokens")
    }
    if precision != .exact {
      guard let layout, layout.byteCount(.exact) == blockBytes, KVType(layout.elementType) == elementType,
        layout.blockTokens == blockTokens, layout.layerCount == layerCount
      else {
        throw .configuration(
          tier: "nvme", reason: "cannot keep blocks of this shape as \(precision); use dtype=auto")
      }
    }
    guard isReadOnly || capacityBytes >= fileBytes else {
      throw .configuration(
        tier: "nvme", reason: "of \(capacityBytes) bytes cannot hold one block file of \(fileBytes); make it larger")
    }
  }
}

/// The first part of a sealed payload: which block it is. The keys and values follow.
///
/// Root of the scope (32), parent (32), digest (32), number of tokens (4), bytes of the keys and values (8, at 104), the
/// tokens (4 each, at 112), zeros up to a multiple of 64.
enum PayloadRecord {
  static func byteCount(tokens: Int) -> Int { (112 + tokens * 4 + 63) & ~63 }

  /// Writes the record of a block whose keys and values take `payloadBytes`.
  static func write(_ identity: BlockIdentity, payloadBytes: Int, to bytes: UnsafeMutableRawBufferPointer) {
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
    identity.scope.root.write(to: bytes, at: 0)
    identity.parent.write(to: bytes, at: 32)
    identity.digest.write(to: bytes, at: 64)
    bytes.storeBytes(of: UInt32(identity.tokens.count).littleEndian, toByteOffset: 96, as: UInt32.self)
    bytes.storeBytes(of: UInt64(payloadBytes).littleEndian, toByteOffset: 104, as: UInt64.self)
    for (index, token) in identity.tokens.enumerated() {
      bytes.storeBytes(of: token.rawValue.littleEndian, toByteOffset: 112 + index * 4, as: Int32.self)
    }
  }

  /// Whether the record is this block's, every field of it.
  static func matches(_ identity: BlockIdentity, payloadBytes: Int, _ bytes: UnsafeRawBufferPointer) -> Bool {
    guard bytes.count >= byteCount(tokens: identity.tokens.count),
      Digest(reading: UnsafeRawBufferPointer(rebasing: bytes[0..<32])) == identity.scope.root,
      Digest(reading: UnsafeRawBufferPointer(rebasing: bytes[32..<64])) == identity.parent,
      Digest(reading: UnsafeRawBufferPointer(rebasing: bytes[64..<96])) == identity.digest,
      UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 96, as: UInt32.self)) == UInt32(identity.tokens.count),
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 104, as: UInt64.self)) == UInt64(payloadBytes)
    else { return false }
    return identity.tokens.indices.allSatisfy {
      Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: 112 + $0 * 4, as: Int32.self))
        == identity.tokens[$0].rawValue
    }
  }
}
