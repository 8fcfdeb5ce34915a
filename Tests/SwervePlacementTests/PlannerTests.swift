import SwerveCore
import SwervePlacement
import Testing

@Suite struct PlannerTests {
  static func gpus(_ count: Int, memory: Double = 80, model: ModelShape = .llama8B, load: Load = Load()) -> Planner {
    let gpu = DeviceDescription(
      name: "gpu", memoryBytes: memory * Double(1 << 30), bytesPerSecond: 3e12, operationsPerSecond: 600e12)
    return Planner(
      CostModel(
        model: model,
        machine: MachineDescription(
          devices: Array(repeating: gpu, count: count),
          link: LinkDescription(latencySeconds: 5e-6, bytesPerSecond: 400e9), diskBytesPerSecond: 6e9,
          hostBytesPerSecond: 50e9), load: load))
  }

  @Test func `one device that holds everything is unified`() {
    let planner = Self.gpus(1)
    #expect(planner.best?.placement == .unified)
    #expect(planner.reason.contains("everything fits"))
    #expect(planner.warning(for: .unified) == nil)
    #expect(planner.warning(for: .gathered(.nvme, depth: 2))?.contains("% slower than unified") == true)
  }

  @Test func `rates that were measured beside other work are not trusted`() {
    var machine = Self.gpus(1).cost.machine
    #expect(machine.busyWarning == nil)
    machine.busyShare = 0.04
    #expect(machine.busyWarning == nil)
    machine.busyShare = 0.37
    #expect(machine.busyWarning?.contains("used 37 % of the CPUs") == true)
    #expect(PlacementText.machine(machine).contains { $0.contains("plan while it is idle") })
  }

  @Test func `weights larger than the device are gathered, and where two devices hold them, split`() {
    let one = Self.gpus(1, memory: 12)
    let best = one.best?.placement
    #expect(best == .gathered(.nvme, depth: 2) || best == .gathered(.host, depth: 2))
    #expect(one.estimate(.unified).refusal != nil && one.reason.contains("unified does not fit"))
    #expect(one.warning(for: .unified)?.contains("predicted not to fit") == true)
    #expect(Self.gpus(4, memory: 12).best?.placement == .tensor(4))
  }

  @Test func `equal devices with short contexts prefer tensor, unequal ones with long contexts split roles`() {
    #expect(Self.gpus(2).best?.placement == .tensor(2))
    // A fast device that weights nearly fill, and slow ones with much memory.
    let fast = DeviceDescription(
      name: "fast", memoryBytes: 17.5e9, bytesPerSecond: 3e12, operationsPerSecond: 600e12)
    let large = DeviceDescription(
      name: "large", memoryBytes: 200e9, bytesPerSecond: 0.4e12, operationsPerSecond: 20e12)
    let planner = Planner(
      CostModel(
        model: .llama8B,
        machine: MachineDescription(
          devices: [fast, large, large], link: LinkDescription(latencySeconds: 5e-6, bytesPerSecond: 50e9),
          hostBytesPerSecond: 50e9),
        load: Load(sequences: 64, promptTokens: 8192, outputTokens: 1024)))
    let separated = planner.estimate(.separated(dataWorkers: 2))
    for other in [Placement.tensor(2), .tensor(3), .pipeline(2), .pipeline(3), .unified] {
      #expect(planner.estimate(other).tokensPerSecond < separated.tokensPerSecond, "\(other.title)")
    }
  }

  @Test func `every candidate either fits or says why not`() {
    for planner in [Self.gpus(1), Self.gpus(3), Self.gpus(8, model: .llama405B), Self.gpus(2, memory: 1)] {
      for estimate in planner.candidates {
        if let refusal = estimate.refusal {
          #expect(!refusal.isEmpty && estimate.tokensPerSecond == 0)
        } else {
          #expect(estimate.tokensPerSecond > 0 && estimate.decodeSeconds > 0 && estimate.sequences > 0)
        }
      }
      #expect(PlacementText.table(planner).count == planner.candidates.count + 1)
    }
    #expect(Self.gpus(2, memory: 0.1).best == nil && Self.gpus(2, memory: 0.1).reason.contains("no placement fits"))
  }

  // MARK: Files

  @Test func `a placement's file has the flags that ask for it`() throws {
    let planner = Self.gpus(3)
    for estimate in planner.candidates {
      let document = PlacementDocument(planner, choice: estimate.placement)
      let flags = try PlacementDocument.flags(parsing: document.json.text)
      #expect(flags.map(\.name) == estimate.placement.flags.map(\.name))
      #expect(flags.map(\.value) == estimate.placement.flags.map(\.value))
      #expect(document.roles.count == estimate.placement.deviceCount)
      let isSplit = if case .pipeline = estimate.placement { true } else { false }
      #expect(document.roles.reduce(0) { $0 + $1.layers.count } == (isSplit ? 32 : 32 * document.roles.count))
      #expect(PlacementText.roles(document).count == document.roles.count + 1)
    }
  }

  @Test(arguments: [
    ("[1", "JSON"), ("[]", "object"), ("{}", "version"), (#"{"version": 2, "flags": {}}"#, "version"),
    (#"{"version": 1, "flags": {}}"#, "placement"),
    (#"{"version": 1, "flags": {"placement": "unified", "x": {}}}"#, "flag x"),
  ])
  func `a file that is no placement is refused`(text: String, word: String) {
    do {
      _ = try PlacementDocument.flags(parsing: text)
      Issue.record("\(text) was read")
    } catch { #expect(error.description.contains(word) || word == "JSON") }
  }

  @Test func `machines are read from files`() throws {
    let machine = try MachineDescription(
      parsing: #"""
        {"devices": [{"name": "a", "memory_gib": 80, "read_gb_s": 3350, "tflops": 990, "count": 2},
                     {"memory_gib": 512, "read_gb_s": 400, "tflops": 20}],
         "link": {"latency_us": 8, "gb_s": 450}, "disk_gb_s": 6}
        """#)
    #expect(machine.devices.map(\.name) == ["a:0", "a:1", "device 1"])
    #expect(machine.devices[0].memoryBytes == 80 * Double(1 << 30) && machine.devices[2].bytesPerSecond == 400e9)
    #expect(machine.link.bytesPerSecond == 450e9 && machine.diskBytesPerSecond == 6e9)
    for text in ["{}", #"{"devices": []}"#, #"{"devices": [{"memory": 1}]}"#, #"{"devices": [{"memory_gib": "x"}]}"#] {
      #expect(throws: PlacementError.self) { try MachineDescription(parsing: text) }
    }
  }
}
