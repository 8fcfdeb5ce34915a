import SwerveCore
import SwervePlacement
import SwerveScheduling
import SwerveSimulation
import Testing

/// Clusters under the real scheduler against the planner's formulas.
@Suite struct ScaleTests {
  static let load = Load(sequences: 512, promptTokens: 256, outputTokens: 128, chunkTokens: 2048)

  static func isWithin(_ share: Double, _ found: Double, _ formula: Double) -> Bool {
    abs(found / formula - 1) <= share
  }

  @Test(arguments: [ScaleModel.Hardware.accelerators, .mixed], [ModelShape.llama70B, .llama405B])
  func `capacity and throughput follow the formulas`(hardware: ScaleModel.Hardware, model: ModelShape) throws {
    let scale = ScaleModel(model: model, hardware: hardware, load: Self.load)
    var last = 0
    for nodes in [1, 2, 3, 8, 40, 100, 1000] {
      guard let point = try scale.point(nodes: nodes) else {
        #expect(nodes < scale.parameterNodes, "\(model.name) fits \(nodes) nodes")
        continue
      }
      #expect(Self.isWithin(0.01, Double(point.blocks), point.formulaBlocks), "\(nodes) nodes: \(point)")
      #expect(Self.isWithin(0.15, point.tokensPerSecond, point.formulaTokensPerSecond), "\(nodes) nodes: \(point)")
      #expect(point.blocks > last)
      last = point.blocks
    }
    #expect(last > 0)
  }

  @Test func `a second device gives 13.9 times the blocks and about 3.9 times the tokens`() throws {
    let load = Load(sequences: 256, promptTokens: 1024, outputTokens: 512, chunkTokens: 2048)
    let share = 11.9 / 12.9
    let (one, two) = ScaleModel.doubling(weightShare: share, load: load)
    let blocks = (ScaleModel.blocksGivenOut(one), ScaleModel.blocksGivenOut(two))
    let ratio = Double(blocks.1) / Double(blocks.0)
    #expect(
      Self.isWithin(0.01, ratio, 13.9)
        && Self.isWithin(0.01, ratio, CostModel.capacityRatio(devices: 2, weightShare: share)))
    var scale = ScaleModel(model: .llama70B, hardware: .accelerators, load: load)
    scale.requestsPerSequence = 3
    let reports = try [scale.simulate(one), scale.simulate(two)]
    let speeds = reports.map { Double($0.outputTokens) / $0.seconds }
    // All of both loads was computed, the same tokens.
    #expect(reports[0].outputTokens == reports[1].outputTokens && reports[0].finished == 768)
    #expect(reports[0].blocksPeak > blocks.0 * 9 / 10)
    #expect(Self.isWithin(0.15, speeds[1] / speeds[0], 3.9), "\(speeds)")
  }

  /// A slot's sequence stays with its worker, so that the busiest one decides.
  @Test func `unequal data workers make a step as long as the slowest`() throws {
    let scale = ScaleModel(model: .llama70B, hardware: .mixed, load: Self.load)
    let cluster = try #require(scale.group(nodes: 3))
    #expect(cluster.placement == .separated(dataWorkers: 2))
    func seconds(slots: [Int]) -> UInt64 {
      var plan = StepPlan()
      for (index, slot) in slots.enumerated() {
        plan.tokens.append(TokenID(0))
        plan.sequences.append(
          SequenceStep(
            sequence: SequenceID(request: RequestID(rawValue: UInt64(index)), index: 0), slot: SlotID(slot),
            firstRow: Int32(index), rowCount: 1, contextTokens: 50_000, promptTokens: 8, firstBlock: 0, blockCount: 0,
            samples: true))
      }
      return cluster.nanoseconds(of: plan)
    }
    let even = seconds(slots: [0, 1, 2, 3])
    let uneven = seconds(slots: [0, 2, 4, 6])
    #expect(uneven > even && even > 0)
    #expect(cluster.nanoseconds(of: StepPlan()) == 0)
  }
}
