import Crypto

/// The check that an entity tag of the Hub allows: SHA-256 of the contents for large files (64 digits), the Git blob id
/// for small ones (40 digits: SHA-1 over `blob SIZE\0` and the contents), none for tags of another form.
struct BlobChecksum {
  private enum State {
    case sha256(SHA256)
    case gitBlob(Insecure.SHA1)
    case none
  }

  private let expected: String
  private var state: State

  /// `size` is the whole file's, in bytes; a Git blob id cannot be checked without it.
  init(etag: String, size: Int?) {
    expected = etag
    if SafeName.isHexadecimal(etag, count: 64) {
      state = .sha256(SHA256())
    } else if let size, SafeName.isHexadecimal(etag, count: 40) {
      var hash = Insecure.SHA1()
      hash.update(data: Array("blob \(size)\0".utf8))
      state = .gitBlob(hash)
    } else {
      state = .none
    }
  }

  /// Adds the next bytes of the file.
  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    switch state {
    case .sha256(var hash):
      state = .none  // the hash must not be shared while it is updated: it would be copied
      hash.update(bufferPointer: bytes)
      state = .sha256(hash)
    case .gitBlob(var hash):
      state = .none
      hash.update(bufferPointer: bytes)
      state = .gitBlob(hash)
    case .none: break
    }
  }

  /// Whether all bytes together are what the tag promises; true where the tag promises nothing.
  var matches: Bool {
    switch state {
    case .sha256(let hash): Self.hexadecimal(hash.finalize()) == expected
    case .gitBlob(let hash): Self.hexadecimal(hash.finalize()) == expected
    case .none: true
    }
  }

  private static func hexadecimal(_ digest: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }
}
