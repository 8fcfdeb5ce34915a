import CAllocationCounter
import SwerveCore
import SwerveTransfer
import Testing

@Suite struct StepMessageTests {
  static let limits = StepMessage.Limits(rows: 64, sequences: 8, contextTokens: 256, blockTokens: 16, blockCount: 40)

  /// A step of two workers: blocks 0 ..< 40 are the first one's, 40 ..< 80 the second one's.
  private func plan(_ id: UInt64 = 1) -> StepPlan {
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
    add(20, after: 0, [3, 4])
    add(1, after: 0, [41])
    add(3, after: 0, [5])
    add(16, after: 0, [79])
    plan.copies = [BlockCopy(from: BlockID(40), to: BlockID(42)), BlockCopy(from: BlockID(6), to: BlockID(7))]
    return plan
  }

  private func encoded(_ encoder: inout StepEncoder, _ plan: StepPlan) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: encoder.measure(plan).byteCount)
    bytes.withUnsafeMutableBytes { _ = encoder.encode(plan, epoch: 5, into: $0) }
    return bytes
  }

  private func decode(_ decoder: inout StepDecoder, _ bytes: [UInt8]) throws -> StepPlan {
    var plan = StepPlan()
    try bytes.withUnsafeBytes {
      try decoder.decode($0, try MessageHeader($0, from: .parameter, peer: "p"), into: &plan)
    }
    return plan
  }

  @Test func eachWorkerLearnsItsShareOfAStep() throws {
    let plan = plan()
    var first = StepEncoder(limits: Self.limits, firstBlock: 0)
    var second = StepEncoder(limits: Self.limits, firstBlock: 40)
    #expect(first.measure(plan).rows == 23 && second.measure(plan).rows == 17)
    var one = StepDecoder(limits: Self.limits)
    let mine = try decode(&one, encoded(&first, plan))
    #expect(mine.sequences.map(\.rowCount) == [20, 3] && mine.sequences.map(\.firstRow) == [0, 20])
    #expect(mine.blocks.map(\.rawValue) == [3, 4, 5] && mine.sequences.map(\.firstBlock) == [0, 2])
    #expect(mine.copies == [BlockCopy(from: BlockID(6), to: BlockID(7))] && mine.tokens.count == 23 && mine.id == 1)
    var two = StepDecoder(limits: Self.limits)
    let other = try decode(&two, encoded(&second, plan))
    #expect(other.blocks.map(\.rawValue) == [1, 39] && other.copies == [BlockCopy(from: BlockID(0), to: BlockID(2))])
    let third = StepEncoder(limits: Self.limits, firstBlock: 80)
    #expect(third.measure(plan) == (0, 0))
  }

  /// Places below all pools: numbered behind the worker's own blocks, read from and never written to.
  @Test func placesBelowThePoolsAreOnlyRead() throws {
    func step(_ context: Int, _ blocks: [Int]) -> StepPlan {
      var plan = StepPlan()
      plan.id = 2
      plan.sequences = [
        SequenceStep(
          sequence: SequenceID(request: RequestID(rawValue: 1), index: 0), slot: SlotID(0), firstRow: 0, rowCount: 1,
          contextTokens: Int32(context), promptTokens: 1, firstBlock: 0, blockCount: Int32(blocks.count), samples: true)
      ]
      plan.tokens = [1]
      plan.blocks = blocks.map { BlockID($0) }
      return plan
    }
    var limits = Self.limits
    limits.placeCount = 5
    // Two workers of 40 blocks, then the places.
    func pair(_ limits: StepMessage.Limits) -> (StepEncoder, StepDecoder) {
      (StepEncoder(limits: limits, firstBlock: 40, firstPlace: 80), StepDecoder(limits: limits))
    }
    var (encoder, decoder) = pair(limits)
    let good = step(40, [80, 84, 43])
    #expect(encoder.measure(good).rows == 1, "whose it is, its last block says")
    #expect(try decode(&decoder, encoded(&encoder, good)).blocks.map(\.rawValue) == [40, 44, 3])
    #expect(StepEncoder(limits: limits, firstBlock: 0, firstPlace: 80).measure(good) == (0, 0))
    for (wrong, part) in [
      (step(40, [80, 85, 43]), "and 5 places below"), (step(31, [80, 81, 43]), "writes to place 1"),
      (step(15, [80, 43]), "writes to place 0"),
    ] {
      var (encoder, decoder) = pair(limits)
      #expect {
        try decode(&decoder, encoded(&encoder, wrong))
      } throws: { "\($0)".contains(part) }
    }
    // A worker that was given none knows none.
    var plain = StepDecoder(limits: Self.limits)
    #expect(throws: TransferError.self) { try decode(&plain, encoded(&encoder, good)) }
    // Any entry is a plan that reads within the limits, or an error.
    var accepted = 0
    for block in -3..<60 as Range<Int32> {
      for context in [0, 15, 16, 40, 47] {
        var (encoder, decoder) = pair(limits)
        var bytes = encoded(&encoder, step(context, [81, 82, 43]))
        withUnsafeBytes(of: block) { bytes.replaceSubrange(64 + 32..<64 + 36, with: $0) }
        var header = try bytes.withUnsafeBytes { try MessageHeader($0, from: .parameter, peer: "p") }
        var hash = WordHash()
        bytes.withUnsafeBytes { hash.absorb(UnsafeRawBufferPointer(rebasing: $0[64...])) }
        header.hash = hash.value
        bytes.withUnsafeMutableBytes { header.write(to: $0) }
        guard let plan = try? decode(&decoder, bytes) else { continue }
        accepted += 1
        #expect(plan.blocks.allSatisfy { (0..<45).contains($0.rawValue) })
        let written = context / 16
        #expect(plan.blocks[written...].allSatisfy { $0.rawValue < 40 })
      }
    }
    #expect(accepted > 20)
  }

  @Test func aStepIsExecutedOnceAndInOrder() throws {
    var encoder = StepEncoder(limits: Self.limits, firstBlock: 0)
    var decoder = StepDecoder(limits: Self.limits)
    let bytes = encoded(&encoder, plan(4))
    _ = try decode(&decoder, bytes)
    #expect(throws: TransferError.self) { try decode(&decoder, bytes) }
    let older = encoded(&encoder, plan(3))
    #expect(throws: TransferError.self) { try decode(&decoder, older) }
  }

  /// A step that goes on from blocks: the reader compares what they are with what the step means.
  @Test func aStaleReferenceIsRefused() throws {
    func next(_ id: UInt64, _ context: Int, _ block: Int) -> StepPlan {
      var plan = StepPlan()
      plan.id = id
      plan.sequences = [
        SequenceStep(
          sequence: SequenceID(request: RequestID(rawValue: 1), index: 0), slot: SlotID(0), firstRow: 0, rowCount: 1,
          contextTokens: Int32(context), promptTokens: 1, firstBlock: 0, blockCount: 1, samples: true)
      ]
      plan.tokens = [1]
      plan.blocks = [BlockID(block)]
      return plan
    }
    var encoder = StepEncoder(limits: Self.limits, firstBlock: 0)
    var decoder = StepDecoder(limits: Self.limits)
    _ = try decode(&decoder, encoded(&encoder, next(1, 0, 3)))
    _ = try decode(&decoder, encoded(&encoder, next(2, 1, 3)))
    // What another planner, that did not see the block begun anew, means by block 3.
    var stale = encoder
    _ = try decode(&decoder, encoded(&encoder, next(3, 0, 3)))
    #expect {
      try decode(&decoder, encoded(&stale, next(4, 2, 3)))
    } throws: { "\($0)".contains("generation") }
    _ = try decode(&decoder, encoded(&encoder, next(5, 1, 3)))
    // A worker that was replaced has none of it.
    var fresh = StepDecoder(limits: Self.limits)
    #expect(throws: TransferError.self) { try decode(&fresh, encoded(&encoder, next(6, 2, 3))) }
    encoder.reset()
    _ = try decode(&fresh, encoded(&encoder, next(7, 0, 3)))
  }

  @Test func everyFlippedBitOfAStepIsAnError() throws {
    var encoder = StepEncoder(limits: Self.limits, firstBlock: 0)
    let bytes = encoded(&encoder, plan())
    // The header's last 16 bytes mean nothing.
    for bit in 0..<bytes.count * 8 where !(48 * 8..<64 * 8).contains(bit) {
      var damaged = bytes
      damaged[bit / 8] ^= UInt8(1 << (bit % 8))
      var decoder = StepDecoder(limits: Self.limits)
      #expect(throws: (any Error).self, "bit \(bit)") { try decode(&decoder, damaged) }
    }
    for length in 0..<bytes.count {
      var decoder = StepDecoder(limits: Self.limits)
      #expect(throws: (any Error).self, "\(length) bytes") { try decode(&decoder, Array(bytes[..<length])) }
    }
  }

  /// Bodies with valid hashes and any content: a plan that keeps to the limits, or an error, and never a trap.
  @Test func anyBodyIsAPlanWithinTheLimitsOrAnError() throws {
    var state: UInt64 = 7
    func random(_ limit: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int((state >> 33) % UInt64(limit))
    }
    var accepted = 0
    for round in 0..<40_000 {
      var encoder = StepEncoder(limits: Self.limits, firstBlock: 0)
      var bytes = encoded(&encoder, plan())
      for _ in 0..<random(4) {
        let at = 64 + random((bytes.count - 64) / 4) * 4
        let value: Int32 = [Int32(random(60)), -1, .max, .min, Int32(random(3))][random(5)]
        withUnsafeBytes(of: value) { bytes.replaceSubrange(at..<at + 4, with: $0) }
      }
      if round % 3 == 0 { bytes.removeLast(random(bytes.count - 64)) }
      var header = try bytes.withUnsafeBytes { try MessageHeader($0, from: .parameter, peer: "p") }
      var hash = WordHash()
      bytes.withUnsafeBytes { hash.absorb(UnsafeRawBufferPointer(rebasing: $0[64...])) }
      header.hash = hash.value
      if random(2) == 0 { header.rows = UInt32(random(64)) }
      bytes.withUnsafeMutableBytes { header.write(to: $0) }
      var decoder = StepDecoder(limits: Self.limits)
      guard let plan = try? decode(&decoder, bytes) else { continue }
      accepted += 1
      #expect(plan.tokens.count <= Self.limits.rows && plan.sequences.count <= Self.limits.sequences)
      #expect(plan.blocks.allSatisfy { (0..<40).contains($0.rawValue) })
      for step in plan.sequences {
        #expect(Int(step.contextTokens + step.rowCount) <= Int(step.blockCount) * 16)
        #expect(Int(step.firstBlock + step.blockCount) <= plan.blocks.count)
        #expect(Int(step.firstRow + step.rowCount) <= plan.tokens.count)
      }
    }
    #expect(accepted > 1000 && accepted < 39_000)
  }

  @Test func codingAllocatesNothingOnceThereIsRoom() throws {
    var encoder = StepEncoder(limits: Self.limits, firstBlock: 0)
    var decoder = StepDecoder(limits: Self.limits)
    var step = plan()
    var bytes = [UInt8](repeating: 0, count: encoder.measure(step).byteCount)
    var out = StepPlan()
    func round() throws {
      for _ in 0..<50 {
        step.id += 1
        try bytes.withUnsafeMutableBytes {
          _ = encoder.encode(step, epoch: 5, into: $0)
          let message = UnsafeRawBufferPointer($0)
          try decoder.decode(message, try MessageHeader(message, from: .parameter, peer: "p"), into: &out)
        }
      }
    }
    try round()
    let before = allocation_count()
    try round()
    #expect(allocation_count() == before)
  }
}

@Suite struct MessageHeaderTests {
  @Test func aRoleSendsOnlyItsOwnMessages() throws {
    for kind in [MessageHeader.Kind.step, .layer, .output, .refusal] {
      var header = MessageHeader(kind, plan: 3, epoch: 1)
      header.busy = 77
      var bytes = [UInt8](repeating: 0, count: 64)
      bytes.withUnsafeMutableBytes { header.write(to: $0) }
      let other = header.sender == .data ? MessageHeader.Role.parameter : .data
      let own = try bytes.withUnsafeBytes { try MessageHeader($0, from: header.sender, peer: "p") }
      #expect(own == header)
      #expect {
        _ = try bytes.withUnsafeBytes { try MessageHeader($0, from: other, peer: "p") }
      } throws: {
        "\($0)".contains("must not send")
      }
    }
  }
}

@Suite struct HandshakeTests {
  static func greeting() -> WorkerGreeting {
    WorkerGreeting(
      version: "1.0", fingerprint: [1, 2, 3], worker: 1, epoch: 4, type: .bfloat16, kvType: .int8, kernels: "scalar",
      threads: 2, sharesCores: true, headCount: 8, keyValueHeadCount: 2, headDim: 64, windows: [nil, 128, nil],
      limits: StepMessageTests.limits, deadline: 1.5)
  }

  @Test func messagesComeBackAsTheyWere() throws {
    var greeting = Self.greeting()
    greeting.regionBytes = 7 << 30
    greeting.takesTurns = true
    greeting.limits.placeCount = 9
    greeting.cpus = [4, 5, 70]
    let answer = WorkerAnswer(greeting, version: "1.0", kvBytes: 1 << 40, scratchBytes: 5, device: "cpu:0-1")
    for message in [
      ControlMessage.greet(greeting), .stop, .ready(answer), .refused("why not: \"ünsauber\""),
    ] {
      #expect(try ControlMessage(message.bytes, from: message.sender) == message)
      let other = message.sender == .data ? MessageHeader.Role.parameter : .data
      #expect(throws: TransferError.self) { try ControlMessage(message.bytes, from: other) }
    }
    try answer.check(against: greeting)
  }

  @Test func aWorkerOfAnotherKindIsRefusedInOneSentence() throws {
    let greeting = Self.greeting()
    let answer = WorkerAnswer(greeting, version: "1.0", kvBytes: 1, scratchBytes: 5, device: "cpu:0-1")
    for (change, word) in [
      ({ $0.version = "0.9" }, "version 0.9"), ({ $0.fingerprint = [9] }, "other weights"),
      ({ $0.kernels = "amx" }, "amx kernels"), ({ $0.epoch = 3 }, "epoch 3"),
    ] as [((inout WorkerAnswer) -> Void, String)] {
      var wrong = answer
      change(&wrong)
      #expect {
        try wrong.check(against: greeting)
      } throws: { "\($0)".contains(word) && !"\($0)".contains("\n") }
    }
  }

  @Test func damageAndRandomBytesAreErrors() throws {
    let bytes = ControlMessage.greet(Self.greeting()).bytes
    for bit in 0..<bytes.count * 8 {
      var damaged = bytes
      damaged[bit / 8] ^= UInt8(1 << (bit % 8))
      #expect(throws: TransferError.self) { try ControlMessage(damaged, from: .parameter) }
    }
    for length in 0..<bytes.count {
      #expect(throws: TransferError.self) { try ControlMessage(Array(bytes[..<length]), from: .parameter) }
    }
    // With a hash that fits, any fields at all.
    var state: UInt64 = 3
    var accepted = 0
    for _ in 0..<20_000 {
      var changed = Array(bytes.dropLast(8))
      for _ in 0..<3 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        changed[Int(state >> 33) % changed.count] = UInt8(truncatingIfNeeded: state >> 50)
      }
      var hash = WordHash()
      changed.withUnsafeBytes { hash.absorb($0) }
      withUnsafeBytes(of: hash.value.littleEndian) { changed += $0 }
      if (try? ControlMessage(changed, from: .parameter)) != nil { accepted += 1 }
    }
    #expect(accepted > 0 && accepted < 20_000)
  }
}
