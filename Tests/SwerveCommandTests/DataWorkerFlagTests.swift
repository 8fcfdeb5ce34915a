import SwerveCommand
import SwerveCore
import Testing

/// Flags of data workers.
@Suite struct DataWorkerFlagTests {
  @Test func `data workers are asked for by placement, number and devices`() throws {
    let unified = try parse([]).settings.engine
    #expect(unified.placement == .unified)
    #expect(try parse(["--placement", "separated"]).settings.engine.dataWorkers.count == 1)
    for arguments in [["--data-workers", "2"], ["--data-devices", "cpu,cpu", "--parameter-devices", "cpu"]] {
      let engine = try parse(arguments).settings.engine
      #expect(engine.placement == .separated && engine.dataWorkers.count == 2)
      #expect(engine.dataWorkers.launch == .process(path: "/proc/self/exe", arguments: ["data-worker"]))
      #expect(!engine.dataWorkers.version.isEmpty)
    }
    let more = try parse(["--data-workers", "1", "--max-data-workers", "7", "--data-worker-timeout", "2.5"]).settings
    #expect(more.engine.dataWorkers.maximum == 7 && more.engine.dataWorkers.deadline == 2.5)
  }

  @Test func `what does not fit together is refused`() {
    for (arguments, word) in [
      (["--placement", "unified", "--data-workers", "2"], "--placement separated"),
      (["--data-workers", "2", "--data-devices", "cpu"], "as many of each"),
      (["--data-workers", "0"], "--data-workers must be between"),
      (["--data-devices", "cuda:0"], "there is no device"),
      (["--parameter-devices", "cpu,cpu"], "weights have one device"),
      (["--data-workers", "2", "--kv-tiers", "host=1GiB"], "--kv-tiers"),
      (["--data-workers", "3", "--max-data-workers", "2"], "--max-data-workers"),
    ] {
      #expect(problems(arguments).contains { $0.contains(word) }, "\(arguments): \(problems(arguments))")
    }
  }
}
