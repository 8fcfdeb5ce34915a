// From a model's name to a folder on this machine: Hub ids are downloaded once into the standard Hugging Face cache.
// This room must not look inside a model's files (but for the shard list) and must not read the environment.
// Start with Hub.snapshot; HubReference (here) says what a name means.

/// A repository of the Hub at one revision: `org/name` or `org/name@revision`.
package struct HubReference: Sendable, Hashable, CustomStringConvertible {
  /// `org/name`, or a bare `name` for the oldest repositories.
  package let repository: String
  /// A branch, a tag, a commit or `refs/pr/N`.
  package let revision: String

  /// Parses `org/name[@revision]`; `revision` is used where the name brings none. nil where this is not such a name.
  package init?(_ name: String, revision: String? = nil) {
    let parts = name.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
    let repository = String(parts[0])
    let revision = parts.count == 2 ? String(parts[1]) : revision ?? "main"
    let segments = repository.split(separator: "/", omittingEmptySubsequences: false)
    guard (1...2).contains(segments.count), segments.allSatisfy(Self.isName), SafeName.isRelative(revision) else {
      return nil
    }
    self.repository = repository
    self.revision = revision
  }

  package var description: String { revision == "main" ? repository : "\(repository)@\(revision)" }

  /// The Hub's rule for owners and repositories: letters, digits, `-`, `_`, `.`; 1…96 of them; no `--` or `..` inside.
  private static func isName(_ text: Substring) -> Bool {
    let isAllowed = text.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
        true
      default: false
      }
    }
    let edges: Set<Character> = ["-", "."]
    guard isAllowed, let first = text.first, let last = text.last else { return false }
    return text.utf8.count <= 96 && !edges.contains(first) && !edges.contains(last)
      && !text.hasRun(of: "-") && !text.hasRun(of: ".")
  }
}

/// What a model's name means on this machine.
package enum ModelLocation: Sendable, Hashable {
  /// A folder that exists.
  case folder(String)
  /// A repository to look up in the cache or to download.
  case hub(HubReference)

  /// A name that is a folder on disk is that folder; else it must be a Hub id. Throws a sentence for anything else
  /// (a path that does not exist, a single file, an object store). Cost: one `stat`.
  package init(_ name: String, revision: String? = nil) throws(HubError) {
    switch FileSystem.kind(of: name) {
    case .folder:
      self = .folder(name)
      return
    case .file where name.lowercased().hasSuffix(".gguf"): throw .unsupported(name, "GGUF files")
    case .file: throw .notAModelFolder(name, "is a file; give the folder that holds config.json and the weights")
    case .missing: break
    }
    if name.lowercased().hasSuffix(".gguf") { throw .unsupported(name, "GGUF files") }
    for scheme in ["s3://", "gs://", "az://", "http://", "https://"] where name.lowercased().hasPrefix(scheme) {
      throw .unsupported(name, "models behind \(scheme)")
    }
    if name.hasPrefix("/") || name.hasPrefix(".") || name.hasPrefix("~") {
      throw .notAModelFolder(name, "does not exist; give a folder with config.json, or a Hub id such as org/name")
    }
    guard let reference = HubReference(name, revision: revision) else {
      throw .notAModelFolder(name, "is neither a folder on this machine nor a Hub id of the form org/name[@revision]")
    }
    self = .hub(reference)
  }
}

extension StringProtocol {
  fileprivate func hasRun(of character: Character) -> Bool {
    zip(self, self.dropFirst()).contains { $0 == character && $1 == character }
  }
}

/// Names that come from a server and become paths.
enum SafeName {
  /// Whether `text` is a relative path that stays below the folder it is appended to: no empty, `.` or `..` component,
  /// no backslash, no control character, at most 255 bytes a component.
  static func isRelative(_ text: String) -> Bool {
    guard !text.isEmpty, !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F || $0 == UInt8(ascii: "\\") }) else {
      return false
    }
    return text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
      !$0.isEmpty && $0 != "." && $0 != ".." && $0.utf8.count <= 255
    }
  }

  /// Whether `text` is a single component of letters, digits, `-`, `_` and `.` that can name a blob.
  static func isBlob(_ text: String) -> Bool {
    isRelative(text) && text.utf8.count <= 200
      && text.utf8.allSatisfy {
        ($0 | 0x20 >= UInt8(ascii: "a") && $0 | 0x20 <= UInt8(ascii: "z"))
          || ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
          || $0 == UInt8(ascii: ".")
      }
  }

  static func isHexadecimal(_ text: String, count: Int) -> Bool {
    text.utf8.count == count
      && text.utf8.allSatisfy {
        ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")) || ($0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "f"))
      }
  }
}
