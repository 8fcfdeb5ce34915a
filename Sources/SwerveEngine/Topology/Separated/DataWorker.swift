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
  private let attention: LocalAttention
  private let incoming: any LinkChannel
  private let outgoing: any LinkChannel
  private var decoder: StepDecoder
  /// The step under way; its layers come in order. nil: none, or one that was refused.
  private var plan = StepPlan()
  private var step: (hash: UInt64, nextLayer: Int)?

  /// For tests: what goes wrong with the answer to the first layer of the n-th step.
  package enum Fault: Sendable, Hashable {
    /// Its blocks get another content without a word.
    case reusesBlocks(step: Int)
    case flipsBit(step: Int)
    case cutsMessage(step: Int)
    /// It ends in the middle of the layer.
    case ends(step: Int)
    /// From that step on every layer takes so much longer.
    case slows(step: Int, milliseconds: UInt32)

    var step: Int {
      switch self {
      case .reusesBlocks(let step), .flipsBit(let step), .cutsMessage(let step), .ends(let step),
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
    device = try CPUDevice(configuration: CPUConfiguration(threadCount: Int(greeting.threads), kernels: kernels))
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
    attention = try LocalAttention(
      shape: shape, type: greeting.type,
      limits: RunnerLimits(
        rows: limits.rows, sequences: limits.sequences, contextTokens: limits.contextTokens,
        blockTokens: limits.blockTokens), store: store, device: device)
    decoder = StepDecoder(limits: limits)
    // The first step finds all of it.
    plan.sequences.reserveCapacity(limits.sequences)
    plan.tokens.reserveCapacity(limits.rows)
    plan.blocks.reserveCapacity(limits.blockEntries)
    plan.copies.reserveCapacity(limits.copies)
  }

  package var answer: (kvBytes: Int, scratchBytes: Int, device: String) {
    let own = hasOwnPool ? store.cache.byteCount : 0
    return (store.cache.byteCount, device.memoryInUseBytes - own, device.name)
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
      if header.kind == .layer { try outgoing.send(MessageHeader.byteCount + outputBytes - cutBytes) }
      if greeting.sharesCores { device.pool.rest() }
    } catch let error as TransferError {
      step = nil
      try incoming.release()
      try refuse(header, "\(error)")
    }
  }

  private var outputBytes: Int { plan.tokens.count * shape.queryWidth * greeting.type.byteCount }

  private func begin(_ message: UnsafeRawBufferPointer, _ header: MessageHeader) throws {
    step = nil
    stepCount += 1
    try decoder.decode(message, header, into: &plan)
    store.apply(plan.copies.span)
    if plan.sequences.isEmpty { return }
    _ = attention.begin(plan)
    step = (header.hash, 0)
  }

  /// Attention of a layer, from the message's memory into that of the answer, which is then complete but for being sent.
  private func attend(_ message: UnsafeRawBufferPointer, _ header: MessageHeader) throws {
    let begin = TransferClock.now
    guard let step, header.plan == plan.id, header.hash == step.hash, Int(header.layer) == step.nextLayer,
      step.nextLayer < shape.layerCount
    else { throw TransferError.refused("layer \(header.layer) of step \(header.plan) came out of turn") }
    let rows = plan.tokens.count
    let queryBytes = rows * shape.queryWidth * greeting.type.byteCount
    let keyBytes = rows * shape.keyValueWidth * greeting.type.byteCount
    let key = MessageHeader.byteCount + LayerRows.lines(queryBytes)
    let value = key + LayerRows.lines(keyBytes)
    guard message.count == value + keyBytes, Int(header.rows) == rows, let start = message.baseAddress else {
      throw TransferError.malformed("a layer of \(header.rows) rows in \(message.count) bytes, where \(rows) are due")
    }
    func tensor(_ offset: Int, _ columns: Int) -> Tensor {
      Tensor(
        pointer: UnsafeMutableRawPointer(mutating: start + offset), type: greeting.type, rows: rows, columns: columns)
    }
    let answer = try outgoing.reserve(MessageHeader.byteCount + outputBytes)
    guard let output = answer.baseAddress else { return }
    attention.attend(
      layer: step.nextLayer, q: tensor(MessageHeader.byteCount, shape.queryWidth),
      k: tensor(key, shape.keyValueWidth), v: tensor(value, shape.keyValueWidth),
      into: Tensor(
        pointer: output + MessageHeader.byteCount, type: greeting.type, rows: rows, columns: shape.queryWidth))
    if case .slows(let first, let milliseconds) = fault, stepCount >= first {
      TransferClock.nap(microseconds: milliseconds * 1000)
    }
    self.step?.nextLayer += 1
    var done = MessageHeader(.output, plan: header.plan, epoch: greeting.epoch)
    done.layer = header.layer
    done.rows = header.rows
    done.hash = step.hash
    done.busy = TransferClock.now - begin
    done.write(to: answer)
    if fault?.step == stepCount, header.layer == 0 { misbehave(answer) }
  }

  private func misbehave(_ answer: UnsafeMutableRawBufferPointer) {
    switch fault {
    case .reusesBlocks: decoder.reuseAll()
    case .flipsBit: answer[9] ^= 0x10
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
