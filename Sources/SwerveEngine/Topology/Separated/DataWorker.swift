// The separated placement: parameters here, keys and values with data workers, which compute attention over them.
// DataWorker is the other side; DataLink is this side of one worker; DataSet owns the links; FanoutAttention is what the
// decoder pass sees. Nothing here may change a number by where it is computed.

import SwerveCore
import SwerveHardware
import SwerveInference
package import SwerveTransfer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A data worker: a pool of keys and values, attention over it, and nothing else of the model. It executes what its
/// parameter worker tells it, and takes no decision.
package final class DataWorker {
  private let greeting: WorkerGreeting
  private let shape: AttentionShape
  private let device: CPUDevice
  private let store: KVStore
  /// Whether its pool ends with it.
  private let hasOwnPool: Bool
  private let incoming: any LinkChannel
  private let outgoing: any LinkChannel
  private var decoder: StepDecoder
  /// A part of the step under way, whose layers come in order, and attention for it.
  private struct Part {
    let attention: LocalAttention
    var plan = StepPlan()
    var hash: UInt64 = 0
    /// nil: there is no such part, or it was refused.
    var nextLayer: Int?
  }
  private var parts: [Part] = []
  /// The step's number; 0: none yet.
  private var step: UInt64 = 0
  /// Bytes of the answer that was written last.
  private var answerBytes = 0

  /// For tests: what goes wrong with the answer to the first layer of the n-th step.
  package enum Fault: Sendable, Hashable {
    /// Its blocks get another content without a word.
    case reusesBlocks(step: Int)
    case flipsBit(step: Int)
    /// A bit of its output.
    case flipsRow(step: Int)
    case cutsMessage(step: Int)
    /// It ends in the middle of the layer.
    case ends(step: Int)
    /// From that step on its first layer takes so much longer.
    case slows(step: Int, milliseconds: UInt32)

    var step: Int {
      switch self {
      case .reusesBlocks(let step), .flipsBit(let step), .flipsRow(let step), .cutsMessage(let step), .ends(let step),
        .slows(let step, _):
        step
      }
    }
  }
  package var fault: Fault?
  private var stepCount = 0
  private var cutBytes = 0

  static let peer = "the parameter worker"

  /// - Parameters:
  ///   - kvBytes: of its pool at most; nil: as many as the greeting asks for.
  ///   - shared: memory of this host that it works in; nil: what its process was started with.
  /// - Throws: `HardwareError` where the greeting asks for what this machine does not have.
  package init(
    _ greeting: WorkerGreeting, incoming: any LinkChannel, outgoing: any LinkChannel, kvBytes: Int? = nil,
    shared: WorkerMemory? = WorkerMemory()
  ) throws {
    self.greeting = greeting
    self.incoming = incoming
    self.outgoing = outgoing
    shape = AttentionShape(
      headCount: Int(greeting.headCount), keyValueHeadCount: Int(greeting.keyValueHeadCount),
      headDim: Int(greeting.headDim), windows: greeting.windows.map { $0 == 0 ? nil : Int($0) })
    guard let kernels = KernelSet(rawValue: greeting.kernels), KernelSet.available.contains(kernels) else {
      throw TransferError.refused(
        "this CPU has no \(greeting.kernels) kernels, with which the parameter worker computes; set SWERVE_CPU_KERNELS to "
          + "one of " + KernelSet.available.map(\.rawValue).joined(separator: ", "))
    }
    let cpus = greeting.cpus.isEmpty ? nil : greeting.cpus.map(Int.init)
    device = try CPUDevice(
      configuration: CPUConfiguration(threadCount: Int(greeting.threads), kernels: kernels, cpus: cpus))
    // Memory that this thread touches first is to be near those that read it.
    device.confineCallingThread()
    let limits = greeting.limits
    let layout = try shape.layout(type: greeting.kvType, blockTokens: limits.blockTokens)
    if let kvBytes, layout.blockBytes > kvBytes / limits.blockCount {
      throw TransferError.refused(
        "this data worker gives \(kvBytes) bytes to keys and values and is asked for \(limits.blockCount) blocks of "
          + "\(layout.blockBytes); lower --kv-cache-memory-bytes there or raise it here")
    }
    let memory = try shared ?? WorkerMemory.inherited(greeting, blockBytes: layout.blockBytes)
    if greeting.limits.placeCount > 0 && memory.places == nil || greeting.regionBytes > 0 && memory.pool == nil {
      throw TransferError.refused(
        "memory of the parameter worker's host cannot be reached from here; start it without --kv-tiers for data workers "
          + "of other hosts")
    }
    hasOwnPool = memory.pool == nil
    var lower = LowerPlaces()
    lower.host = try memory.places.map {
      try SharedPlaces($0, placeCount: limits.placeCount, blockBytes: layout.blockBytes)
    }
    store = try KVStore(
      layout: layout, blockCount: limits.blockCount, device: device, lower: lower,
      region: memory.pool.map {
        MemoryRegion(firstByte: $0.start, byteCount: layout.blockBytes * limits.blockCount, owner: $0)
      })
    let takesShares = greeting.rowStateBytes > 0
    let stateBytes = AttentionBatch.stateBytes(rows: 1, queryHeads: shape.headCount, headDim: shape.headDim)
    guard !takesShares || stateBytes == Int(greeting.rowStateBytes) else {
      throw TransferError.refused(
        "a row's running values take \(stateBytes) bytes here and \(greeting.rowStateBytes) at the parameter worker; start "
          + "both from the same program")
    }
    decoder = StepDecoder(limits: limits, parts: Int(greeting.parts), takesShares: takesShares)
    for _ in 0..<greeting.parts {
      var part = Part(
        attention: try LocalAttention(
          shape: shape, type: greeting.type,
          limits: RunnerLimits(
            rows: limits.rows, sequences: limits.sequences, contextTokens: limits.contextTokens,
            blockTokens: limits.blockTokens), store: store, device: device, takesShares: takesShares))
      // The first step finds all of it.
      part.plan.sequences.reserveCapacity(limits.sequences)
      part.plan.tokens.reserveCapacity(limits.rows)
      part.plan.blocks.reserveCapacity(limits.blockEntries)
      part.plan.copies.reserveCapacity(limits.copies)
      parts.append(part)
    }
  }

  package var answer: (kvBytes: Int, scratchBytes: Int, device: String) {
    let own = hasOwnPool ? store.cache.byteCount : 0
    return (store.cache.byteCount, device.memoryInUseBytes - own, device.name)
  }

  /// Where it takes turns with the parameter worker on the same cores, the calling thread hands over on one of them.
  package func keepToSharedCore() {
    if greeting.sharesCores && greeting.cpus.isEmpty { device.confineCallingThread(to: Int(greeting.worker)) }
  }

  /// Whether a message came within so many seconds.
  package func waits(for seconds: Double) throws -> Bool { try incoming.hasMessage(within: seconds) }

  /// Takes one message and does what it says.
  ///
  /// - Throws: `ChannelError` when the parameter worker is gone or not to be understood. A step that cannot be executed is
  ///   answered with a refusal instead.
  package func takeMessage() throws {
    let message = try incoming.receive()
    let header = try MessageHeader(message, from: .parameter, peer: Self.peer)
    do {
      if header.epoch != greeting.epoch {
        throw TransferError.refused("a message for epoch \(header.epoch) reached epoch \(greeting.epoch)")
      }
      if header.kind == .step { try begin(message, header) } else { try attend(message, header) }
      try incoming.release()
      if header.kind == .layer { try outgoing.send(answerBytes - cutBytes) }
      if greeting.sharesCores { device.pool.rest() }
    } catch let error as TransferError {
      forgetStep()
      try incoming.release()
      try refuse(header, "\(error)")
    }
  }

  private func forgetStep() {
    for index in parts.indices { parts[index].nextLayer = nil }
  }

  private func begin(_ message: UnsafeRawBufferPointer, _ header: MessageHeader) throws {
    if header.plan != step {
      forgetStep()
      stepCount += 1
      step = header.plan
    }
    // The decoder refuses parts that there are not.
    let index = min(Int(header.part), parts.count - 1)
    parts[index].nextLayer = nil
    try decoder.decode(message, header, into: &parts[index].plan)
    parts[index].hash = header.hash
    let copies = parts[index].plan.copies
    store.apply(copies.span)
    if parts[index].plan.sequences.isEmpty { return }
    _ = parts[index].attention.begin(parts[index].plan)
    parts[index].nextLayer = 0
  }

  /// Whether it is a layer's turn: after the one before it, and after the same layer of the step's earlier parts,
  /// whose keys it may see.
  private func isDue(_ header: MessageHeader) -> Bool {
    let index = Int(header.part)
    guard index < parts.count, header.plan == step, header.hash == parts[index].hash,
      let next = parts[index].nextLayer, Int(header.layer) == next, next < shape.layerCount
    else { return false }
    return parts[..<index].allSatisfy { $0.nextLayer.map { $0 > next } ?? true }
  }

  /// Attention of a layer, from the message's memory into that of the answer, which is then complete but for being sent.
  private func attend(_ message: UnsafeRawBufferPointer, _ header: MessageHeader) throws {
    let begin = TransferClock.now
    guard isDue(header) else {
      throw TransferError.refused("layer \(header.layer) of step \(header.plan) came out of turn")
    }
    let index = Int(header.part)
    let attention = parts[index].attention
    let rows = parts[index].plan.tokens.count
    let queryBytes = rows * shape.queryWidth * greeting.type.byteCount
    let places = LayerRows.places(
      query: queryBytes, keyValue: rows * shape.keyValueWidth * greeting.type.byteCount,
      states: attention.incomingStateBytes)
    guard message.count == places.byteCount, Int(header.rows) == rows, let start = message.baseAddress else {
      throw TransferError.malformed("a layer of \(header.rows) rows in \(message.count) bytes, where \(rows) are due")
    }
    func tensor(_ offset: Int, _ columns: Int) -> Tensor {
      Tensor(
        pointer: UnsafeMutableRawPointer(mutating: start + offset), type: greeting.type, rows: rows, columns: columns)
    }
    let place = LayerRows.answer(output: queryBytes, states: attention.outgoingStateBytes)
    let answer = try outgoing.reserve(place.byteCount)
    guard let output = answer.baseAddress else { return }
    answerBytes = place.byteCount
    attention.attend(
      layer: Int(header.layer), q: tensor(MessageHeader.byteCount, shape.queryWidth),
      k: tensor(places.key, shape.keyValueWidth), v: tensor(places.value, shape.keyValueWidth),
      into: Tensor(
        pointer: output + MessageHeader.byteCount, type: greeting.type, rows: rows, columns: shape.queryWidth),
      taking: attention.incomingStateBytes > 0 ? start + places.states : nil,
      giving: attention.outgoingStateBytes > 0 ? output + place.states : nil)
    if case .slows(let first, let milliseconds) = fault, stepCount >= first, header.layer == 0 {
      TransferClock.nap(microseconds: milliseconds * 1000)
    }
    parts[index].nextLayer = Int(header.layer) + 1
    var done = MessageHeader(.output, plan: header.plan, epoch: greeting.epoch)
    done.layer = header.layer
    done.part = header.part
    done.rows = header.rows
    done.hash = header.hash
    done.busy = TransferClock.now - begin
    done.write(to: answer)
    if fault?.step == stepCount, header.layer == 0 { misbehave(answer) }
  }

  private func misbehave(_ answer: UnsafeMutableRawBufferPointer) {
    switch fault {
    case .reusesBlocks: decoder.reuseAll()
    case .flipsBit: answer[9] ^= 0x10
    case .flipsRow:
      (outgoing as? SharedChannel)?.damage = { [weak self] bytes in
        bytes[bytes.count / 2 + MessageHeader.byteCount / 2] ^= 0x40
        (self?.outgoing as? SharedChannel)?.damage = nil
      }
    case .cutsMessage: cutBytes = 64
    case .ends: exit(9)
    case .slows, nil: break
    }
  }

  private func refuse(_ header: MessageHeader, _ reason: String) throws {
    let text = Array(reason.utf8.prefix(1024))
    let answer = try outgoing.reserve(MessageHeader.byteCount + text.count)
    var refusal = MessageHeader(.refusal, plan: header.plan, epoch: greeting.epoch)
    if decoder.foundStaleBlock { refusal.layer = MessageHeader.staleBlock }
    refusal.write(to: answer)
    UnsafeMutableRawBufferPointer(rebasing: answer[MessageHeader.byteCount...]).copyBytes(from: text)
    try outgoing.send(answer.count)
  }
}
