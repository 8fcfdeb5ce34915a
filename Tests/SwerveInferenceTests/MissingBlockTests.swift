import SwerveCore
import SwerveHardware
import SwerveInference
import Synchronization
import Testing

/// A block that cannot be read is told of the sequence it belongs to, and of no other one.
@Suite struct MissingBlockTests {
  /// Keeps blocks in memory, and gives none back where it `loses` them.
  private final class Store: OverflowStore {
    let placeCount = 4
    private let pieceBytes: Int
    private let blockBytes: Int
    private let loses: Bool
    private let blocks = Mutex<[Int: [UInt8]]>([:])

    init(_ layout: KVLayout, loses: Bool) {
      pieceBytes = layout.blockLayerBytes
      self.loses = loses
      blockBytes = layout.blockBytes
    }

    func write(_ place: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) {
      var bytes = [UInt8](repeating: 0, count: blockBytes)
      bytes.withUnsafeMutableBytes { fill($0) }
      blocks.withLock { $0[place] = bytes }
    }

    func read(_ place: Int, layer: Int, into staging: Int, of target: any StagingPlaces) {
      blocks.withLock { blocks in
        guard !loses, let block = blocks[place] else { return }
        target.piece(staging).copyBytes(from: block[layer * pieceBytes..<(layer + 1) * pieceBytes])
      }
    }

    func wait(_ staging: Int) -> Bool { !loses }

    var traffic: OverflowTraffic { OverflowTraffic() }
  }

  private static let blockCount = 16

  /// A second step in which a choice computes the prompt, another one samples the same row without any of its own, and a
  /// third sequence goes on behind two blocks, of which the first has left the device where there is a store.
  private func secondStep(loses: Bool?) throws -> StepResult {
    let files = Fixture.files("qwen2")
    let prompt = try Fixture.golden("qwen2").cases[3].prompt
    let model = try ModelConfiguration(files)
    let device = try CPUDevice(configuration: CPUConfiguration(threadCount: 2, isPinned: false))
    var limits = RunnerLimits(rows: 256, sequences: 3, contextTokens: 128)
    limits.stagingBlocks = 16
    var lower = LowerPlaces()
    lower.stagingBlocks = limits.stagingBlocks
    if let loses { lower.store = Store(try model.layout(type: .bfloat16, blockTokens: 16), loses: loses) }
    let runner = try ModelRunner(
      RunnerConfiguration(model: model, type: .bfloat16, limits: limits),
      files: files, device: device, blockCount: Self.blockCount, lower: lower)
    var params = Harness.greedy()
    params.logprobs = 2
    let sampling = SamplingState(params: params, seed: 0, badWordTokens: [], terminators: [])
    let table = blocks(prompt.count)
    var plan = StepPlan()
    var result = StepResult()

    func append(_ slot: Int, from first: Int, rows: Int, blocks: [Int]) {
      plan.sequences.append(
        SequenceStep(
          sequence: SequenceID(request: RequestID(rawValue: 1), index: Int32(slot)), slot: SlotID(slot),
          firstRow: Int32(plan.tokens.count), rowCount: Int32(rows), contextTokens: Int32(first),
          promptTokens: Int32(prompt.count), firstBlock: Int32(plan.blocks.count), blockCount: Int32(blocks.count),
          samples: first + rows == prompt.count))
      plan.tokens += prompt[first..<first + rows]
      plan.blocks += blocks.map { BlockID($0) }
    }
    func admit(_ slot: Int) {
      plan.admissions.append(
        Admission(
          sequence: SequenceID(request: RequestID(rawValue: 1), index: Int32(slot)), slot: SlotID(slot),
          sampling: sampling, tokens: prompt, promptTokens: prompt.count))
    }

    admit(0)
    append(0, from: 0, rows: 32, blocks: [0, 1])
    try runner.execute(plan, into: &result)
    #expect(result.samples.isEmpty && result.incomplete.isEmpty)
    plan.removeAll()
    admit(1)
    admit(2)
    let choice = (0..<table).map { 8 + $0 }
    append(1, from: 0, rows: prompt.count, blocks: choice)
    append(2, from: prompt.count, rows: 0, blocks: choice)
    var moved = Array(0..<table)
    if loses != nil {
      moved[0] = Self.blockCount
      plan.moves = [BlockMove(from: BlockID(0), to: BlockID(Self.blockCount))]
    }
    append(0, from: 32, rows: prompt.count - 32, blocks: moved)
    runner.move(plan)
    try runner.execute(plan, into: &result)
    return result
  }

  private func blocks(_ tokens: Int) -> Int { (tokens + 15) / 16 }

  @Test func `a missing block ends its own sequence's step`() throws {
    let device = try secondStep(loses: nil)
    #expect(device.samples.map(\.sequenceIndex) == [0, 1, 2])
    let kept = try secondStep(loses: false)
    #expect(kept.incomplete.isEmpty)
    #expect(kept.samples == device.samples)
    let lost = try secondStep(loses: true)
    #expect(lost.incomplete == [2])
    #expect(lost.samples == Array(device.samples[..<2]))
  }
}
