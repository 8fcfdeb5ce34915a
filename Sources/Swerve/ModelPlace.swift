internal import SwerveCore
internal import SwerveHub

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// From a model's name to a folder: the folder itself, or the snapshot of a hub id, downloaded where it is not cached.
/// An application has no flags, so this edge reads the Hub's variables (`HF_HOME`, `HF_TOKEN`, …) itself.
enum ModelPlace {
  static func folder(of model: String, progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void) async throws -> String? {
    if model == "story" { return nil }
    let hub = Hub(HubConfiguration(environment: variables()))
    return try await hub.folder(for: model) { progress($0.bytesDone, $0.bytesTotal) }
  }

  private static func variables() -> [String: String] {
    var variables: [String: String] = [:]
    for name in [
      "HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN",
      "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE",
    ] {
      if let value = getenv(name) { variables[name] = String(cString: value) }
    }
    return variables
  }
}
