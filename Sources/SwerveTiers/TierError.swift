/// Why a tier cannot be had: one sentence that says what would work. Nothing here is thrown while serving: a block that
/// cannot be read is a miss, and one that cannot be written is not kept.
package enum TierError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A part of `--kv-tiers`, what is wrong with it, and what would work.
  case specification(part: String, reason: String)
  /// The tier, what is wrong with its configuration, and what would work.
  case configuration(tier: String, reason: String)
  /// The file, and what is wrong with it.
  case keyFile(path: String, reason: String)
  /// The file or folder, and the operating system's reason.
  case fileSystem(path: String, reason: String)
  /// The folder of a file tier.
  case inUse(path: String)
  case outOfMemory(bytes: Int)

  package var description: String {
    switch self {
    case .specification(let part, let reason): "--kv-tiers: '\(part)' \(reason)."
    case .configuration(let tier, let reason): "the \(tier) tier \(reason)."
    case .keyFile(let path, let reason): "the key file \(path) \(reason)."
    case .fileSystem(let path, let reason):
      "\(path) cannot be used for KV blocks (\(reason)); give a folder this process may write, or remove the nvme tier."
    case .inUse(let path):
      "\(path) holds the KV blocks of another running process; give each process a folder of its own."
    case .outOfMemory(let bytes):
      "the host tier cannot reserve \(bytes) bytes of address space; give it a smaller size."
    }
  }
}
