import Crypto

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// AES-256-GCM over the payload of a block file, piece by piece: what the cipher library allocates and copies then stays in
/// a core's cache, which makes sealing about as cheap as the cipher itself. Each piece is followed by its tag.
///
/// Piece i has the block's random nonce with i added to its last 32 bits by XOR, so pieces cannot change places; their
/// number follows from the header's length, which each of them authenticates, so none can be missing. The limit of
/// `BlockCipher` on blocks of one key counts pieces here: 2^32 of them are 256 TiB.
enum PieceCipher {
  static let pieceBytes = 64 << 10

  /// Bytes of all tags of a payload.
  static func tagBytes(for plaintextBytes: Int) -> Int {
    (plaintextBytes + pieceBytes - 1) / pieceBytes * BlockCipher.tagBytes
  }

  /// Seals the last `plaintextBytes` of `payload` into all of it, which is as much longer as their tags.
  ///
  /// `nonce`: 12 bytes, never used before with the key.
  static func seal(
    _ payload: UnsafeMutableRawBufferPointer, plaintextBytes: Int, nonce: UnsafeRawBufferPointer,
    header: UnsafeRawBufferPointer, key: SymmetricKey
  ) {
    let start = payload.count - plaintextBytes
    precondition(start == tagBytes(for: plaintextBytes), "a payload without room for its tags")
    var offset = 0
    var written = 0
    while offset < plaintextBytes {
      let count = min(pieceBytes, plaintextBytes - offset)
      let piece = UnsafeRawBufferPointer(rebasing: payload[start + offset..<start + offset + count])
      // Nothing here can fail: key and nonce have their lengths, and a piece is far below 64 GiB.
      guard
        let box = try? AES.GCM.seal(
          piece, using: key, nonce: self.nonce(nonce, offset / pieceBytes), authenticating: header),
        let combined = box.combined
      else { preconditionFailure("AES-256-GCM refuses a piece of \(count) bytes") }
      // Behind what was read already: the tags still to come are before it.
      combined.withUnsafeBytes {
        let sealed = UnsafeRawBufferPointer(rebasing: $0[BlockCipher.nonceBytes...])
        UnsafeMutableRawBufferPointer(rebasing: payload[written..<written + sealed.count]).copyMemory(from: sealed)
      }
      offset += count
      written += count + BlockCipher.tagBytes
    }
  }

  /// Hands each piece's plaintext, and where it stands in all of it, to `body`. False as soon as one is not what was
  /// sealed; what `body` was given before is then not to be used.
  static func open(
    _ payload: UnsafeMutableRawBufferPointer, plaintextBytes: Int, nonce: UnsafeRawBufferPointer,
    header: UnsafeRawBufferPointer, key: SymmetricKey, _ body: (UnsafeRawBufferPointer, Int) -> Void
  ) -> Bool {
    guard let start = payload.baseAddress, payload.count == plaintextBytes + tagBytes(for: plaintextBytes) else {
      return false
    }
    var offset = 0
    var read = 0
    while offset < plaintextBytes {
      let count = min(pieceBytes, plaintextBytes - offset)
      // Not copied: the data end before this function does.
      let sealed = Data(bytesNoCopy: start + read, count: count, deallocator: .none)
      let tag = Data(bytesNoCopy: start + read + count, count: BlockCipher.tagBytes, deallocator: .none)
      guard
        let box = try? AES.GCM.SealedBox(
          nonce: self.nonce(nonce, offset / pieceBytes), ciphertext: sealed, tag: tag),
        let plaintext = try? AES.GCM.open(box, using: key, authenticating: header)
      else { return false }
      plaintext.withUnsafeBytes { body($0, offset) }
      offset += count
      read += count + BlockCipher.tagBytes
    }
    return true
  }

  private static func nonce(_ base: UnsafeRawBufferPointer, _ piece: Int) -> AES.GCM.Nonce {
    withUnsafeTemporaryAllocation(byteCount: BlockCipher.nonceBytes, alignment: 4) { bytes in
      bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: base[..<BlockCipher.nonceBytes]))
      let last =
        UInt32(littleEndian: bytes.load(fromByteOffset: 8, as: UInt32.self)) ^ UInt32(truncatingIfNeeded: piece)
      bytes.storeBytes(of: last.littleEndian, toByteOffset: 8, as: UInt32.self)
      guard let nonce = try? AES.GCM.Nonce(data: UnsafeRawBufferPointer(bytes)) else {
        preconditionFailure("AES-GCM refuses a nonce of 96 bits")
      }
      return nonce
    }
  }

  /// Fills 12 bytes with a nonce that was never used before.
  static func makeNonce(_ bytes: UnsafeMutableRawBufferPointer) {
    AES.GCM.Nonce().withUnsafeBytes { bytes.copyMemory(from: $0) }
  }
}
