import SwerveCore

extension HubConfiguration {
  /// What the variables of the Hub's own tools say: `HF_ENDPOINT`, `HF_TOKEN` (or the token that `hf auth login` left
  /// behind), `HF_HUB_OFFLINE`, `HF_HUB_CACHE`, `HF_HOME`. Variables are handed in: only edges read the environment.
  package init(environment: [String: String]) {
    func variable(_ names: String...) -> String? {
      names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
    }
    let home = variable("HOME") ?? "/root"
    func expand(_ path: String) -> String { path == "~" || path.hasPrefix("~/") ? home + path.dropFirst() : path }
    let caches = variable("XDG_CACHE_HOME") ?? "\(home)/.cache"
    let hubHome = expand(variable("HF_HOME") ?? "\(caches)/huggingface")
    self.init(cacheFolder: expand(variable("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE") ?? "\(hubHome)/hub"))
    if var endpoint = variable("HF_ENDPOINT") {
      while endpoint.hasSuffix("/") { endpoint.removeLast() }
      self.endpoint = endpoint
    }
    token = variable("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") ?? Self.savedToken(in: hubHome)
    offline = ["1", "true", "yes", "on"].contains(variable("HF_HUB_OFFLINE")?.lowercased() ?? "")
  }

  private static func savedToken(in folder: String) -> String? {
    // No such file is the common case and no error; one that cannot be read is like none.
    guard let file = try? FileBytes(mapping: "\(folder)/token") else { return nil }
    let token = file.withBytes { String(decoding: $0, as: UTF8.self) }.filter { !$0.isWhitespace }
    return token.isEmpty ? nil : token
  }
}
