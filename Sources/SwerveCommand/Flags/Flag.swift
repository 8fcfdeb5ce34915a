// Flags as data: every flag of the command is a row that says its names, its kind and what it sets.
// This folder reads arguments, environment and files into `Settings`; it must not start anything.
// Start with FlagTable, then SettingsParser, which applies the rows.

package import SwerveCore

/// One flag: a row of `FlagTable`.
package struct Flag: Sendable {
  /// Without dashes, words joined by `-`.
  package let name: String
  /// Further long names; `!name` sets the opposite of a boolean.
  package let aliases: [String]
  /// Names written with a single dash: `q`, `tp`.
  package let shortNames: [String]
  package let kind: Kind
  package let section: Section
  /// The default as help shows it; empty = none.
  package let defaultText: String
  package let help: String
  package let status: Status
  /// Environment variables besides `SWERVE_<FLAG>`.
  package let environment: [String]
  /// Never printed.
  package let isSecret: Bool

  /// What a value must look like.
  package enum Kind: Sendable, Hashable {
    case bool
    /// A whole number with an optional suffix; also these words with the numbers they stand for.
    case int(words: [String: Int])
    /// Bytes: `64MiB`, `4GB`, a plain number.
    case size
    /// GiB where no unit is written.
    case gibibytes
    case double
    case string
    /// One of these, whatever the case; the right side is what it stands for.
    case choice([String: String])
    /// One or more words, repeatable; or one JSON list.
    case list
    case json
  }

  /// What happens when the flag is given.
  package enum Status: Sendable {
    case supported(@Sendable (inout Settings, FlagValue) throws -> Void)
    /// The feature does not exist yet. Given any value but these (or the default), parsing fails with the sentence.
    case later(String, allowed: [String])
    /// Makes no sense here: one warning, an error under `--strict-flags`. With the reason.
    case ignored(String)
  }

  package enum Section: String, Sendable, CaseIterable {
    case general = "General"
    case model = "Model"
    case memory = "Memory"
    case scheduling = "Scheduling"
    case parallelism = "Parallelism"
    case features = "Features"
    case frontEnd = "Server"
    case observability = "Observability"
    case chat = "Chat"
    case complete = "Complete"
    case text = "Text"
    case benchLatency = "Latency"
    case benchThroughput = "Throughput"
    case benchServe = "BenchServe"
    case benchReplay = "Replay"
    case benchStartup = "Startup"
    case benchPerplexity = "Perplexity"
    case quantize = "Quantize"
    case simulation = "Simulation"
    case top = "Top"
    case data = "Data"
    case certificates = "Certificates"
    case router = "Router"
    case placement = "Placement"
    case environment = "Environment"
  }

  package var environmentName: String {
    "SWERVE_" + name.uppercased().replacing("-", with: "_")
  }
}

/// A value that has the flag's form.
package enum FlagValue: Sendable, Hashable {
  case bool(Bool)
  case int(Int)
  case double(Double)
  case string(String)
  case list([String])
  case json(JSON)

  /// The value as one would write it.
  package var text: String {
    switch self {
    case .bool(let value): value ? "true" : "false"
    case .int(let value): String(value)
    case .double(let value): value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(value)
    case .string(let value): value
    case .list(let values): values.joined(separator: " ")
    case .json(let value): value.text
    }
  }
}

/// What is wrong with one value: a sentence without the flag's name in front.
package struct FlagError: Error, Hashable, CustomStringConvertible {
  package var description: String
  package init(_ description: String) { self.description = description }
}

// MARK: Rows

/// A member of `Settings` that a row sets.
typealias Field<Value> = any WritableKeyPath<Settings, Value> & Sendable

extension Flag {
  init(
    _ name: String, _ kind: Kind, _ section: Section, default defaultText: String, aliases: [String] = [],
    short: [String] = [], environment: [String] = [], isSecret: Bool = false, help: String, status: Status
  ) {
    self.name = name
    self.aliases = aliases
    self.shortNames = short
    self.kind = kind
    self.section = section
    self.defaultText = defaultText
    self.help = help
    self.status = status
    self.environment = environment
    self.isSecret = isSecret
  }

  /// A flag that sets something by code of its own.
  static func custom(
    _ name: String, _ kind: Kind, _ section: Section, default defaultText: String = "", aliases: [String] = [],
    short: [String] = [], environment: [String] = [], isSecret: Bool = false, _ help: String,
    _ write: @escaping @Sendable (inout Settings, FlagValue) throws -> Void
  ) -> Flag {
    Flag(
      name, kind, section, default: defaultText, aliases: aliases, short: short, environment: environment,
      isSecret: isSecret, help: help, status: .supported(write))
  }

  static func bool(
    _ name: String, _ section: Section, _ path: Field<Bool>, default value: Bool,
    aliases: [String] = [], environment: [String] = [], inverted: Bool = false, _ help: String
  ) -> Flag {
    custom(name, .bool, section, default: value ? "true" : "false", aliases: aliases, environment: environment, help) {
      if case .bool(let given) = $1 { $0[keyPath: path] = given != inverted }
    }
  }

  static func int(
    _ name: String, _ section: Section, _ path: Field<Int>, default value: Int,
    aliases: [String] = [], short: [String] = [], environment: [String] = [], _ help: String
  ) -> Flag {
    custom(
      name, .int(words: [:]), section, default: String(value), aliases: aliases, short: short, environment: environment,
      help
    ) { if case .int(let given) = $1 { $0[keyPath: path] = given } }
  }

  static func int(
    _ name: String, _ section: Section, _ path: Field<Int?>, default text: String = "",
    aliases: [String] = [], short: [String] = [], environment: [String] = [], words: [String: Int] = [:], _ help: String
  ) -> Flag {
    custom(
      name, .int(words: words), section, default: text, aliases: aliases, short: short, environment: environment, help
    ) { if case .int(let given) = $1 { $0[keyPath: path] = given } }
  }

  static func double(
    _ name: String, _ section: Section, _ path: Field<Double>, default value: Double,
    aliases: [String] = [], environment: [String] = [], _ help: String
  ) -> Flag {
    custom(
      name, .double, section, default: FlagValue.double(value).text, aliases: aliases, environment: environment, help
    ) { if case .double(let given) = $1 { $0[keyPath: path] = given } }
  }

  static func string(
    _ name: String, _ section: Section, _ path: Field<String>, default text: String,
    aliases: [String] = [], short: [String] = [], environment: [String] = [], _ help: String
  ) -> Flag {
    custom(name, .string, section, default: text, aliases: aliases, short: short, environment: environment, help) {
      if case .string(let given) = $1 { $0[keyPath: path] = given }
    }
  }

  static func string(
    _ name: String, _ section: Section, _ path: Field<String?>,
    default text: String = "", aliases: [String] = [], short: [String] = [], environment: [String] = [],
    isSecret: Bool = false, _ help: String
  ) -> Flag {
    custom(
      name, .string, section, default: text, aliases: aliases, short: short, environment: environment,
      isSecret: isSecret, help
    ) { if case .string(let given) = $1 { $0[keyPath: path] = given } }
  }

  static func list(
    _ name: String, _ section: Section, _ path: Field<[String]>, default text: String = "",
    aliases: [String] = [], environment: [String] = [], isSecret: Bool = false, _ help: String
  ) -> Flag {
    custom(
      name, .list, section, default: text, aliases: aliases, environment: environment, isSecret: isSecret, help
    ) { if case .list(let given) = $1 { $0[keyPath: path] = given } }
  }

  static func object(
    _ name: String, _ section: Section, _ path: Field<JSONObject>, _ help: String
  ) -> Flag {
    custom(name, .json, section, default: "{}", help) { settings, value in
      guard case .json(.object(let given)) = value else { throw FlagError("needs a JSON object, not \(value.text)") }
      settings[keyPath: path] = given
    }
  }

  /// A flag whose feature does not exist yet. `why` completes "… is not supported yet: <why>".
  static func later(
    _ name: String, _ kind: Kind, _ section: Section, default defaultText: String = "", aliases: [String] = [],
    short: [String] = [], allowed: [String] = [], why: String, _ help: String
  ) -> Flag {
    Flag(
      name, kind, section, default: defaultText, aliases: aliases, short: short, help: help,
      status: .later(why, allowed: allowed))
  }

  /// A flag that is accepted and has no meaning here.
  static func ignored(
    _ name: String, _ kind: Kind, _ section: Section, aliases: [String] = [], short: [String] = [], why: String,
    _ help: String
  ) -> Flag {
    Flag(name, kind, section, default: "", aliases: aliases, short: short, help: help, status: .ignored(why))
  }
}

extension Flag.Kind {
  static var int: Self { .int(words: [:]) }

  /// Words that stand for themselves.
  static func words(_ words: String...) -> Self { .choice(Dictionary(uniqueKeysWithValues: words.map { ($0, $0) })) }

  /// What help calls the value.
  var placeholder: String {
    switch self {
    case .bool: "true|false"
    case .int(let words): (["N"] + words.keys.sorted()).joined(separator: "|")
    case .size: "SIZE"
    case .gibibytes: "GIB"
    case .double: "X"
    case .string: "TEXT"
    case .choice(let words): words.keys.sorted().joined(separator: "|")
    case .list: "TEXT…"
    case .json: "JSON"
    }
  }
}
