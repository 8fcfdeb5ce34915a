import Crypto
package import SwerveCore

/// Who may share blocks: a digest of the tenant's name or cache salt. Blocks of one tenant are sealed with a key of its
/// own and never found by another.
package struct TenantID: Hashable, Sendable {
  package let digest: ShortDigest

  /// `name`: the tenant's name, cache salt, or nothing for the one tenant of a server without tenants.
  package init(name: [UInt8] = []) {
    digest = Digest(of: Array("swerve kv tenant\0".utf8) + name).short
  }
}

/// Everything besides the tokens that must be equal for a block's bytes to be usable: a chain of blocks starts here.
package struct BlockScope: Hashable, Sendable {
  /// Fingerprint of the model: its weights and configuration, the kernel set's equivalence class, and whatever else
  /// changes keys and values.
  package let model: Digest
  /// The type of the keys and values on the device.
  package let elementType: KVType
  package let layerCount: Int
  /// Tokens of a full block.
  package let blockTokens: Int
  package let tenant: TenantID
  /// Digest of all of the above and of the salt: the parent of a sequence's first block.
  package let root: Digest

  /// `salt`: what else separates prefixes: adapter, hashes of images.
  package init(
    model: Digest, elementType: KVType, layerCount: Int, blockTokens: Int, tenant: TenantID, salt: [UInt8] = []
  ) {
    self.model = model
    self.elementType = elementType
    self.layerCount = layerCount
    self.blockTokens = blockTokens
    self.tenant = tenant
    // Fixed widths first and the salt last, so that no two descriptions have the same bytes.
    var hash = SHA256()
    hash.update(data: Array("swerve kv scope 1\0".utf8))
    withUnsafeTemporaryAllocation(byteCount: 72, alignment: 8) { bytes in
      model.write(to: bytes, at: 0)
      tenant.digest.write(to: bytes, at: 32)
      bytes.storeBytes(of: UInt64(elementType.code).littleEndian, toByteOffset: 48, as: UInt64.self)
      bytes.storeBytes(of: UInt64(layerCount).littleEndian, toByteOffset: 56, as: UInt64.self)
      bytes.storeBytes(of: UInt64(blockTokens).littleEndian, toByteOffset: 64, as: UInt64.self)
      hash.update(bufferPointer: UnsafeRawBufferPointer(bytes))
    }
    hash.update(data: salt)
    root = hash.finalize().withUnsafeBytes { Digest(reading: $0) }
  }
}

/// A sealed block's name: its scope, everything before it, and its own tokens.
///
/// The chain is SHA-256: `digest` = SHA-256(parent's digest, tokens). The scheduler's hash is faster and may collide,
/// because within a process a hit also compares the parent *block*; a block in a file outlives its parents, so here the
/// parent is known by its digest only. Tables are keyed by the first 128 bits and compare everything on a hit: a
/// collision there is a miss.
package struct BlockIdentity: Hashable, Sendable {
  package let scope: BlockScope
  /// Digest of the block before, or the scope's root.
  package let parent: Digest
  /// The block's own tokens: `scope.blockTokens` of them.
  package let tokens: [TokenID]
  package let digest: Digest

  /// The first block of a chain (`parent` nil) or the one after `parent`. O(tokens): about 0.3 µs for 16 of them.
  package init(scope: BlockScope, parent: Digest? = nil, tokens: [TokenID]) {
    precondition(tokens.count == scope.blockTokens, "only full blocks have an identity")
    let parent = parent ?? scope.root
    self.scope = scope
    self.parent = parent
    self.tokens = tokens
    digest = Self.chain(parent, tokens)
  }

  /// The block that follows this one.
  package func next(tokens: [TokenID]) -> BlockIdentity {
    BlockIdentity(scope: scope, parent: digest, tokens: tokens)
  }

  private static func chain(_ parent: Digest, _ tokens: [TokenID]) -> Digest {
    var hash = SHA256()
    withUnsafeTemporaryAllocation(byteCount: Digest.byteCount, alignment: 8) { bytes in
      parent.write(to: bytes, at: 0)
      hash.update(bufferPointer: UnsafeRawBufferPointer(bytes))
    }
    // Token ids are 32-bit integers in memory; the digest is defined over their little-endian bytes.
    #if _endian(little)
      tokens.withUnsafeBytes { hash.update(bufferPointer: $0) }
    #else
      tokens.map { $0.rawValue.littleEndian }.withUnsafeBytes { hash.update(bufferPointer: $0) }
    #endif
    return hash.finalize().withUnsafeBytes { Digest(reading: $0) }
  }
}

extension KVType {
  /// The number of the type in files; never changes.
  var code: UInt8 {
    switch self {
    case .float32: 0
    case .bfloat16: 1
    case .float16: 2
    case .int8: 3
    case .fp8E4M3: 4
    case .fp8E5M2: 5
    }
  }
}
