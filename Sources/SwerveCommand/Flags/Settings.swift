package import SwerveAccess
package import SwerveCore
import SwerveRouter

/// Everything that flags, environment and configuration file decide, for all commands. Each command uses its part.
package struct Settings: Sendable {
  /// What was asked for: a folder, a Hub id, `story`; nil = the embedded model.
  package var model: String?
  package var tokenizer: String?
  package var revision: String?
  package var tokenizerRevision: String?
  package var engine = EngineConfiguration()
  /// `--load-8bit` and `--load-4bit`, which `SettingsParser` makes a method of.
  package var load8Bit = false
  package var load4Bit = false
  /// Members of `--speculative-config` and its short forms; empty = no speculation.
  package var speculation = JSONObject()
  package var server = ServerConfiguration()
  package var hub = HubSettings()
  package var log = LogSettings()
  package var serving = ServingSettings()
  package var general = GeneralSettings()
  package var chat = ChatSettings()
  package var text = TextSettings()
  package var bench = BenchSettings()
  package var quantize = QuantizeSettings()
  package var simulation = SimulationSettings()
  package var top = TopSettings()
  package var data = DataSettings()
  package var certificates = CertificateSettings()
  package var placement = PlacementSettings()
  package var router = RouterSettings()

  package init() {}
}

/// `--placement` and what belongs to it.
package struct PlacementSettings: Sendable {
  package var name = "unified"
  package var gather = GatherConfiguration()
  // The command of that name.
  package var output: String?
  package var machine: String?
  package var inputLength = 512
  package var outputLength = 128
  /// Devices of data workers, each with its CPUs where they were named; nil: not said.
  package var dataDevices: [[Int]?]?
}

/// `--hf-token`, `--download-dir`, `--offline`; environment and defaults are added by `HubSettings.configuration`.
package struct HubSettings: Sendable {
  package var token: String?
  package var downloadFolder: String?
  package var offline = false
}

package struct LogSettings: Sendable {
  package enum Format: String, Sendable { case text, json }
  package var level = "info"
  /// nil = as `level`.
  package var httpLevel: String?
  package var format = Format.text
  /// Put in front of every text line.
  package var prefix = ""
  package var toStandardError = true
  /// nil = when standard error is a terminal.
  package var color: Bool?
}

/// What `serve` decides outside the server itself.
package struct ServingSettings: Sendable {
  package enum FingerprintMode: String, Sendable { case full, hash, custom, none }
  package var apiKeyFile: String?
  package var fingerprintMode = FingerprintMode.full
}

package struct GeneralSettings: Sendable {
  package var configFile: String?
  package var strictFlags = false
  package var failOnUnknownEnvironment = false
  package var dryRun = false
  package var printConfig = false
  package var json = false
}

/// `chat` and `complete`.
package struct ChatSettings: Sendable {
  package init() {}

  package var url: String?
  package var modelName: String?
  package var apiKey: String?
  package var systemPrompt: String?
  /// One question instead of a conversation.
  package var quick: String?
  package var showsStatistics = false
  package var maxTokens: Int?
  package var temperature: Double?
  package var topP: Double?
  package var topK: Int?
  package var seed: Int?
  package var insecure = false
}

/// `tokenize`, `detokenize`, `render-template`.
package struct TextSettings: Sendable {
  package var jsonLines = false
}

/// `quantize`.
package struct QuantizeSettings: Sendable {
  package var output: String?
  package var overwrites = false
  package var verifies = false
}

/// `top`.
package struct TopSettings: Sendable {
  package init() {}

  package var url = "http://127.0.0.1:8000"
  package var interval = 2.0
  package var once = false
  package var apiKey: String?
  package var insecure = false
}

/// `data`.
package struct DataSettings: Sendable {
  package init() {}

  package var url = "http://127.0.0.1:8000"
  package var apiKey: String?
  package var insecure = false
  package var timeout = 30.0
  /// `data-worker`: where it waits; nil: it is told by who started it.
  package var listen: String?
}

/// `certs`.
package struct CertificateSettings: Sendable {
  package init() {}

  package var folder = "certs"
  package var cluster = "swerve"
  package var hosts: [String] = []
  package var days = 365.0
  package var role: String?
  package var name: String?
  package var force = false
}

/// `simulate`.
package struct SimulationSettings: Sendable {
  package init() {}

  package var trace: String?
  package var requestRate = 10.0
  package var requestCount = 10_000
  package var inputLength = 256
  package var outputLength = 128
  package var seed = 0
  package var stepMilliseconds = 10.0
  package var tokenMicroseconds = 50.0
  package var contextNanoseconds = 20.0
}
