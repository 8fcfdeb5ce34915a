import Crypto

/// Seals records of another file under a key of its own, derived from the master key. A record is bound to its number, so
/// that records cannot change places.
package struct RecordSeal: Sendable {
  private let key: SymmetricKey

  /// - Parameter purpose: another one gives another key.
  package init(_ master: MasterKey, purpose: String) {
    key = HKDF<SHA256>.deriveKey(inputKeyMaterial: master.key, info: Array(purpose.utf8), outputByteCount: 32)
  }

  /// Nonce, ciphertext and tag.
  package func seal(_ record: [UInt8], number: UInt64) -> [UInt8] {
    record.withUnsafeBytes { plain in
      withUnsafeBytes(of: number.littleEndian) { place in
        BlockCipher.seal(plain, header: place, key: key) { Array($0) }
      }
    }
  }

  /// nil for what was not sealed with this key, or for another place.
  package func open(_ sealed: [UInt8], number: UInt64) -> [UInt8]? {
    var bytes = sealed
    return bytes.withUnsafeMutableBytes { combined in
      withUnsafeBytes(of: number.littleEndian) { place in
        BlockCipher.open(combined, header: place, key: key) { Array($0) }
      }
    }
  }
}
