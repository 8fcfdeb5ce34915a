import Crypto

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The key that wraps the tenants' data keys.
package struct MasterKey: Sendable {
  let key: SymmetricKey
  /// Whether it ends with this process: nothing sealed under it can be read later.
  let isEphemeral: Bool

  /// A random key of this process, for a server without `--kv-key-file`.
  package static func ephemeral() -> MasterKey { MasterKey(key: SymmetricKey(size: .bits256), isEphemeral: true) }

  private init(key: SymmetricKey, isEphemeral: Bool) {
    self.key = key
    self.isEphemeral = isEphemeral
  }

  /// Reads `--kv-key-file`: 32 bytes as they are, in hexadecimal (64 digits) or in base64 (44 characters), the last two
  /// with or without white space at the end. Throws a sentence when the file cannot be read, can be read by everybody,
  /// or holds something else.
  package init(file path: String) throws(TierError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw .keyFile(path: path, reason: "cannot be read (\(String(cString: strerror(errno)))); give a readable file")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw .keyFile(path: path, reason: "is not a regular file; give one of 32 bytes")
    }
    guard status.st_mode & 0o007 == 0 else {
      throw .keyFile(path: path, reason: "can be used by every user of this machine; run chmod 600 on it")
    }
    var bytes = [UInt8](repeating: 0, count: 257)
    let count = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
    guard count >= 0, count < bytes.count, let key = Self.parse(Array(bytes.prefix(count))) else {
      throw .keyFile(
        path: path,
        reason: "does not hold a key; write 32 random bytes to it, raw, in hexadecimal or in base64 "
          + "(head -c 32 /dev/urandom)")
    }
    self.init(key: SymmetricKey(data: key), isEphemeral: false)
  }

  /// 32 bytes for another purpose than wrapping keys, which tell nothing of this key.
  package func derived(for purpose: String) -> [UInt8] {
    HKDF<SHA256>.expand(pseudoRandomKey: key, info: Array(purpose.utf8), outputByteCount: 32).withUnsafeBytes {
      Array($0)
    }
  }

  /// The 32 bytes that a key file's content means, or nil.
  static func parse(_ content: [UInt8]) -> [UInt8]? {
    if content.count == 32 { return content }
    let end = content.lastIndex { ![9, 10, 13, 32].contains($0) }.map { $0 + 1 } ?? 0
    let text = content[..<end]
    if text.count == 64 {
      var key: [UInt8] = []
      for place in stride(from: 0, to: 64, by: 2) {
        guard let high = hexadecimalValue(text[place]), let low = hexadecimalValue(text[place + 1]) else { return nil }
        key.append(high << 4 | low)
      }
      return key
    }
    return text.count == 44 && text.last == UInt8(ascii: "=") ? base64(text.dropLast()) : nil
  }

  /// 43 characters of the standard alphabet: 32 bytes and two bits that must be zero.
  private static func base64(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    var key: [UInt8] = []
    var pending: UInt32 = 0
    var bits = 0
    for character in text {
      let value: UInt8
      switch character {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - 65
      case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - 71
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character + 4
      case UInt8(ascii: "+"): value = 62
      case UInt8(ascii: "/"): value = 63
      default: return nil
      }
      pending = pending << 6 | UInt32(value)
      bits += 6
      if bits >= 8 {
        bits -= 8
        key.append(UInt8(truncatingIfNeeded: pending >> UInt32(bits)))
        pending &= (1 << UInt32(bits)) - 1
      }
    }
    return key.count == 32 && pending == 0 ? key : nil
  }
}
