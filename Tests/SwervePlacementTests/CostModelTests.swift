import SwerveCore
import SwervePlacement
import Testing

/// The formulas, by numbers worked out by hand.
@Suite struct CostModelTests {
  /// 10 layers of 100 × 100 heads and a small head: W = 10 × (4 × 100 × 100 + 3 × 100 × 200) × 2 + 1000 × 100 × 2.
  static let model = ModelShape(
    name: "toy", layers: 10, hidden: 100, queryHeads: 10, kvHeads: 10, headDim: 10, intermediate: 200,
    vocabulary: 1000, tiedEmbeddings: true)
  static let weights = 10.0 * 100_000 * 2 + 200_000

  static func device(_ memory: Double, reads: Double = 1e9, computes: Double = 1e12) -> DeviceDescription {
    DeviceDescription(name: "d", memoryBytes: memory, bytesPerSecond: reads, operationsPerSecond: computes)
  }

  static func cost(
    _ count: Int, memory: Double = 4e6, reads: Double = 1e9, link: LinkDescription? = nil, disk: Double? = 1e8,
    load: Load = Load(sequences: 8, promptTokens: 32, outputTokens: 32, chunkTokens: 32)
  ) -> CostModel {
    CostModel(
      model: model,
      machine: MachineDescription(
        devices: Array(repeating: device(memory, reads: reads), count: count),
        link: link ?? LinkDescription(latencySeconds: 1e-6, bytesPerSecond: 1e12), diskBytesPerSecond: disk,
        hostBytesPerSecond: 5e8), load: load)
  }

  static func isClose(_ a: Double, _ b: Double, _ share: Double = 1e-9) -> Bool {
    abs(a - b) <= share * max(abs(a), abs(b))
  }

  @Test func `sizes are those of the model`() {
    #expect(Self.model.totalBytes == Self.weights && Self.model.stepBytes == Self.weights)
    #expect(Self.model.tokenKVBytes == 10 * 2 * 100 * 2)
    // Published sizes: 70.6 and 405.9 thousand million parameters, 320 and 504 KiB a token in 16 bits.
    #expect(Self.isClose(ModelShape.llama70B.totalBytes / 2, 70.55e9, 0.01))
    #expect(Self.isClose(ModelShape.llama405B.totalBytes / 2, 405.85e9, 0.01))
    #expect(ModelShape.llama70B.tokenKVBytes == 320 * 1024)
    #expect(ModelShape.llama405B.tokenKVBytes == 504 * 1024)
  }

  @Test func `a unified step reads weights and the keys and values of its rows`() {
    let cost = Self.cost(1)
    // S = 32 + 32 / 2
    let expected = Self.weights / 1e9 + 8 * 48 * 4000 / 1e9
    #expect(Self.isClose(cost.step(.unified, decodeRows: 8, promptRows: 0), expected))
    let estimate = cost.estimate(.unified)
    #expect(estimate.blocks == Int((4e6 - Self.weights) / (16 * 4000)) && estimate.sequences == 8)
  }

  @Test func `n ranks read a share each and add their sums in a tree`() {
    let link = LinkDescription(latencySeconds: 1e-5, bytesPerSecond: 1e9)
    for (ranks, levels) in [(2, 1.0), (5, 3), (10, 4)] {
      let cost = Self.cost(ranks, link: link)
      let share = (Self.weights / 1e9 + 4 * 48 * 4000 / 1e9) / Double(ranks)
      let reductions = 2 * 10 * levels * (1e-5 + 4 * 100 * 4 / 1e9)
      #expect(Self.isClose(cost.step(.tensor(ranks), decodeRows: 4, promptRows: 0), share + reductions))
    }
    #expect(Self.cost(2).estimate(.tensor(3)).refusal?.contains("needs 3 devices") == true)
    #expect(Self.cost(4).estimate(.tensor(4)).refusal?.contains("10 heads") == true)
  }

  @Test func `ranks that share a device repeat norms and meet in its memory`() {
    let link = LinkDescription(latencySeconds: 1e-5, bytesPerSecond: 1e9)
    var cost = Self.cost(1, link: link)
    var device = cost.machine.devices[0]
    (device.rowSeconds, device.normSeconds) = (5e-6, 2e-6)
    cost = CostModel(
      model: Self.model,
      machine: MachineDescription(devices: [device], link: link, hostBytesPerSecond: 5e8), load: cost.load)
    let whole = cost.step(.unified, decodeRows: 4, promptRows: 0)
    for (ranks, levels) in [(2, 1.0), (5, 3)] {
      let norms = 10 * 4 * 2e-6 * Double(ranks - 1)
      let reductions = 2 * 10 * levels * (1e-5 + 3 * 4 * 100 * 4 / 1e9)
      let step = cost.step(.tensor(ranks), decodeRows: 4, promptRows: 0)
      #expect(Self.isClose(step, whole + norms + reductions, 1e-6))
    }
  }

  @Test func `separated roles go around, or take turns with two batches`() {
    let slow = LinkDescription(latencySeconds: 1e-4, bytesPerSecond: 1e9)
    let cost = Self.cost(3, link: slow)
    let bytes = 8.0 * 10 * 10 * 40 * 2
    #expect(cost.exchangeBytes(rows: 8) == bytes)
    let link = 2 * 10 * 1e-4 + bytes / 1e9
    let parameters = Self.weights / 1e9
    let data = 8 * 48 * 4000 / 1e9 / 2
    let expected = min(parameters + data + link, max(2 * parameters, data + link))
    #expect(Self.isClose(cost.step(.separated(dataWorkers: 2), decodeRows: 8, promptRows: 0), expected))
  }

  @Test func `gathered steps take as long as the disk or the arithmetic`() {
    let cost = Self.cost(1)
    #expect(
      Self.isClose(cost.step(.gathered(.nvme, depth: 2), decodeRows: 1, promptRows: 0), Self.weights / 1e8))
    #expect(
      Self.isClose(
        cost.step(.gathered(.host, depth: 2), decodeRows: 1, promptRows: 0),
        Self.weights / 5e8 + cost.step(.unified, decodeRows: 1, promptRows: 0)))
    // So many rows that arithmetic takes longer.
    let rows = 1e6
    #expect(
      cost.step(.gathered(.nvme, depth: 2), decodeRows: rows, promptRows: 0)
        == cost.step(.unified, decodeRows: rows, promptRows: 0))
    #expect(Self.cost(1, disk: nil).estimate(.gathered(.nvme, depth: 2)).refusal != nil)
  }

  @Test func `capacity follows (n - x) / (1 - x)`() {
    let load = Load(sequences: 8, promptTokens: 8, outputTokens: 8, chunkTokens: 32, blockTokens: 1)
    for memory in [2.4e6, 3e6, 10e6] {
      let one = Self.cost(1, memory: memory, load: load).room(.unified).blocks
      for devices in [2, 5, 10] {
        let many = Self.cost(devices, memory: memory, load: load).room(.tensor(devices)).blocks
        let ratio = CostModel.capacityRatio(devices: Double(devices), weightShare: Self.weights / memory)
        #expect(Self.isClose(Double(many) / Double(one), ratio, 0.02), "\(devices) of \(memory)")
        let data = Self.cost(devices, memory: memory, load: load).room(.separated(dataWorkers: devices - 1))
        #expect(data.blocks == Int(Double(devices - 1) * memory / 4000))
        #expect(data.parameterBytes == Self.weights)
      }
    }
  }

  @Test func `measured products are joined by straight lines`() {
    var device = Self.device(1)
    device.products = [
      .init(rows: 1, secondsPerByte: 1), .init(rows: 8, secondsPerByte: 2), .init(rows: 32, secondsPerByte: 8),
    ]
    for (rows, seconds) in [(0.5, 1), (1, 1), (4.5, 1.5), (8, 2), (20, 5), (32, 8), (64, 16)] {
      #expect(device.secondsPerByte(rows: rows, weightBytes: 2) == seconds)
    }
    device.products = []
    #expect(device.secondsPerByte(rows: 1, weightBytes: 2) == 1e-9)
    #expect(device.secondsPerByte(rows: 1e6, weightBytes: 2) == 1e6 / 1e12)
  }
}
