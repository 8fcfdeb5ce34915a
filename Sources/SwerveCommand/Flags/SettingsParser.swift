import SwerveAccess
import SwerveCore

/// What became of the command line: settings to run with, or text to print and stop.
package enum ParseOutcome: Sendable {
  case run(Settings, positionals: [String], warnings: [String])
  /// `--help`, `--version`, `--print-config`.
  case print(String)
}

/// Joins command line, environment and configuration file into `Settings`. Precedence: command line → environment
/// (`SWERVE_<FLAG>`, then what a row lists) → `--config` file → default. Pure but for the files the flags name.
package struct SettingsParser: Sendable {
  package let command: String
  package let table: FlagTable
  package let environment: [String: String]
  /// Whether the first positional is the model, as `serve MODEL`.
  package var takesModel = false

  package init(command: String, table: FlagTable, environment: [String: String], takesModel: Bool = false) {
    self.command = command
    self.table = table
    self.environment = environment
    self.takesModel = takesModel
  }

  /// Throws a `CommandError` with exit code 2 and all problems, one a line.
  package func parse(_ arguments: [String]) throws(CommandError) -> ParseOutcome {
    var parsed = ParsedArguments(arguments, table: table)
    if let topic = parsed.help { return .print(try HelpText(command: command, table: table).text(topic)) }
    if parsed.wantsVersion { return .print("swerve \(Version.text)") }
    var problems = parsed.problems
    var assignments = parsed.assignments
    var warnings: [String] = []

    if takesModel, let model = parsed.positionals.first {
      parsed.positionals.removeFirst()
      addPositionalModel(model, to: &assignments, problems: &problems)
    }
    let outside = EnvironmentReader(table: table, environment: environment).read()
    assignments += outside.assignments
    problems += outside.problems
    if let file = Self.text(of: "config", in: assignments) {
      let contents = ConfigurationFile(path: file, table: table).read()
      assignments += contents.assignments
      problems += contents.problems
    }
    if let path = Self.text(of: "placement", in: assignments), PlacementFile.isPath(path) {
      let plan = PlacementFile(path: path, table: table).read()
      assignments.removeAll { $0.flag.name == "placement" }
      assignments += plan.assignments
      problems += plan.problems
    }

    var settings = Settings()
    let effective = effectiveAssignments(assignments)
    var ignored: [String] = []
    for assignment in effective { apply(assignment, to: &settings, problems: &problems, ignored: &ignored) }
    if !ignored.isEmpty {
      let sentence = "without effect here: " + ignored.joined(separator: "; ") + "."
      if settings.general.strictFlags { problems.append(sentence) } else { warnings.append(sentence) }
    }
    if !outside.unknown.isEmpty {
      let names = outside.unknown.sorted().joined(separator: ", ")
      let sentence = "unknown environment variable\(outside.unknown.count > 1 ? "s" : ""): \(names)."
      if settings.general.failOnUnknownEnvironment { problems.append(sentence) } else { warnings.append(sentence) }
    }
    finish(&settings, effective: effective, problems: &problems)
    if !problems.isEmpty { throw CommandError(.usage, problems) }
    if settings.general.printConfig { return .print(ConfigurationText(table: table, assignments: effective).text) }
    return .run(settings, positionals: parsed.positionals, warnings: warnings)
  }

  private func addPositionalModel(_ model: String, to assignments: inout [Assignment], problems: inout [String]) {
    guard let flag = table.flag(named: "model")?.flag else { return }
    if let other = Self.text(of: "model", in: assignments), other != model {
      problems.append("the model is given twice: \(model) and --model \(other).")
    }
    assignments.append(
      Assignment(flag: flag, value: .string(model), written: model, source: .commandLine))
  }

  /// The winning assignments in the order of the table: per flag those of the highest source, lists joined, JSON
  /// members merged.
  private func effectiveAssignments(_ assignments: [Assignment]) -> [Assignment] {
    var byFlag: [String: [Assignment]] = [:]
    for assignment in assignments { byFlag[Self.key(assignment.flag), default: []].append(assignment) }
    return table.flags.compactMap { flag in
      // Rows hidden behind a command's own flag of the same name never win.
      guard let all = byFlag.removeValue(forKey: Self.key(flag)), let highest = all.map(\.source).max() else {
        return nil
      }
      return all.filter { $0.source == highest }.reduce(nil as Assignment?) { before, next in
        guard let before else { return Self.nested(next) }
        return Self.merge(before, next)
      }
    }
  }

  private static func key(_ flag: Flag) -> String { "\(flag.section.rawValue)/\(flag.name)" }

  private static func nested(_ assignment: Assignment) -> Assignment {
    guard case .json(let value) = assignment.value, !assignment.path.isEmpty else { return assignment }
    var whole = assignment
    whole.value = .json(assignment.path.reversed().reduce(value) { .object(JSONObject([($1, $0)])) })
    whole.path = []
    return whole
  }

  private static func merge(_ before: Assignment, _ next: Assignment) -> Assignment {
    var merged = nested(next)
    switch (before.value, merged.value) {
    case (.list(let a), .list(let b)): merged.value = .list(a + b)
    case (.json(let a), .json(let b)) where !next.path.isEmpty: merged.value = .json(overlay(a, b))
    default: break
    }
    return merged
  }

  /// `b`'s members put over `a`'s, object by object.
  private static func overlay(_ a: JSON, _ b: JSON) -> JSON {
    guard case .object(var result) = a, case .object(let over) = b else { return b }
    for (key, value) in over { result[key] = result[key].map { overlay($0, value) } ?? value }
    return .object(result)
  }

  private func apply(
    _ assignment: Assignment, to settings: inout Settings, problems: inout [String], ignored: inout [String]
  ) {
    let flag = assignment.flag
    switch flag.status {
    case .supported(let write):
      do { try write(&settings, assignment.value) } catch { problems.append("\(assignment.written): \(error).") }
    case .ignored(let why): ignored.append("\(assignment.written) (\(why))")
    case .later(let why, let allowed):
      let text = assignment.value.text
      let harmless = [flag.defaultText] + allowed
      if harmless.contains(where: { $0.lowercased() == text.lowercased() }) { return }
      let shown = flag.kind == .bool ? (text == "true" ? "" : " \(text)") : " \(text)"
      problems.append("\(assignment.written)\(shown) is not supported yet: \(why).")
    }
  }

  /// What no single row can decide.
  private func finish(_ settings: inout Settings, effective: [Assignment], problems: inout [String]) {
    let given = Set(effective.map(\.flag.name))
    if let file = settings.serving.apiKeyFile {
      do {
        let lines = try TextFile.read(file).split(whereSeparator: \.isNewline)
        let keys = lines.map { $0.drop(while: \.isWhitespace) }.filter { !$0.isEmpty && !$0.hasPrefix("#") }
        if keys.isEmpty { problems.append("--api-key-file \(file) holds no key.") }
        settings.server.apiKeys += keys.map { String($0.reversed().drop(while: \.isWhitespace).reversed()) }
      } catch {
        problems.append("--api-key-file \(error).")
      }
    }
    applyShortQuantization(&settings, given: given, problems: &problems)
    applyPlacement(&settings, given: given, problems: &problems)
    settings.applyLinks(problems: &problems)
    settings.engine.modelName = settings.model ?? "story"
    if !given.contains("served-model-name") { settings.server.servedModelNames = [settings.engine.modelName] }
    if !settings.speculation.isEmpty {
      do {
        settings.engine.speculation = try SpeculationConfiguration(settings.speculation)
      } catch {
        problems += error.problems
      }
    }
    settings.engine.rankProgram = Ranks.program
    // Who is one of several processes of a job and is asked for several ranks is one of them.
    let asksRanks = settings.engine.tensorParallelSize * settings.engine.pipelineParallelSize > 1
    if settings.engine.executor == nil, asksRanks, Ranks.isJob(environment) { settings.engine.executor = .mpi }
    if settings.engine.executor == .mpi { settings.engine.launcher = Ranks.launcher(environment) }
    problems += settings.engine.problems() + settings.server.problems()
  }

  /// `--placement` decides which of the flags beside it have a meaning.
  private func applyPlacement(_ settings: inout Settings, given: Set<String>, problems: inout [String]) {
    settings.applyDataWorkers(given: given, problems: &problems)
    let isGathered = settings.placement.name == "gathered"
    for flag in ["gather-source", "gather-depth", "gather-peers"] where given.contains(flag) && !isGathered {
      problems.append("--\(flag) is for --placement gathered, not \(settings.placement.name).")
    }
    switch settings.placement.name {
    case "unified", "auto", "separated": break
    case "tensor":
      if settings.engine.tensorParallelSize == 1 {
        problems.append("--placement tensor shares every layer among ranks; say among how many with -tp.")
      }
    case "pipeline":
      if settings.engine.pipelineParallelSize == 1 {
        problems.append("--placement pipeline shares the layers among ranks; say among how many with -pp.")
      }
    case "pipeline-pd":
      settings.engine.placement = .pipelineData
      if !given.contains("pipeline-parallel-size") { settings.engine.pipelineParallelSize = 2 }
    case "gathered": settings.engine.gathering = settings.placement.gather
    default:
      problems.append(
        "--placement \(settings.placement.name) is not supported yet; use auto, unified, separated, gathered, "
          + "tensor, pipeline, pipeline-pd or a plan's file.")
    }
  }

  /// `--load-8bit` and `--load-4bit`: short for a method, so at most one of the three may say something.
  private func applyShortQuantization(_ settings: inout Settings, given: Set<String>, problems: inout [String]) {
    let short: EngineConfiguration.Quantization
    switch (settings.load8Bit, settings.load4Bit) {
    case (false, false): return
    case (true, true):
      problems.append("--load-8bit and --load-4bit exclude each other; give one.")
      return
    case (true, false): short = .int8
    case (false, true): short = .nf4
    }
    if given.contains("quantization"), settings.engine.quantization != short {
      problems.append(
        "\(short == .int8 ? "--load-8bit" : "--load-4bit") means --quantization \(short.rawValue), not "
          + "\(settings.engine.quantization.rawValue); give one of them.")
    }
    settings.engine.quantization = short
  }

  private static func text(of name: String, in assignments: [Assignment]) -> String? {
    assignments.filter { $0.flag.name == name && $0.flag.section != .environment }.max { $0.source < $1.source }?
      .value.text
  }
}
