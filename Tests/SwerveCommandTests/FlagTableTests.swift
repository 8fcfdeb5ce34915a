import SwerveCommand
import SwerveCore
import Testing

@Suite struct FlagTableTests {
  static let tables: [(String, FlagTable)] = [
    ("serve", .serve), ("chat", .chat), ("complete", .complete), ("bench latency", .benchLatency),
    ("bench throughput", .benchThroughput), ("bench serve", .benchServe), ("bench replay", .benchReplay),
    ("bench startup", .benchStartup), ("bench kernels", .benchKernels), ("collect-env", .collectEnv),
    ("tokenize", .text), ("render-template", .renderTemplate),
    ("simulate", .simulate),
  ]
  static let later = FlagTable.serve.flags.filter {
    if case .later = $0.status { $0.section != .environment } else { false }
  }
  static let ignored = FlagTable.serve.flags.filter {
    if case .ignored = $0.status { $0.section != .environment } else { false }
  }

  /// A value of the flag's kind that is neither its default nor allowed.
  static func value(_ flag: Flag) -> String {
    guard case .later(_, let allowed) = flag.status else { return "1" }
    switch flag.kind {
    case .bool: return flag.defaultText == "true" ? "false" : "true"
    case .int, .size, .gibibytes: return "77"
    case .double: return "0.77"
    case .string, .list: return "something"
    case .json: return #"{"member":1}"#
    case .choice(let words):
      return words.sorted { $0.key < $1.key }.first {
        $0.value != flag.defaultText && !allowed.contains($0.value) && !allowed.contains($0.key)
      }?.key ?? "?"
    }
  }

  @Test(arguments: later.indices)
  func aFlagWhoseFeatureIsMissingSaysSo(_ row: Int) {
    let flag = Self.later[row]
    guard case .later(let why, _) = flag.status else { return }
    let found = problems(["--\(flag.name)=\(Self.value(flag))"])
    #expect(found.count == 1, "\(found)")
    #expect(found.first?.hasPrefix("--\(flag.name)") == true, "\(found)")
    #expect(found.first?.hasSuffix("is not supported yet: \(why).") == true, "\(found)")
  }

  @Test(arguments: later.indices)
  func aFlagWhoseFeatureIsMissingMayBeGivenItsDefault(_ row: Int) {
    let flag = Self.later[row]
    guard case .later(_, let allowed) = flag.status else { return }
    for text in [flag.defaultText] + allowed where !text.isEmpty {
      // `null` and `none` stand for no value where the kind has no such word.
      if ["null", "none"].contains(text), (try? flag.kind.parse(text)) == nil { continue }
      #expect(problems(["--\(flag.name)=\(text)"]).isEmpty, "\(flag.name)=\(text)")
    }
  }

  @Test(arguments: ignored.indices)
  func aFlagThatMeansNothingHereWarnsOnce(_ row: Int) throws {
    let flag = Self.ignored[row]
    let text =
      switch flag.kind {
      case .bool: "true"
      case .json: "{}"
      default: "1"
      }
    let warnings = try parse(["--\(flag.name)=\(text)"]).warnings
    #expect(warnings.count == 1 && warnings[0].contains("--\(flag.name)"))
    #expect(problems(["--\(flag.name)=\(text)", "--strict-flags"]).count == 1)
  }

  @Test func namesAreUniqueWithinATableAndWellFormed() {
    for (command, table) in Self.tables {
      for section in table.sections {
        let flags = table.flags.filter { $0.section == section }
        let names = flags.flatMap { [$0.name] + $0.aliases }
        #expect(Set(names).count == names.count, "\(command), \(section): \(names.sorted())")
      }
      for flag in table.flags {
        #expect(flag.name.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "-" }, "\(flag.name)")
      }
    }
  }

  @Test func theDefaultsInHelpAreTheDefaultsInSettings() throws {
    // Giving a flag its documented default must not change anything.
    let untouched = String(describing: Settings())
    for flag in FlagTable.serve.flags where flag.section != .environment {
      guard case .supported(let write) = flag.status, let value = try? flag.kind.parse(flag.defaultText) else {
        continue
      }
      if ["model", "chat-template", "served-model-name"].contains(flag.name) { continue }
      if case .list = flag.kind, flag.defaultText.isEmpty { continue }
      if case .string = flag.kind, flag.defaultText.isEmpty || flag.name == "log-level-http" { continue }
      if ["cpu-kernels"].contains(flag.name) { continue }
      var settings = Settings()
      try write(&settings, value)
      #expect(String(describing: settings) == untouched, "--\(flag.name) [\(flag.defaultText)]")
    }
  }

  @Test(arguments: tables.indices)
  func helpShowsEverySection(_ row: Int) throws {
    let (command, table) = Self.tables[row]
    let parser = SettingsParser(command: command, table: table, environment: [:])
    guard case .print(let overview) = try parser.parse(["--help"]) else {
      Issue.record("no help")
      return
    }
    #expect(overview.hasPrefix("usage: swerve \(command)"))
    for section in table.sections {
      guard case .print(let text) = try parser.parse(["--help=\(section.rawValue.lowercased())"]) else {
        Issue.record("no help on \(section)")
        continue
      }
      for flag in table.flags where flag.section == section && section != .environment {
        #expect(text.contains("--\(flag.name)") || table.flag(named: flag.name)?.flag.section != section)
      }
    }
    guard case .print(let all) = try parser.parse(["--help=all"]) else { return }
    #expect(all.count >= overview.count / 2)
    for flag in table.flags where flag.section != .environment {
      guard case .print(let text) = try parser.parse(["--help=\(flag.name)"]) else { continue }
      #expect(text.contains(flag.name))
    }
    #expect(throws: CommandError.self) { _ = try parser.parse(["--help=nonsense-topic"]) }
  }

  @Test func theVersionIsPrinted() throws {
    let outcome = try SettingsParser(command: "serve", table: .serve, environment: [:]).parse(["-v"])
    guard case .print("swerve \(Version.text)") = outcome else {
      Issue.record("no version")
      return
    }
  }
}
