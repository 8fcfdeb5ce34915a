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
    var configuration = HubConfiguration(environment: environment)
    if let folder = settings.hub.downloadFolder { configuration.cacheFolder = folder }
    if let token = settings.hub.token { configuration.token = token }
    if settings.hub.offline { configuration.offline = true }
    return configuration
  }
}
