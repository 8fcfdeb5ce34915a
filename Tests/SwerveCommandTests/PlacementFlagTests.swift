import Foundation
import SwerveCommand
import SwerveCore
import Testing

/// `--placement` and what belongs to it.
@Suite struct PlacementFlagTests {
  @Test func `gathering is asked for by its name, its alias and a plan's file`() throws {
    #expect(try parse([]).settings.engine.gathering == nil)
    #expect(try parse(["--placement", "unified"]).settings.engine.gathering == nil)
    #expect(try parse(["--placement", "gathered"]).settings.engine.gathering == GatherConfiguration())
    #expect(try parse(["--weight-sharding", "zero3"]).settings.engine.gathering?.source == .nvme)
    let asked = try parse(["--placement", "gathered", "--gather-source", "host", "--gather-depth", "5"]).settings
    #expect(asked.engine.gathering?.source == .host && asked.engine.gathering?.depth == 5)

    let path = NSTemporaryDirectory() + "swerve-plan-\(UUID().uuidString).json"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try #"{"version": 1, "flags": {"placement": "gathered", "gather-source": "host", "gather-depth": "3"}}"#
      .write(toFile: path, atomically: false, encoding: .utf8)
    let planned = try parse(["--placement", path]).settings
    #expect(planned.engine.gathering?.source == .host && planned.engine.gathering?.depth == 3)
    // A flag wins over the plan.
    #expect(try parse(["--placement", path, "--gather-depth", "1"]).settings.engine.gathering?.depth == 1)
  }

  @Test func `a quota of keys and values, and peers, are asked for by their names`() throws {
    let engine = try parse(["--placement", "pipeline-pd"]).settings.engine
    #expect(engine.placement == .pipelineData && engine.pipelineParallelSize == 2 && engine.dataWorkers.count == 1)
    let wide = try parse(["--placement", "pipeline-pd", "--data-workers", "3", "--pipeline-split", "3,5", "-pp", "2"])
    #expect(wide.settings.engine.bankCount == 4 && wide.settings.engine.pipelineSplit == [3, 5])
    #expect(try parse(["--placement", "tensor", "-tp", "2"]).settings.engine.tensorParallelSize == 2)
    let peers = try parse(["--placement", "gathered", "--gather-source", "peers", "--gather-peers", "4"]).settings
    #expect(peers.engine.gathering?.source == .peers && peers.engine.gathering?.rankCount == 4)
    #expect(try parse(["--placement", "gathered"]).settings.engine.gathering?.rankCount == 1)
  }

  @Test func `what does not fit together is refused`() throws {
    #expect(problems(["--gather-depth", "3"]).contains { $0.contains("--placement gathered") })
    #expect(problems(["--placement", "gathered", "--gather-source", "peers"]).isEmpty)
    #expect(
      problems(["--placement", "gathered", "--gather-source", "peers", "--gather-peers", "1"])
        .contains { $0.contains("between 2 and 256") })
    #expect(problems(["--gather-peers", "3"]).contains { $0.contains("--placement gathered") })
    #expect(problems(["--placement", "tensor"]).contains { $0.contains("-tp") })
    #expect(problems(["--placement", "pipeline"]).contains { $0.contains("-pp") })
    #expect(problems(["--placement", "pipeline-pd", "-tp", "2"]).contains { $0.contains("two stages") })
    #expect(problems(["--placement", "unified", "--data-workers", "2"]).contains { $0.contains("pipeline-pd") })
    #expect(problems(["--placement", "gathered", "--gather-depth", "0"]).contains { $0.contains("between 1 and 64") })
    #expect(problems(["--placement", "elsewhere"]).contains { $0.contains("use auto, unified, separated, gathered") })
    #expect(problems(["--placement", "/no/such/plan.json"]).contains { $0.contains("/no/such/plan.json") })
    let path = NSTemporaryDirectory() + "swerve-plan-\(UUID().uuidString).json"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try #"{"version": 1, "flags": {"placement": "unified", "port": "80"}}"#
      .write(toFile: path, atomically: false, encoding: .utf8)
    #expect(problems(["--placement", path]).contains { $0.contains("says nothing about a placement") })
  }
}
