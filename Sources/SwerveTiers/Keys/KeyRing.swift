import Crypto
import Synchronization

/// What seals one tenant's blocks.
struct TenantKey: Sendable {
  /// Random; stands in the header of every block sealed with the key.
  let id: ShortDigest
  /// Seals payloads (AES-256-GCM).
  let data: SymmetricKey
  /// Names files (HMAC-SHA256).
  let names: SymmetricKey

  /// `secret`: the 256 random bits that are kept wrapped; both keys are derived from it (HKDF-SHA256).
  init(id: ShortDigest, secret: SymmetricKey) {
    self.id = id
    data = HKDF<SHA256>.deriveKey(
      inputKeyMaterial: secret, info: Array("swerve kv payload 1".utf8), outputByteCount: 32)
    names = HKDF<SHA256>.deriveKey(inputKeyMaterial: secret, info: Array("swerve kv name 1".utf8), outputByteCount: 32)
  }

  /// The file name of a block: nothing about its tokens can be tried out without the key.
  func name(of identity: BlockIdentity) -> ShortDigest {
    withUnsafeTemporaryAllocation(byteCount: Digest.byteCount, alignment: 8) { bytes in
      identity.digest.write(to: bytes, at: 0)
      var code = HMAC<SHA256>(key: names)
      code.update(data: UnsafeRawBufferPointer(bytes))
      return code.finalize().withUnsafeBytes { ShortDigest(reading: $0) }
    }
  }
}

/// The tenants' keys: each a random secret, wrapped by the master key in a file of the `keys` folder. Removing a tenant's
/// file makes all of its blocks unreadable for good.
///
/// A key file, 108 bytes: magic `SWKVKEY1`, version 1 (4 bytes), 0 (4 bytes), key id (16), the file's own name (16), then
/// nonce (12), the wrapped secret (32) and tag (16); the first 48 bytes are authenticated. Its name is a
/// keyed hash of the tenant's, so the folder does not tell who the tenants are.
final class KeyRing: Sendable {
  private static let magic: UInt64 = 0x3159_454B_564B_5753  // "SWKVKEY1"
  private static let headerBytes = 48
  private static let fileBytes = 108

  private struct State {
    /// Keys by the tenant's file name.
    var keys: [ShortDigest: TenantKey] = [:]
    /// Tenants whose key file is there but cannot be unwrapped: damaged, or of another master key.
    var unreadable: Set<ShortDigest> = []
  }

  let isEphemeral: Bool
  private let folder: String
  private let wrapping: SymmetricKey
  private let naming: SymmetricKey
  private let files: any BlockFileSystem
  private let isReadOnly: Bool
  private let state = Mutex(State())

  /// Reads all keys of `folder`. With an ephemeral master key nothing is read or written.
  init(folder: String, master: MasterKey, files: any BlockFileSystem, isReadOnly: Bool) throws(FileFailure) {
    self.folder = folder
    self.files = files
    self.isReadOnly = isReadOnly
    isEphemeral = master.isEphemeral
    wrapping = HKDF<SHA256>.deriveKey(
      inputKeyMaterial: master.key, info: Array("swerve kv wrap 1".utf8), outputByteCount: 32)
    naming = HKDF<SHA256>.deriveKey(
      inputKeyMaterial: master.key, info: Array("swerve kv tenant 1".utf8), outputByteCount: 32)
    if isEphemeral { return }
    if !isReadOnly { try files.makeFolder(folder) }
    for file in try files.list(folder) {
      guard file.hasSuffix(".key"), let name = ShortDigest(hexadecimal: file.dropLast(4)) else {
        // A temporary that a crash left.
        if file.hasSuffix(".new"), !isReadOnly { try? files.remove("\(folder)/\(file)") }
        continue
      }
      let content = try? files.contents(of: path(name), limit: Self.fileBytes)
      if let content, let key = unwrap(content, name: name) {
        state.withLock { $0.keys[name] = key }
      } else {
        state.withLock { _ = $0.unreadable.insert(name) }
      }
    }
  }

  /// Ids of all keys that can be used.
  var keyIDs: Set<ShortDigest> { state.withLock { Set($0.keys.values.map { $0.id }) } }

  /// The key of a tenant; nil when it has none.
  func key(of tenant: TenantID) -> TenantKey? {
    let name = name(of: tenant)
    return state.withLock { $0.keys[name] }
  }

  /// The key of a tenant, made and written through to the medium when it has none. Nil when the tenant's file cannot be
  /// unwrapped (it is not replaced: the right master key may come back) or the tier may not be written.
  func makeKey(of tenant: TenantID) throws(FileFailure) -> TenantKey? {
    let name = name(of: tenant)
    if let key = state.withLock({ $0.keys[name] }) { return key }
    if isReadOnly || state.withLock({ $0.unreadable.contains(name) }) { return nil }
    let secret = SymmetricKey(size: .bits256)
    let key = TenantKey(id: .random(), secret: secret)
    // Under the lock: a tenant must not get two keys. Once in a tenant's life.
    var failure: FileFailure?
    let made = state.withLock { state -> TenantKey? in
      if let key = state.keys[name] { return key }
      if !isEphemeral {
        do throws(FileFailure) { try write(secret, id: key.id, name: name) } catch {
          failure = error
          return nil
        }
      }
      state.keys[name] = key
      return key
    }
    if let failure { throw failure }
    return made
  }

  /// Forgets a tenant's key and removes its file: its blocks are unreadable from now on, here and in every copy of the
  /// folder that has no copy of the key. Returns the key's id, or nil when there was none.
  func destroy(_ tenant: TenantID) throws(FileFailure) -> ShortDigest? {
    let name = name(of: tenant)
    let key = state.withLock { state in
      state.unreadable.remove(name)
      return state.keys.removeValue(forKey: name)
    }
    if !isEphemeral {
      do { try files.remove(path(name)) } catch  where key == nil { return nil }
      try files.synchronizeFolder(folder)
    }
    return key?.id
  }

  private func name(of tenant: TenantID) -> ShortDigest {
    withUnsafeTemporaryAllocation(byteCount: ShortDigest.byteCount, alignment: 8) { bytes in
      tenant.digest.write(to: bytes, at: 0)
      var code = HMAC<SHA256>(key: naming)
      code.update(data: UnsafeRawBufferPointer(bytes))
      return code.finalize().withUnsafeBytes { ShortDigest(reading: $0) }
    }
  }

  private func path(_ name: ShortDigest) -> String { "\(folder)/\(name.hexadecimal).key" }

  private func write(_ secret: SymmetricKey, id: ShortDigest, name: ShortDigest) throws(FileFailure) {
    var content = [UInt8](repeating: 0, count: Self.fileBytes)
    content.withUnsafeMutableBytes { bytes in
      bytes.storeBytes(of: Self.magic.littleEndian, as: UInt64.self)
      bytes.storeBytes(of: UInt32(1).littleEndian, toByteOffset: 8, as: UInt32.self)
      id.write(to: bytes, at: 16)
      name.write(to: bytes, at: 32)
      let header = UnsafeRawBufferPointer(rebasing: bytes[..<Self.headerBytes])
      secret.withUnsafeBytes { secret in
        BlockCipher.seal(secret, header: header, key: wrapping) { sealed in
          UnsafeMutableRawBufferPointer(rebasing: bytes[Self.headerBytes...]).copyMemory(from: sealed)
        }
      }
    }
    var failure: FileFailure?
    content.withUnsafeBytes { bytes in
      do throws(FileFailure) {
        try files.replace(path(name), temporary: path(name) + ".new", synchronizes: true, bytes)
        try files.synchronizeFolder(folder)
      } catch { failure = error }
    }
    if let failure { throw failure }
  }

  private func unwrap(_ content: [UInt8], name: ShortDigest) -> TenantKey? {
    guard content.count == Self.fileBytes else { return nil }
    var content = content
    return content.withUnsafeMutableBytes { bytes in
      let header = UnsafeRawBufferPointer(rebasing: bytes[..<Self.headerBytes])
      guard header.load(as: UInt64.self) == Self.magic.littleEndian,
        header.load(fromByteOffset: 8, as: UInt32.self) == UInt32(1).littleEndian,
        ShortDigest(reading: header, at: 32) == name
      else { return nil }
      let sealed = UnsafeMutableRawBufferPointer(rebasing: bytes[Self.headerBytes...])
      return BlockCipher.open(sealed, header: header, key: wrapping) { secret in
        TenantKey(id: ShortDigest(reading: header, at: 16), secret: SymmetricKey(data: secret))
      }
    }
  }
}
