import SwerveCore
import SwerveTransfer
import Testing

/// Steps of sequences that lie with several workers, and steps in several parts.
@Suite struct StepShareTests {
  /// Partitions of 256 tokens are 16 blocks here; a worker has 40.
  static let limits = StepMessage.Limits(rows: 64, sequences: 8, contextTokens: 1024, blockTokens: 16, blockCount: 40)

  /// One sequence in both workers, 32 blocks with the second one and 5 with the first one, and one with the first
  /// alone.
  private func plan(_ id: UInt64 = 1, rows: Int = 10, context: Int = 570) -> StepPlan {
    var plan = StepPlan()
    plan.id = id
    func add(_ rows: Int, after context: Int, _ blocks: [Int]) {
      plan.sequences.append(
        SequenceStep(
          sequence: SequenceID(request: RequestID(rawValue: 9), index: 0), slot: SlotID(plan.sequences.count),
          firstRow: Int32(plan.tokens.count), rowCount: Int32(rows), contextTokens: Int32(context), promptTokens: 5,
          firstBlock: Int32(plan.blocks.count), blockCount: Int32(blocks.count), samples: true))
      plan.tokens += [TokenID](repeating: 7, count: rows)
      plan.blocks += blocks.map { BlockID($0) }
    }
    add(rows, after: context, Array(41..<73) + Array(3..<8))
    add(1, after: 0, [20])
    plan.copies = [BlockCopy(from: BlockID(30), to: BlockID(31))]
    return plan
  }

  private func encoded(_ encoder: inout StepEncoder, _ plan: StepPlan, part: Int = 0, turn: Int = 0) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: encoder.measure(plan, turn: turn).byteCount)
    bytes.withUnsafeMutableBytes { _ = encoder.encode(plan, epoch: 5, part: part, turn: turn, into: $0) }
    return bytes
  }

  private func decode(_ decoder: inout StepDecoder, _ bytes: [UInt8]) throws -> StepPlan {
    var plan = StepPlan()
    try bytes.withUnsafeBytes {
      try decoder.decode($0, try MessageHeader($0, from: .parameter, peer: "p"), into: &plan)
    }
    return plan
  }

  private func decoder(takesShares: Bool = true) -> StepDecoder {
    StepDecoder(limits: Self.limits, parts: 3, takesShares: takesShares)
  }

  @Test func eachWorkerHasItsTurn() throws {
    let step = plan(rows: 10, context: 570)
    let banks = StepPlan.Banks(blocks: 40, blockTokens: 16)
    #expect(step.stretch(0, of: step.sequences[0], in: banks)?.bank == 1)
    #expect(step.stretch(1, of: step.sequences[0], in: banks)?.positions == 32..<37)
    #expect(step.stretch(2, of: step.sequences[0], in: banks) == nil)
    #expect(step.stretch(1, of: step.sequences[1], in: banks) == nil)

    let plan = plan()
    var first = StepEncoder(limits: Self.limits, firstBlock: 0)
    var second = StepEncoder(limits: Self.limits, firstBlock: 40)
    #expect(first.measure(plan).rows == 1 && first.measure(plan, turn: 1).rows == 10)
    #expect(second.measure(plan).rows == 10 && second.measure(plan, turn: 1) == (0, 0))
    // Blocks that were begun in earlier steps have generation 0 on both sides here.
    var one = decoder()
    let own = try decode(&one, encoded(&first, plan))
    #expect(own.sequences.map(\.rowCount) == [1] && own.copies == plan.copies && own.blocks == [BlockID(20)])
    let next = try decode(&one, encoded(&first, plan, part: 1, turn: 1))
    #expect(next.blocks.map(\.rawValue) == [3, 4, 5, 6, 7] && next.copies.isEmpty)
    #expect(next.sequences.map(\.blocksBefore) == [32] && next.sequences.map(\.contextTokens) == [570])
    var two = decoder()
    let other = try decode(&two, encoded(&second, plan))
    #expect(other.blocks.map(\.rawValue) == Array(1..<33) && other.sequences.map(\.blocksBefore) == [0])
  }

  @Test func partsComeInOrderAndOnce() throws {
    var encoder = StepEncoder(limits: Self.limits, firstBlock: 0)
    var decoder = decoder()
    let step = plan(4)
    let first = encoded(&encoder, step)
    let second = encoded(&encoder, step, part: 1, turn: 1)
    _ = try decode(&decoder, first)
    _ = try decode(&decoder, second)
    #expect(throws: TransferError.self) { try decode(&decoder, second) }
    #expect(throws: TransferError.self) { try decode(&decoder, first) }
    let beyond = encoded(&encoder, plan(5), part: 3)
    #expect(throws: TransferError.self) { try decode(&decoder, beyond) }
    _ = try decode(&decoder, encoded(&encoder, plan(6), part: 2))
  }

  @Test func aShareIsRefusedWhereNobodyHandsValuesOn() throws {
    var encoder = StepEncoder(limits: Self.limits, firstBlock: 0)
    var other = StepEncoder(limits: Self.limits, firstBlock: 40)
    var decoder = decoder(takesShares: false)
    let later = encoded(&encoder, plan(1), part: 1, turn: 1)
    let earlier = encoded(&other, plan(2))
    #expect(throws: TransferError.self) { try decode(&decoder, later) }
    #expect(throws: TransferError.self) { try decode(&decoder, earlier) }
  }

  @Test func aBlockBegunAnewIsNoticedInAShare() throws {
    var encoder = StepEncoder(limits: Self.limits, firstBlock: 0)
    var decoder = decoder()
    var stale = encoder
    // Begins the fifth block of the share: position 36 of the table holds tokens from 576 on.
    _ = try decode(&decoder, encoded(&encoder, plan(1, rows: 10, context: 570), part: 1, turn: 1))
    #expect {
      try decode(&decoder, encoded(&stale, plan(2, rows: 1, context: 580), part: 1, turn: 1))
    } throws: { "\($0)".contains("generation") }
    _ = try decode(&decoder, encoded(&encoder, plan(3, rows: 1, context: 580), part: 1, turn: 1))
  }

  /// Bodies with valid hashes and any numbers: what is accepted keeps to whole partitions, and nothing traps.
  @Test func anyShareIsOneOrAnError() throws {
    var state: UInt64 = 11
    func random(_ limit: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int((state >> 33) % UInt64(limit))
    }
    var accepted = 0
    for round in 0..<20_000 {
      var encoder = StepEncoder(limits: Self.limits, firstBlock: round % 2 * 40)
      let step = plan(rows: 1 + random(40), context: 530 + random(20))
      var bytes = encoded(&encoder, step, turn: round % 2 == 0 ? 1 : 0)
      if bytes.isEmpty { continue }
      for _ in 0..<random(3) {
        let at = 64 + random((bytes.count - 64) / 4) * 4
        let value: Int32 = [Int32(random(60)), -16, 16, .max, .min, Int32(16 * random(5))][random(6)]
        withUnsafeBytes(of: value) { bytes.replaceSubrange(at..<at + 4, with: $0) }
      }
      var header = try bytes.withUnsafeBytes { try MessageHeader($0, from: .parameter, peer: "p") }
      var hash = WordHash()
      bytes.withUnsafeBytes { hash.absorb(UnsafeRawBufferPointer(rebasing: $0[64...])) }
      header.hash = hash.value
      bytes.withUnsafeMutableBytes { header.write(to: $0) }
      var decoder = decoder()
      guard let plan = try? decode(&decoder, bytes) else { continue }
      accepted += 1
      for step in plan.sequences {
        let (tokens, end) = (Int(step.contextTokens + step.rowCount), Int(step.blocksBefore + step.blockCount))
        #expect(step.blocksBefore >= 0 && step.blocksBefore % 16 == 0 && Int(step.blocksBefore) * 16 < tokens)
        #expect(tokens <= end * 16 || end % 16 == 0)
      }
    }
    #expect(accepted > 1000 && accepted < 19_999)
  }
}
