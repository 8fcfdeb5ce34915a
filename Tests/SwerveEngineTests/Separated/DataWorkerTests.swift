import Foundation
import SwerveCore
import SwerveEngine
import SwerveTransfer
import Synchronization
import Testing

/// A data worker alone, talked to by hand: what it is told wrongly it refuses, and it goes on.
@Suite struct DataWorkerTests {
  static let heads = 4
  static let keyHeads = 2
  static let dim = 8
  static let layers = 2

  /// A worker in a thread, and this side of its link.
  final class Link {
    let greeting: WorkerGreeting
    let memory: SharedMemory
    let control: ControlSocket
    let outgoing: SharedChannel
    let incoming: SharedChannel
    var encoder: StepEncoder

    init(version: String = "1") throws {
      greeting = WorkerGreeting(
        version: version, fingerprint: [1], worker: 0, epoch: 3, type: .float32, kvType: .float32, kernels: "scalar",
        threads: 1, sharesCores: true, headCount: heads, keyValueHeadCount: keyHeads, headDim: dim,
        windows: [nil, nil],
        limits: StepMessage.Limits(rows: 8, sequences: 4, contextTokens: 64, blockTokens: 16, blockCount: 6),
        deadline: 10)
      let memory = try SharedMemory(byteCount: greeting.memoryBytes)
      let (own, other) = try ControlSocket.pair()
      (self.memory, control) = (memory, own)
      Worker { _ = DataWorkerMain.run(control: other, memory: memory, version: "1") }
      let settings = SharedChannel.Settings(peer: "the worker", deadline: 10, spin: SpinBudget(threads: 1), watch: own)
      outgoing = SharedChannel(memory, at: 0, capacity: Int(greeting.capacity), end: .sender, settings)
      incoming = SharedChannel(
        memory, at: greeting.channelBytes, capacity: Int(greeting.capacity), end: .receiver, settings)
      encoder = StepEncoder(limits: greeting.limits, firstBlock: 0)
      try control.send(ControlMessage.greet(greeting).bytes)
    }

    func answer() throws -> ControlMessage {
      guard let bytes = try control.receive(within: 30, from: "the worker") else {
        throw TestFailure(description: "no answer")
      }
      return try ControlMessage(bytes, from: .data)
    }

    /// One sequence of `rows` rows after `context` tokens in block 1.
    func plan(_ id: UInt64, rows: Int, after context: Int) -> StepPlan {
      var plan = StepPlan()
      plan.id = id
      plan.sequences = [
        SequenceStep(
          sequence: SequenceID(request: RequestID(rawValue: 1), index: 0), slot: SlotID(0), firstRow: 0,
          rowCount: Int32(rows), contextTokens: Int32(context), promptTokens: 1, firstBlock: 0, blockCount: 1,
          samples: true)
      ]
      plan.tokens = [TokenID](repeating: 1, count: rows)
      plan.blocks = [BlockID(1)]
      return plan
    }

    /// Sends a step, changed on its way.
    @discardableResult
    func send(_ plan: StepPlan, change: (UnsafeMutableRawBufferPointer) -> Void = { _ in }) throws -> UInt64 {
      let message = try outgoing.reserve(encoder.measure(plan).byteCount)
      let hash = encoder.encode(plan, epoch: 3, into: message)
      change(message)
      try outgoing.send(message.count)
      return hash
    }

    func sendLayer(
      _ layer: Int, of plan: StepPlan, hash: UInt64, change: (UnsafeMutableRawBufferPointer) -> Void = { _ in }
    ) throws {
      let rows = plan.tokens.count
      let query = LayerRows.lines(rows * heads * dim * 4)
      let key = LayerRows.lines(rows * keyHeads * dim * 4)
      let message = try outgoing.reserve(64 + query + key + rows * keyHeads * dim * 4)
      for index in 64..<message.count where index % 4 == 3 { message[index] = UInt8(60 + index % 4) }
      var header = MessageHeader(.layer, plan: plan.id, epoch: 3)
      header.layer = UInt32(layer)
      header.rows = UInt32(rows)
      header.hash = hash
      header.write(to: message)
      change(message)
      try outgoing.send(message.count)
    }

    /// The kind of the next answer, and what it says.
    func reply() throws -> (MessageHeader, String) {
      let message = try incoming.receive()
      let header = try MessageHeader(message, from: .data, peer: "the worker")
      let text = header.kind == .refusal ? String(decoding: message[64...], as: UTF8.self) : ""
      try incoming.release()
      return (header, text)
    }
  }

  private func start() throws -> Link {
    let link = try Link()
    guard case .ready(let answer) = try link.answer() else { throw TestFailure(description: "not ready") }
    try answer.check(against: link.greeting)
    #expect(answer.kvBytes == 6 * 16 * 2 * 16 * 2 * 4)
    return link
  }

  @Test func aStepIsAnsweredLayerByLayer() throws {
    let link = try start()
    for id in 1...5 as ClosedRange<UInt64> {
      let plan = link.plan(id, rows: id == 1 ? 3 : 1, after: id == 1 ? 0 : Int(id) + 1)
      let hash = try link.send(plan)
      for layer in 0..<Self.layers {
        try link.sendLayer(layer, of: plan, hash: hash)
        let (header, _) = try link.reply()
        #expect(header.kind == .output && header.plan == id && Int(header.layer) == layer && header.hash == hash)
      }
    }
  }

  @Test func aSkewedPlanIsRefusedAndTheNextOneIsNot() throws {
    let link = try start()
    // One block id is another than the hash was made for.
    let plan = link.plan(1, rows: 2, after: 0)
    let hash = try link.send(plan) { $0.storeBytes(of: 4, toByteOffset: 64 + 16 + 16, as: Int32.self) }
    #expect(try link.reply().1.contains("plans of two workers differ"))
    try link.sendLayer(0, of: plan, hash: hash)
    #expect(try link.reply().1.contains("out of turn"))
    // Begun here and refused there: this side's count is ahead, so what goes on from the block is refused as well.
    try link.send(link.plan(2, rows: 1, after: 2))
    #expect(try link.reply().1.contains("generation"))
    link.encoder.reset()
    let next = link.plan(3, rows: 2, after: 0)
    let other = try link.send(next)
    for layer in 0..<Self.layers {
      try link.sendLayer(layer, of: next, hash: other)
      #expect(try link.reply().0.kind == .output)
    }
    // Beyond the last layer there is nothing.
    try link.sendLayer(2, of: next, hash: other)
    #expect(try link.reply().1.contains("out of turn"))
  }

  @Test func layersOfOtherRowsStepsOrEpochsAreRefused() throws {
    let link = try start()
    let changes: [(inout MessageHeader) -> Void] = [
      { $0.rows = 2 }, { $0.layer = 1 }, { $0.plan = 77 }, { $0.hash ^= 1 }, { $0.epoch = 2 },
    ]
    for (id, change) in changes.enumerated() {
      let plan = link.plan(UInt64(10 + id), rows: 1, after: 0)
      let hash = try link.send(plan)
      try link.sendLayer(0, of: plan, hash: hash) { message in
        var header = MessageHeader(.layer, plan: plan.id, epoch: 3)
        header.rows = 1
        header.hash = hash
        change(&header)
        header.write(to: message)
      }
      #expect(try link.reply().0.kind == .refusal)
    }
  }

  @Test func everyFlippedBitOfAHeaderEndsTheLinkOrIsRefused() throws {
    for bit in stride(from: 0, to: 48 * 8, by: 5) {
      let link = try start()
      let plan = link.plan(1, rows: 1, after: 0)
      try link.send(plan) { $0[bit / 8] ^= UInt8(1 << (bit % 8)) }
      do {
        let (header, _) = try link.reply()
        #expect(header.kind == .refusal, "bit \(bit)")
      } catch let error as ChannelError {
        // It does not listen to somebody who cannot be understood.
        #expect(error == .closed(peer: "the worker"), "bit \(bit)")
      }
    }
  }

  @Test func aDataWorkerNeverTakesADataWorkersMessages() throws {
    let link = try start()
    let message = try link.outgoing.reserve(64)
    MessageHeader(.output, plan: 1, epoch: 3).write(to: message)
    try link.outgoing.send(64)
    #expect(throws: ChannelError.closed(peer: "the worker")) { try link.reply() }
  }

  @Test func anotherVersionIsRefused() throws {
    let link = try Link(version: "2")
    guard case .refused(let reason) = try link.answer() else {
      Issue.record("a worker of version 1 works for version 2")
      return
    }
    #expect(reason.contains("version 2"))
  }
}

/// Runs on a thread of its own.
private struct Worker {
  @discardableResult init(_ body: @escaping @Sendable () -> Void) { Thread.detachNewThread(body) }
}
