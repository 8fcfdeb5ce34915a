internal import Crypto

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

/// What is between two hosts' data channels.
package enum LinkEncryption: String, Sendable, Hashable, CaseIterable {
  /// Numbers as they are, with a checksum against damage.
  case none
  /// AES-256-GCM: nobody on the way reads, alters, repeats or reorders anything unnoticed.
  case aesGCM = "aes-gcm"
}

/// A key of one link, made for it and forgotten with it.
package struct LinkKey: Sendable {
  package static let byteCount = 32
  let key: SymmetricKey

  /// A new one.
  package init() { key = SymmetricKey(size: .bits256) }

  init(_ key: SymmetricKey) { self.key = key }

  /// nil for bytes that are no key.
  package init?(_ bytes: [UInt8]) {
    guard bytes.count == Self.byteCount else { return nil }
    key = SymmetricKey(data: bytes)
  }

  /// To be told to the other side, over a channel that keeps secrets.
  package var bytes: [UInt8] { key.withUnsafeBytes { Array($0) } }
}

/// Seals records of one direction of a link. A record's nonce is the direction and its number: both sides count, a number
/// is used once, and what comes out of its turn has another nonce than the receiver expects.
struct LinkCipher: Sendable {
  enum Direction: UInt32, Sendable {
    case fromDialer = 1
    case fromListener = 2
  }

  static let tagBytes = 16
  private let key: SymmetricKey
  private let direction: Direction

  init(_ key: LinkKey, _ direction: Direction) {
    self.key = key.key
    self.direction = direction
  }

  private func nonce(_ number: UInt64) -> AES.GCM.Nonce? {
    var bytes: (UInt32, UInt32, UInt32) = (
      direction.rawValue.bigEndian, UInt32(truncatingIfNeeded: number >> 32).bigEndian,
      UInt32(truncatingIfNeeded: number).bigEndian
    )
    return withUnsafeBytes(of: &bytes) { try? AES.GCM.Nonce(data: $0) }
  }

  /// Ciphertext and tag of a record, in one piece, into `out` of so many bytes more. The header is authenticated with it.
  func seal(
    _ plaintext: UnsafeRawBufferPointer, header: UnsafeRawBufferPointer, number: UInt64,
    into out: UnsafeMutableRawBufferPointer
  ) {
    // Nothing here can fail: the key has 256 bits, the nonce 96, and a record is far below 64 GiB.
    guard let nonce = nonce(number),
      let box = try? AES.GCM.seal(plaintext, using: key, nonce: nonce, authenticating: header)
    else { preconditionFailure("AES-256-GCM refuses a record of \(plaintext.count) bytes") }
    box.ciphertext.withUnsafeBytes { out.copyMemory(from: $0) }
    box.tag.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: out[plaintext.count...]).copyMemory(from: $0) }
  }

  /// The plaintext of ciphertext and tag into `out`; false, with nothing written, for what is not that record.
  func open(
    _ sealed: UnsafeMutableRawBufferPointer, header: UnsafeRawBufferPointer, number: UInt64,
    into out: UnsafeMutableRawBufferPointer
  ) -> Bool {
    guard sealed.count >= Self.tagBytes, out.count >= sealed.count - Self.tagBytes, let start = sealed.baseAddress,
      let nonce = nonce(number)
    else { return false }
    // Not copied: the data ends before this function does.
    let data = Data(bytesNoCopy: start, count: sealed.count, deallocator: .none)
    let tag = data.suffix(Self.tagBytes)
    guard let box = try? AES.GCM.SealedBox(nonce: nonce, ciphertext: data.dropLast(Self.tagBytes), tag: tag),
      let plaintext = try? AES.GCM.open(box, using: key, authenticating: header)
    else { return false }
    plaintext.withUnsafeBytes { out.copyMemory(from: $0) }
    return true
  }
}
