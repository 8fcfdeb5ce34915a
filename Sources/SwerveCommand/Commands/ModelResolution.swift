import SwerveCore
import SwerveHub

/// From a model's name in the settings to a folder in the engine's configuration.
enum ModelResolution {
  /// Downloads where needed, with progress on the console. The embedded model needs nothing.
  static func resolve(
    _ settings: Settings, environment: [String: String], console: Console
  ) async throws -> EngineConfiguration {
    var configuration = settings.engine
    let hub = Hub(hubConfiguration(settings, environment: environment))
    if let model = settings.model, model != "story" {
      configuration.modelFolder = try await folder(
        model, revision: settings.revision, files: configuration.loadFormat == .dummy ? .tokenizer : .model, hub: hub,
        console: console)
    }
    if let tokenizer = settings.tokenizer, !configuration.skipTokenizerInit {
      configuration.tokenizerFolder = try await folder(
        tokenizer, revision: settings.tokenizerRevision ?? settings.revision, files: .tokenizer, hub: hub,
        console: console)
    }
    return configuration
  }

  /// A tokenizer's folder; nil = the embedded model's.
  static func tokenizerFolder(
    _ settings: Settings, environment: [String: String], console: Console
  ) async throws -> String? {
    guard let name = settings.tokenizer, name != "story" else { return nil }
    let hub = Hub(hubConfiguration(settings, environment: environment))
    return try await folder(name, revision: settings.revision, files: .tokenizer, hub: hub, console: console)
  }

  private static func folder(
    _ name: String, revision: String?, files: HubFileSet, hub: Hub, console: Console
  ) async throws -> String {
    let display = ProgressDisplay("downloading \(name)", unit: .bytes, console: console)
    defer { display.finish() }
    return try await hub.folder(for: name, revision: revision, files: files) { progress in
      display.update(done: progress.bytesDone, total: progress.bytesTotal)
    }
  }

  /// Flags first, then the Hub's own variables, then its defaults.
  static func hubConfiguration(_ settings: Settings, environment: [String: String]) -> HubConfiguration {
    func variable(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    let home = variable("HOME") ?? "/root"
    let cache = variable("XDG_CACHE_HOME") ?? "\(home)/.cache"
    let hubHome = expand(variable("HF_HOME") ?? "\(cache)/huggingface", home: home)
    let folder =
      settings.hub.downloadFolder ?? variable("HF_HUB_CACHE") ?? variable("HUGGINGFACE_HUB_CACHE") ?? "\(hubHome)/hub"
    var configuration = HubConfiguration(cacheFolder: expand(folder, home: home))
    if var endpoint = variable("HF_ENDPOINT") {
      while endpoint.hasSuffix("/") { endpoint.removeLast() }
      configuration.endpoint = endpoint
    }
    configuration.token = settings.hub.token ?? variable("HUGGING_FACE_HUB_TOKEN") ?? savedToken(in: hubHome)
    configuration.offline = settings.hub.offline
    return configuration
  }

  /// What `hf auth login` left behind.
  private static func savedToken(in folder: String) -> String? {
    // No such file is the common case and no error.
    guard let text = try? TextFile.read("\(folder)/token") else { return nil }
    let token = text.filter { !$0.isWhitespace }
    return token.isEmpty ? nil : token
  }

  private static func expand(_ path: String, home: String) -> String {
    path == "~" || path.hasPrefix("~/") ? home + path.dropFirst() : path
  }
}
