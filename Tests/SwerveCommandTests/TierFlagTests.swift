import SwerveCommand
import SwerveCore
import Testing

/// `--kv-tiers` and what belongs to it.
@Suite struct TierFlagTests {
  private func parse(_ words: [String]) throws -> EngineConfiguration {
    guard
      case .run(let settings, _, _) = try SettingsParser(command: "serve", table: .serve, environment: [:]).parse(words)
    else { throw CommandError(.usage, "printed") }
    return settings.engine
  }

  @Test func theFlagsReachTheirFields() throws {
    let engine = try parse([
      "--kv-tiers", "device=auto,host=1GiB,nvme=2GiB:/kv:dtype=int8", "--kv-key-file", "/etc/key", "--preemption-mode",
      "swap",
    ])
    #expect(engine.kvTiers == "device=auto,host=1GiB,nvme=2GiB:/kv:dtype=int8")
    #expect(engine.kvKeyFile == "/etc/key" && engine.preemptionMode == .swap)
    #expect(try parse(["--swap-space", "2"]).kvOffloadingBytes == 2 << 30)
    #expect(try parse(["--kv-offloading-size", "512MiB"]).kvOffloadingBytes == 512 << 20)
    #expect(try parse(["--kv-offloading-size", "0"]).kvOffloadingBytes == nil)
    #expect(try parse(["--kv-tiers", "device"]).kvTiers == nil)
    let plain = try parse([])
    #expect(plain.kvTiers == nil && plain.kvKeyFile == nil && plain.preemptionMode == .auto)
  }

  @Test(arguments: [
    (["--preemption-mode", "forget"], "--preemption-mode"), (["--swap-space", "much"], "needs a number of GiB"),
  ])
  func aWrongValueIsNamed(_ words: [String], _ part: String) {
    let error = #expect(throws: CommandError.self) { try parse(words) }
    #expect(error?.description.contains(part) == true, "\(error?.description ?? "")")
    #expect(error?.code == .usage)
  }
}
