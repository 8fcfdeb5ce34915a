import Crypto

/// Who asks, as far as sharing the machine goes.
struct Caller: Sendable, Hashable {
  /// The tenant that the key stands for; nil without keys, and for admin keys, which may speak for anybody.
  var keyTenant: String?

  /// A key's tenant, and only an admin (or anybody on a server without keys) names another: who pays for a share must not
  /// be a matter of what a client writes.
  func tenant(named name: String?) -> String? { keyTenant ?? name }

  /// `key-` and the first 12 hexadecimal digits of the key's SHA-256, which tell keys apart and do not give them away.
  static func tenant(ofKey digest: SHA256Digest) -> String {
    "key-" + digest.prefix(6).map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
  }
}
