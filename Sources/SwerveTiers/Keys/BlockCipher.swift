import Crypto

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// AES-256-GCM over memory of the caller, as the cipher library's types would have it copied.
///
/// Nonces are random, 96 bits: with the 2^32 blocks that one key may seal (NIST SP 800-38D, 8.3) two equal ones have a
/// probability under 2^-32.
enum BlockCipher {
  static let tagBytes = 16
  static let nonceBytes = 12

  /// Encrypts `plaintext` and authenticates `header` with it; `body` gets nonce, ciphertext and tag in one piece.
  static func seal<Value, Failure: Error>(
    _ plaintext: UnsafeRawBufferPointer, header: UnsafeRawBufferPointer, key: SymmetricKey,
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
  ) throws(Failure) -> Value {
    // Nothing here can fail: the key has 256 bits, the nonce 96, and the length is far below 64 GiB.
    guard let box = try? AES.GCM.seal(plaintext, using: key, authenticating: header), let combined = box.combined else {
      preconditionFailure("AES-256-GCM refuses a block of \(plaintext.count) bytes")
    }
    var result: Result<Value, Failure>?
    combined.withUnsafeBytes { bytes in
      do throws(Failure) { result = .success(try body(bytes)) } catch { result = .failure(error) }
    }
    guard let result else { preconditionFailure("the sealed bytes were not visited") }
    return try result.get()
  }

  /// Decrypts nonce, ciphertext and tag. Nil, without calling `body`, when the tag does not match.
  static func open<Value>(
    _ combined: UnsafeMutableRawBufferPointer, header: UnsafeRawBufferPointer, key: SymmetricKey,
    _ body: (UnsafeRawBufferPointer) -> Value
  ) -> Value? {
    guard let start = combined.baseAddress, combined.count >= nonceBytes + tagBytes else { return nil }
    // Not copied: the data ends before this function does.
    let data = Data(bytesNoCopy: start, count: combined.count, deallocator: .none)
    guard let box = try? AES.GCM.SealedBox(combined: data),
      let plaintext = try? AES.GCM.open(box, using: key, authenticating: header)
    else { return nil }
    return plaintext.withUnsafeBytes { body($0) }
  }
}
