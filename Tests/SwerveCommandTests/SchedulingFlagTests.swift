import Foundation
import SwerveAccess
import SwerveCommand
import SwerveCore
import Testing

/// `--scheduling-policy` and what belongs to it, and `swerve simulate`.
@Suite struct SchedulingFlagTests {
  let record = ConsoleRecord()

  private func parse(_ words: [String]) throws -> Settings {
    guard
      case .run(let settings, _, _) = try SettingsParser(command: "serve", table: .serve, environment: [:]).parse(words)
    else { throw CommandError(.usage, "printed") }
    return settings
  }

  @Test func theFlagsReachTheirFields() throws {
    let settings = try parse([
      "--scheduling-policy", "slo", "--sla-config", #"{"vip":{"ttft_ms":300,"weight":8,"tenants":["acme"]}}"#,
      "--queue-timeout", "2.5", "--request-timeout", "60", "--max-num-queued-tokens", "1000", "--length-grouping",
    ])
    #expect(settings.engine.schedulingPolicy == .slo)
    #expect(settings.engine.serviceClasses.all.map(\.name) == ["vip", "default"])
    #expect(settings.engine.serviceClasses.all[0].ttftMilliseconds == 300)
    #expect(settings.engine.queueTimeout == 2.5 && settings.server.requestTimeout == 60)
    #expect(settings.engine.maxQueuedTokens == 1000 && settings.engine.groupsLengths)
    #expect(!settings.engine.honoursPriority)
    #expect(try parse(["--scheduling-policy", "PRIORITY"]).engine.honoursPriority)
    #expect(try parse(["--scheduler-cls", "shortest-first"]).engine.schedulerExtension == "shortest-first")
    #expect(try parse(["--sla-config", "null"]).engine.serviceClasses == ServiceClasses())
  }

  @Test(arguments: [
    (["--scheduling-policy", "lottery"], "fair"), (["--scheduler-cls", "odd"], "must be one of shortest-first"),
    (["--sla-config", "[]"], "needs a JSON object"), (["--sla-config", #"{"a":{"weight":0}}"#], "weight must be"),
    (["--sla-config", #"{"a":{"speed":1}}"#], "has no speed"), (["--queue-timeout", "soon"], "--queue-timeout"),
  ])
  func aWrongValueIsNamed(_ words: [String], _ part: String) {
    let error = #expect(throws: CommandError.self) { try parse(words) }
    #expect(error?.description.contains(part) == true, "\(error?.description ?? "")")
    #expect(error?.code == .usage)
  }

  // MARK: simulate

  private func simulate(_ words: String...) async -> ExitCode {
    let wiring = Wiring(engines: FakeEngines(), serve: { _, _, _ in }, lines: EchoLines(), benchKernels: { _, _ in })
    let context = CommandContext(wiring: wiring, environment: [:], console: record.console())
    return await SwerveMain.run(["simulate"] + words, context: context)
  }

  @Test func aSimulationPrintsATableOrJSON() async throws {
    #expect(await simulate("--num-prompts", "50", "--input-len", "32", "--output-len", "8") == .success)
    #expect(record.output.contains("TTFT p50") && record.output.contains("50 requests, 0 unfinished"))
    let again = SchedulingFlagTests()
    #expect(
      await again.simulate(
        "--json", "--num-prompts", "50", "--request-rate", "1000", "--scheduling-policy", "fair", "--max-num-seqs", "4")
        == .success)
    let json = try JSON(parsing: again.record.output)
    #expect(json["classes"]?["default"]?["finished"]?.int == 50)
    #expect(json["blocks_total"]?.int == 4096)
  }

  @Test func aTraceFileIsReplayed() async throws {
    let file = FileManager.default.temporaryDirectory.appending(path: "swerve-trace-\(UUID().uuidString).json")
    defer { try? FileManager.default.removeItem(at: file) }
    let path = file.path()
    try TextFile.write(
      #"{"requests": [{"class": "vip"}, {"arrival": 1, "prompt_tokens": 5, "output_tokens": 2}]}"#, to: path)
    #expect(await simulate("--trace", path, "--sla-config", #"{"vip": {"ttft_ms": 100}}"#, "--json") == .success)
    let json = try JSON(parsing: record.output)
    #expect(json["classes"]?["vip"]?["met"]?.int == 1)
    #expect(json["classes"]?["default"]?["output_tokens"]?.int == 2)
    let other = SchedulingFlagTests()
    #expect(await other.simulate("--trace", path) == .usage)
    #expect(other.record.errors.contains("there is no service class vip"))
  }

  @Test(arguments: [
    (["--trace", "/nowhere/trace.json"], "cannot read /nowhere/trace.json"), (["--num-prompts", "0"], "--num-prompts"),
    (["--request-rate", "0"], "--request-rate"), (["--device-step-ms", "-1"], "--device-step-ms"),
    (["--max-num-seqs", "0"], "--max-num-seqs"), (["model"], "does not know what to do"),
  ])
  func aWrongSimulationEndsWithTwo(_ words: [String], _ part: String) async {
    let wiring = Wiring(engines: FakeEngines(), serve: { _, _, _ in }, lines: EchoLines(), benchKernels: { _, _ in })
    let context = CommandContext(wiring: wiring, environment: [:], console: record.console())
    #expect(await SwerveMain.run(["simulate"] + words, context: context) == .usage)
    #expect(record.errors.contains(part), "\(record.errors)")
  }
}
