import SwerveCore

/// What, besides tokens, makes two prefixes different: the client's cache salt, and, for rotary scalings whose base
/// follows the prompt's length, that length.
struct PrefixSalt: Sendable {
  /// Whether keys of a prompt this long depend on its length.
  let dependsOnLength: @Sendable (_ promptTokens: Int) -> Bool

  /// Empty where nothing sets the request apart. The two parts cannot be mistaken for one another: the length, when it
  /// counts, comes first in eight bytes after a marker.
  func salt(cacheSalt: String?, promptTokens: Int) -> [UInt8] {
    var salt: [UInt8] = []
    if dependsOnLength(promptTokens) {
      salt.append(1)
      withUnsafeBytes(of: UInt64(promptTokens).littleEndian) { salt.append(contentsOf: $0) }
    }
    if let cacheSalt {
      salt.append(2)
      salt.append(contentsOf: cacheSalt.utf8)
    }
    return salt
  }

  /// Whose prefixes a salt separates: the client's part of it. Nothing for the one tenant of a server without salts.
  static func tenant(of salt: [UInt8]) -> [UInt8] {
    let rest = salt.first == 1 ? salt.dropFirst(9) : salt[...]
    return rest.first == 2 ? Array(rest.dropFirst()) : []
  }
}
