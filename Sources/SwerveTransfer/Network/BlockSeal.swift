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

/// AES-256-GCM over one direction of a connection. Frames are counted, and the count is the nonce: none comes twice, and
/// one that was dropped, repeated or moved does not open.
struct BlockSeal {
  static let tagBytes = 16

  private let key: SymmetricKey
  private var count: UInt64 = 0

  /// - Parameters:
  ///   - greetings: the dialer's and the listener's, which hold random bits of each.
  ///   - direction: told apart by who speaks.
  init(_ shared: BlockKey, greetings: [UInt8], direction: String) {
    key = HKDF<SHA256>.deriveKey(
      inputKeyMaterial: shared.key, salt: Data(SHA256.hash(data: greetings)),
      info: Data("swerve blocks \(direction)".utf8), outputByteCount: 32)
  }

  private mutating func nonce() -> AES.GCM.Nonce {
    count += 1
    var bytes = [UInt8](repeating: 0, count: 12)
    for place in 0..<8 { bytes[4 + place] = UInt8(truncatingIfNeeded: count >> UInt64(8 * place)) }
    guard let nonce = try? AES.GCM.Nonce(data: bytes) else { preconditionFailure("a nonce has 12 bytes") }
    return nonce
  }

  /// Ciphertext and tag; `header` is authenticated with them.
  mutating func seal(_ payload: UnsafeRawBufferPointer, header: UnsafeRawBufferPointer) -> [UInt8] {
    // Nothing here can fail: the key has 256 bits, the nonce 96, and the length is far below 64 GiB.
    guard let box = try? AES.GCM.seal(payload, using: key, nonce: nonce(), authenticating: header) else {
      preconditionFailure("AES-256-GCM refuses a payload of \(payload.count) bytes")
    }
    return Array(box.ciphertext) + Array(box.tag)
  }

  /// Takes the seal off in place: the first `count` bytes are the plaintext then. False, with `bytes` as they were, when it is
  /// not the one that the other side put there.
  mutating func open(_ bytes: UnsafeMutableRawBufferPointer, _ count: Int, header: UnsafeRawBufferPointer) -> Bool {
    guard
      let box = try? AES.GCM.SealedBox(
        nonce: nonce(), ciphertext: UnsafeRawBufferPointer(rebasing: bytes[..<count]),
        tag: UnsafeRawBufferPointer(rebasing: bytes[count...])),
      let plain = try? AES.GCM.open(box, using: key, authenticating: header)
    else { return false }
    plain.withUnsafeBytes { if count > 0 { bytes.copyMemory(from: $0) } }
    return true
  }
}
