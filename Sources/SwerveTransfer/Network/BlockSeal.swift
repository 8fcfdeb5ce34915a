internal import Crypto

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

/// A key that two engines share: everything behind their greetings is sealed under keys made of it.
package struct BlockKey: Sendable {
  fileprivate let key: SymmetricKey

  /// 32 bytes.
  package init(_ bytes: [UInt8]) {
    precondition(bytes.count == 32, "a link's key is 32 bytes")
    key = SymmetricKey(data: bytes)
  }
}

/// The seal over one direction of a connection. Frames are counted, and the count is a frame's number: one that was
/// dropped, repeated or moved does not open.
struct BlockSeal {
  private let cipher: LinkCipher
  private var count: UInt64 = 0

  /// - Parameter greetings: the dialer's and the listener's, which hold random bits of each.
  init(_ shared: BlockKey, greetings: [UInt8], from speaker: LinkCipher.Direction) {
    let key = HKDF<SHA256>.deriveKey(
      inputKeyMaterial: shared.key, salt: Data(SHA256.hash(data: greetings)), info: Data("swerve blocks".utf8),
      outputByteCount: LinkKey.byteCount)
    cipher = LinkCipher(LinkKey(key), speaker)
  }

  /// Ciphertext and tag into `out`; `header` is authenticated with them.
  mutating func seal(
    _ payload: UnsafeRawBufferPointer, header: UnsafeRawBufferPointer, into out: UnsafeMutableRawBufferPointer
  ) {
    count += 1
    cipher.seal(payload, header: header, number: count, into: out)
  }

  /// Takes the seal off in place. False, with `bytes` as they were, when it is not the one that the other side put there.
  mutating func open(_ bytes: UnsafeMutableRawBufferPointer, header: UnsafeRawBufferPointer) -> Bool {
    count += 1
    return cipher.open(bytes, header: header, number: count, into: bytes)
  }
}
