/// Why a model's name did not become a folder: one sentence that says what would work. The command exits with code 3.
package enum HubError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The name, and what it is.
  case unsupported(String, String)
  /// The name, and what is wrong with it.
  case notAModelFolder(String, String)
  /// 401: unknown repository or no right to see it.
  case unauthorized(String, hasToken: Bool)
  /// 403: conditions must be accepted first.
  case gated(String, endpoint: String, hasToken: Bool)
  case repositoryNotFound(String, endpoint: String)
  case revisionNotFound(HubReference)
  case fileNotFound(HubReference, file: String)
  /// Nothing usable in the cache while offline.
  case notCached(HubReference, cacheFolder: String)
  case unreachable(endpoint: String, reason: String)
  /// An answer that the protocol does not know.
  case unexpected(String, reason: String)
  case unsafeName(String, name: String)
  case noWeights(String, found: String)
  case corrupt(file: String, repository: String, reason: String)
  case interrupted(file: String, repository: String, reason: String)
  case diskFull(folder: String, needed: Int?, available: Int?)
  case fileSystem(path: String, reason: String)

  package var description: String {
    switch self {
    case .unsupported(let name, let what):
      return "\(name): \(what) are not supported yet; give a folder with config.json and safetensors, or a Hub id."
    case .notAModelFolder(let name, let reason): return "\(name) \(reason)."
    case .unauthorized(let repository, let hasToken):
      let remedy =
        hasToken
        ? "the token in use may not read it" : "if it is private or gated, set HF_TOKEN to a token that may read it"
      return "\(repository) does not exist on the Hub or is not public: check the name; \(remedy)."
    case .gated(let repository, let endpoint, let hasToken):
      let remedy = hasToken ? "with the account of the token in use" : "and set HF_TOKEN to a token of that account"
      return "\(repository) is gated: accept its conditions at \(endpoint)/\(repository) \(remedy)."
    case .repositoryNotFound(let repository, let endpoint):
      return "there is no model \(repository) at \(endpoint): check the name."
    case .revisionNotFound(let reference):
      return "\(reference.repository) has no revision \(reference.revision): give a branch, a tag or a full commit."
    case .fileNotFound(let reference, let file): return "\(reference) has no file \(file)."
    case .notCached(let reference, let cacheFolder):
      return "\(reference) is not complete in \(cacheFolder) and downloads are off: run once without --offline and "
        + "HF_HUB_OFFLINE."
    case .unreachable(let endpoint, let reason):
      return "cannot reach \(endpoint) (\(reason)): check the network or HF_ENDPOINT, or give a folder."
    case .unexpected(let url, let reason): return "\(url) answered in an unexpected way: \(reason)."
    case .unsafeName(let repository, let name):
      return "\(repository) lists the unsafe name \(name.debugDescription), so nothing was downloaded."
    case .noWeights(let repository, let found):
      return "\(repository) has no safetensors weights\(found); choose a repository that has them."
    case .corrupt(let file, let repository, let reason):
      return "\(file) of \(repository) arrived damaged every time (\(reason)): try again later or another HF_ENDPOINT."
    case .interrupted(let file, let repository, let reason):
      return "the download of \(file) of \(repository) kept breaking off (\(reason)): start again to resume it."
    case .diskFull(let folder, let needed, let available):
      let amount =
        if let needed, let available { ": \(needed) bytes are needed and \(available) are free" } else { "" }
      return "no space left in \(folder)\(amount); free some or choose another folder with HF_HOME or --download-dir."
    case .fileSystem(let path, let reason): return "cannot write \(path): \(reason)."
    }
  }
}
