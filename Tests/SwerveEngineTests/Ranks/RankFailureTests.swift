import SwerveCore
import SwerveEngine
import SwerveHardware
import SwerveInference
import Testing

/// Ranks that end, hang or cannot be.
@Suite(.serialized) struct RankFailureTests {
  private func start(_ seconds: Double, faults: [Int: ThreadRanks.Fault]) throws -> (ThreadRanks.Start, RankLayout) {
    let plan = try StartPlan(
      storyConfiguration {
        $0.tensorParallelSize = 2; $0.pipelineParallelSize = 2; $0.maxSequences = 4; $0.maxBatchedTokens = 64
      })
    var start = ThreadRanks.Start(
      layout: plan.layout, runner: plan.runner, files: plan.files, blockCount: 32,
      device: CPUConfiguration(threadCount: 1, isPinned: false), seconds: seconds)
    start.faults = faults
    return (start, plan.layout)
  }

  /// Executes steps of one prompt until one fails; answers how many did not, and what the failure said.
  private func run(_ start: ThreadRanks.Start) throws -> (steps: Int, failure: String) {
    let ranks = ThreadRanks(start) {}
    let device = try CPUDevice(configuration: start.device)
    let runner = try ModelRunner(
      start.runner(0), files: start.files, device: device, blockCount: start.blockCount, links: ranks.links(),
      coordinator: ranks.coordinator())
    try ranks.wait()
    let executor = RankedExecutor(runner: runner, ranks: ranks)
    var plan = StepPlan()
    var result = StepResult()
    for step in 0..<8 {
      plan.removeAll()
      plan.id = UInt64(step)
      plan.tokens = (0..<20).map { TokenID($0 + step + 1) }
      plan.blocks = [BlockID(0), BlockID(1)]
      plan.sequences = [
        SequenceStep(
          sequence: SequenceID(request: RequestID(rawValue: 1), index: 0), slot: SlotID(0), firstRow: 0, rowCount: 20,
          contextTokens: 0, promptTokens: 20, firstBlock: 0, blockCount: 2, samples: false)
      ]
      do { try executor.execute(plan, into: &result) } catch {
        // The group does not come back, and says the same.
        do {
          try executor.execute(plan, into: &result)
          Issue.record("a step ran without all ranks")
        } catch let again { #expect("\(again)" == "\(error)") }
        return (step, "\(error)")
      }
    }
    return (8, "")
  }

  @Test func ranksThatDoTheirWorkFailNothing() throws {
    let (start, _) = try start(60, faults: [:])
    #expect(try run(start).steps == 8)
  }

  @Test(arguments: [1, 2, 3])
  func aRankThatEndsFailsTheStepByItsName(rank: Int) throws {
    let (start, layout) = try start(60, faults: [rank: .ends(afterMessages: 3)])
    let (steps, failure) = try run(start)
    #expect(steps == 3)
    #expect(failure.contains("\(layout.name(rank)) has ended"), "\(failure)")
  }

  @Test(arguments: [1, 3])
  func aRankThatHangsFailsTheStepWithinTheDeadline(rank: Int) throws {
    let (start, layout) = try start(2.5, faults: [rank: .hangs(afterMessages: 2)])
    let (steps, failure) = try run(start)
    #expect(steps >= 2 && steps < 8)
    #expect(failure.contains(layout.name(rank)) && failure.contains("did not answer within"), "\(failure)")
  }

  /// Or the partner that waits for a rank that hangs would be named instead of it.
  @Test(arguments: [(1, 5), (2, 1), (2, 2), (2, 3), (2, 5)])
  func whoWaitsForARankThatWaitsIsTheMorePatient(tensor: Int, stages: Int) throws {
    let layout = try StartPlan(
      storyConfiguration {
        $0.tensorParallelSize = tensor; $0.pipelineParallelSize = stages
      }
    ).layout
    let ways = RankWay.all(layout)
    for way in ways where way.purpose != .control && way.purpose != .tensor {
      let own = try #require(way.patience(layout))
      // What the sender waits for, of partners and of its neighbours, before it sends here.
      for other in ways where other.to == way.from && other.from != way.to {
        guard other.purpose == .tensor || way.purpose == .answer, let inner = other.patience(layout) else { continue }
        #expect(inner < own, "\(way) over \(other)")
      }
    }
  }

  @Test func whatCannotBeSpreadIsRefusedInOneSentence() throws {
    let sizes = [
      ("--tensor-parallel-size 4", { (c: inout EngineConfiguration) in c.tensorParallelSize = 4 }),
      ("--pipeline-parallel-size 9", { (c: inout EngineConfiguration) in c.pipelineParallelSize = 9 }),
      (
        "--pipeline-split 2,2",
        { (c: inout EngineConfiguration) in
          c.pipelineParallelSize = 2; c.pipelineSplit = [2, 2]
        }
      ),
      (
        "use int8",
        { (c: inout EngineConfiguration) in
          c.tensorParallelSize = 2; c.quantization = .int8Dynamic
        }
      ),
    ]
    for (words, change) in sizes {
      #expect {
        _ = try StartPlan(storyConfiguration(change))
      } throws: {
        guard case .configuration(let problems)? = $0 as? EngineStartError else { return false }
        return problems.count == 1 && problems[0].contains(words)
      }
    }
  }
}
