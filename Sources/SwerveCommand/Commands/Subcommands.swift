import ArgumentParser

/// All commands, in the order of help. A new one is a line here and a file beside this one.
enum Subcommands {
  static let all: [any ParsableCommand.Type] = [
    ServeCommand.self, ChatCommand.self, CompleteCommand.self, BenchCommand.self, TokenizeCommand.self,
    DetokenizeCommand.self, RenderTemplateCommand.self, SimulateCommand.self, PlacementCommand.self, TopCommand.self,
    DataCommand.self, RouterCommand.self, CollectEnvCommand.self, RunBatchCommand.self, RankCommand.self,
    LaunchCommand.self, QuantizeCommand.self, DoctorCommand.self, TuneCommand.self,
    DataWorkerCommand.self, CertsCommand.self,
  ]

  /// Every word that names one.
  static let names: [String] =
    all.flatMap { [$0.configuration.commandName ?? ""] + $0.configuration.aliases } + ["help"]
}

/// `swerve` itself: the list of commands and its help.
struct RootCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swerve", abstract: "An inference and serving engine for language models.",
    discussion: "Start with: swerve serve, or swerve chat. Flags of a command: swerve COMMAND --help.",
    version: "swerve \(Version.text)", subcommands: Subcommands.all, helpNames: [.long, .short])
}

/// A command whose flags are rows of a table. The parser of arguments only finds it; its words are read by
/// `SettingsParser`.
protocol TableCommand: ParsableCommand {
  static var table: FlagTable { get }
  /// Whether the first word without a flag is the model.
  static var takesModel: Bool { get }
  /// The words after the command's name.
  var words: [String] { get }
  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws
  /// Reads the words and runs.
  func run(_ context: CommandContext) async throws
}

extension TableCommand {
  static var takesModel: Bool { false }

  func run(_ context: CommandContext) async throws {
    let name = Self.fullName
    let parser = SettingsParser(
      command: name, table: Self.table, environment: context.environment, takesModel: Self.takesModel)
    switch try parser.parse(words) {
    case .print(let text): context.console.print(text)
    case .run(let settings, let positionals, let warnings):
      Ranks.join(settings, context)
      for warning in warnings { context.console.warn(warning) }
      try await run(settings, positionals, context)
    }
  }

  /// `serve`, `bench latency`.
  static var fullName: String {
    let name = configuration.commandName ?? ""
    return BenchCommand.configuration.subcommands.contains { $0 == Self.self } ? "bench \(name)" : name
  }

  /// Refuses words that no flag takes.
  func expectNone(_ positionals: [String]) throws(CommandError) {
    if let first = positionals.first {
      throw CommandError(.usage, "swerve \(Self.fullName) does not know what to do with \(first.debugDescription).")
    }
  }

  /// The configuration of a command that passes its words on unread.
  static func passing(_ name: String, _ abstract: String, aliases: [String] = []) -> CommandConfiguration {
    CommandConfiguration(commandName: name, abstract: abstract, helpNames: [], aliases: aliases)
  }
}
