import Glibc
import SwerveCore
import SwerveEngine
import SwerveHardware
import SwerveInference
import Testing

/// Ranks as processes of this host.
@Suite(.serialized) struct RankProcessTests {
  /// Beside the program that runs the tests.
  static let program: EngineConfiguration.RankProgram = {
    var bytes = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &bytes, 4095)
    let own = String(decoding: bytes.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let folder = own.split(separator: "/").dropLast().joined(separator: "/")
    return .init(path: "/\(folder)/rank-test-support", arguments: [])
  }()

  private func requests() -> [GenerationRequest] {
    (0..<6).map { index in
      textRequest("Once upon a time there was number \(index), who", id: "p\(index)") {
        $0.temperature = index % 2 == 0 ? 0 : 0.9
        $0.seed = index
        $0.logprobs = 2
        $0.maxTokens = 12
        $0.ignoreEos = true
      }
    }
  }

  private func configuration(_ change: (inout EngineConfiguration) -> Void) -> EngineConfiguration {
    storyConfiguration {
      $0.executor = .shm
      $0.rankProgram = Self.program
      change(&$0)
    }
  }

  @Test(arguments: [EngineConfiguration.DType.float32, .bfloat16])
  func processesGiveTheBitsOfOneRank(type: EngineConfiguration.DType) async throws {
    let requests = requests()
    let one = try await Engine.start(storyConfiguration { $0.dtype = type })
    let alone = try await one.answers(requests).map(\.choices)
    await one.stop()
    for (tensor, stages) in [(2, 1), (1, 2), (2, 2)] {
      let engine = try await Engine.start(
        configuration {
          $0.dtype = type; $0.tensorParallelSize = tensor; $0.pipelineParallelSize = stages
        })
      #expect(try await engine.answers(requests).map(\.choices) == alone, "tp \(tensor), pp \(stages)")
      #expect(engine.report.deviceDetail.contains("\(tensor * stages) ranks"))
      await engine.stop()
    }
  }

  @Test func aKilledProcessFailsTheStepByItsName() throws {
    let plan = try StartPlan(
      configuration {
        $0.tensorParallelSize = 2; $0.pipelineParallelSize = 2; $0.maxSequences = 4; $0.maxBatchedTokens = 64
      })
    let device = try CPUDevice(configuration: CPUConfiguration(threadCount: 1, isPinned: false))
    let fingerprint = try RankGreeting.fingerprint(
      files: plan.files, runner: plan.runner, overrides: JSONObject(), kernels: device.kernelSet)
    let greeting = RankGreeting(
      rank: 0, layout: plan.layout, folder: nil, overrides: JSONObject(), runner: plan.runner, blockCount: 32,
      threads: 1, kernels: device.kernelSet, seconds: 60, fingerprint: fingerprint)
    let ranks = try ProcessRanks(greeting, program: Self.program.path, arguments: Self.program.arguments)
    let runner = try ModelRunner(
      plan.runner, files: plan.files, device: device, blockCount: 32, links: ranks.links(),
      coordinator: ranks.coordinator())
    try ranks.wait()
    let executor = RankedExecutor(runner: runner, ranks: ranks)
    var step = StepPlan()
    step.tokens = (0..<8).map { TokenID($0 + 1) }
    step.blocks = [BlockID(0)]
    step.sequences = [
      SequenceStep(
        sequence: SequenceID(request: RequestID(rawValue: 1), index: 0), slot: SlotID(0), firstRow: 0, rowCount: 8,
        contextTokens: 0, promptTokens: 8, firstBlock: 0, blockCount: 1, samples: false)
    ]
    var result = StepResult()
    for id in 0..<3 {
      step.id = UInt64(id)
      try executor.execute(step, into: &result)
    }
    kill(ranks.processIDs[2], SIGKILL)
    step.id = 3
    #expect {
      // What was sent before the end may still be read: one step more can pass.
      try executor.execute(step, into: &result)
      step.id = 4
      try executor.execute(step, into: &result)
    } throws: {
      "\($0)".contains("\(plan.layout.name(3)) has ended")
    }
  }

  @Test func otherWeightsAreRefusedBeforeAnyRequest() throws {
    let plan = try StartPlan(configuration { $0.tensorParallelSize = 2 })
    let greeting = RankGreeting(
      rank: 0, layout: plan.layout, folder: nil, overrides: JSONObject(), runner: plan.runner, blockCount: 8,
      threads: 1, kernels: .best, seconds: 5, fingerprint: "other")
    let ranks = try ProcessRanks(greeting, program: Self.program.path, arguments: Self.program.arguments)
    #expect {
      try ranks.wait()
    } throws: {
      "\($0)".contains("are not those of rank 0")
    }
    ranks.stop(hasFailed: true)
  }

  @Test func greetingsReadAsTheyWereWritten() throws {
    let plan = try StartPlan(
      configuration {
        $0.tensorParallelSize = 2; $0.pipelineParallelSize = 3; $0.quantization = .int8; $0.microBatches = 2
        $0.loadFormat = .dummy; $0.seed = 5
      })
    let greeting = RankGreeting(
      rank: 4, layout: plan.layout, folder: nil, overrides: ["a": 1], runner: plan.runner, blockCount: 8, threads: 3,
      kernels: .scalar, seconds: 2.5, fingerprint: "f")
    let read = try RankGreeting(try JSON(parsing: greeting.json.text))
    #expect(read.json == greeting.json)
    #expect(
      read.layout == plan.layout && read.runner.weights == .random(seed: 5) && read.own.shape == plan.layout.shape(4))
    #expect(throws: (any Error).self) { _ = try RankGreeting(["protocol": 99]) }
    var broken = greeting.json.object ?? JSONObject()
    // Left out or of another kind these mean something too.
    let optional = ["overrides", "packed", "quantization", "fingerprint", "exact", "seed", "folder"]
    for key in broken.keys where !optional.contains(key) {
      let kept = broken[key]
      broken[key] = "no"
      #expect(throws: (any Error).self, "\(key)") { _ = try RankGreeting(.object(broken)) }
      broken[key] = kept
    }
  }

  @Test func shmWithoutAProgramIsRefused() {
    #expect {
      _ = try StartPlan(
        storyConfiguration {
          $0.executor = .shm; $0.tensorParallelSize = 2
        })
    } throws: {
      "\($0)".contains("use threads")
    }
  }
}
