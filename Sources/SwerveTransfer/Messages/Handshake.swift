package import SwerveCore

/// What a data worker has to be: sent to it before anything else. It answers `ready`, or why not; no request is accepted
/// before all workers are ready.
package struct WorkerGreeting: Sendable, Hashable {
  /// Raised whenever messages or arithmetic change.
  package static let protocolVersion: UInt32 = 7

  /// The program's version.
  package var version: String
  /// What the weights, types and kernels are: keys and values of other ones mean nothing here.
  package var fingerprint: [UInt8]
  package var role = MessageHeader.Role.data
  /// Its number among the data workers, and its incarnation.
  package var worker: UInt32
  package var epoch: UInt32
  package var type: ElementType
  package var kvType: KVType
  /// Name of the kernel set: results are the same within one.
  package var kernels: String
  package var threads: UInt32
  package var sharesCores: Bool
  /// Whether this worker and who greets it hand over on one core.
  package var takesTurns = false
  package var headCount: UInt32
  package var keyValueHeadCount: UInt32
  package var headDim: UInt32
  /// [layers] tokens a query sees; 0 = all.
  package var windows: [UInt32]
  package var limits: StepMessage.Limits
  /// Parts of a step at most that are under way at once.
  package var parts: UInt32
  /// Bytes of a row's running values, which go from worker to worker where a sequence lies with several; 0: none does.
  package var rowStateBytes: UInt32
  /// Bytes of the longest message each way.
  package var capacity: UInt64
  /// Seconds after which a silent parameter worker is gone.
  package var deadline: Double
  /// Bytes of the pool of keys and values in the region that the worker finds with what its predecessor left there; 0:
  /// there is none, and the pool is the worker's own.
  package var regionBytes: UInt64 = 0
  /// Whether rows and answers in shared memory are checked over all of their bytes.
  package var checksContent = false
  /// CPUs of its threads, as many as those at least; empty: the worker's own choice.
  package var cpus: [UInt32] = []

  package init(
    version: String, fingerprint: [UInt8], worker: Int, epoch: UInt32, type: ElementType, kvType: KVType,
    kernels: String, threads: Int, sharesCores: Bool, headCount: Int, keyValueHeadCount: Int, headDim: Int,
    windows: [Int?], limits: StepMessage.Limits, deadline: Double, parts: Int = 1, rowStateBytes: Int = 0
  ) {
    self.version = version
    self.fingerprint = fingerprint
    self.worker = UInt32(worker)
    self.epoch = epoch
    self.type = type
    self.kvType = kvType
    self.kernels = kernels
    self.threads = UInt32(threads)
    self.sharesCores = sharesCores
    self.headCount = UInt32(headCount)
    self.keyValueHeadCount = UInt32(keyValueHeadCount)
    self.headDim = UInt32(headDim)
    self.windows = windows.map { UInt32($0 ?? 0) }
    self.limits = limits
    self.deadline = deadline
    self.parts = UInt32(parts)
    self.rowStateBytes = UInt32(rowStateBytes)
    let rowBytes = (headCount + 2 * keyValueHeadCount) * headDim * type.byteCount + rowStateBytes
    // Parts of a step have a header and an end of a line each.
    capacity = UInt64(
      max(LayerRows.byteCount(rows: limits.rows, rowBytes: rowBytes), limits.byteCount) + (parts - 1) * 512)
  }

  /// Bytes of the memory that both channels lie in: first the one to the worker, then the one from it.
  package var memoryBytes: Int { 2 * channelBytes }
  package var channelBytes: Int { SharedChannel.byteCount(capacity: Int(capacity)) }

  /// How either side uses these channels.
  ///
  /// - Parameters:
  ///   - peer: the other side's name in errors.
  ///   - watch: tells of one that ended without closing.
  package func channelSettings(peer: String, watch: any PeerWatch) -> SharedChannel.Settings {
    SharedChannel.Settings(
      peer: peer, deadline: deadline, spin: SpinBudget(threads: sharesCores ? .max : Int(threads)),
      turns: TurnBudget(isOn: takesTurns), watch: watch, checksContent: checksContent)
  }
}

/// Rows of a layer in a message: the header, then queries, keys and values, or outputs, each from a whole line on;
/// behind them running values of sequences that lie with several workers.
package enum LayerRows {
  /// Bytes at most, of four parts.
  static func byteCount(rows: Int, rowBytes: Int) -> Int { MessageHeader.byteCount + rows * rowBytes + 4 * 64 }

  /// Where the parts of a layer's message begin, and its bytes. Queries begin behind the header.
  package static func places(
    query: Int, keyValue: Int, states: Int
  ) -> (key: Int, value: Int, states: Int, byteCount: Int) {
    let key = MessageHeader.byteCount + lines(query)
    let value = key + lines(keyValue)
    let last = value + keyValue
    return (key, value, value + lines(keyValue), states == 0 ? last : value + lines(keyValue) + states)
  }

  /// The same for its answer. Outputs begin behind the header.
  package static func answer(output: Int, states: Int) -> (states: Int, byteCount: Int) {
    let end = MessageHeader.byteCount + lines(output)
    return (end, states == 0 ? MessageHeader.byteCount + output : end + states)
  }

  /// Bytes of some rows in whole lines.
  package static func lines(_ byteCount: Int) -> Int { (byteCount + 63) / 64 * 64 }
}

/// What a data worker says of itself when it can work.
package struct WorkerAnswer: Sendable, Hashable {
  package var version: String
  package var fingerprint: [UInt8]
  package var worker: UInt32
  package var epoch: UInt32
  package var kernels: String
  /// Bytes of its pool of keys and values, and of all else it took.
  package var kvBytes: UInt64
  package var scratchBytes: UInt64
  /// `cpu:0-3`.
  package var device: String

  package init(
    _ greeting: WorkerGreeting, version: String, kvBytes: Int, scratchBytes: Int, device: String
  ) {
    self.version = version
    fingerprint = greeting.fingerprint
    worker = greeting.worker
    epoch = greeting.epoch
    kernels = greeting.kernels
    self.kvBytes = UInt64(kvBytes)
    self.scratchBytes = UInt64(scratchBytes)
    self.device = device
  }

  /// - Throws: `.refused` where the answer is not that of the worker greeted.
  package func check(against greeting: WorkerGreeting) throws(TransferError) {
    let name = "data worker \(greeting.worker)"
    if version != greeting.version {
      throw .refused(
        "\(name) is version \(version) and this is \(greeting.version); start both from the same program")
    }
    if fingerprint != greeting.fingerprint {
      throw .refused("\(name) serves other weights or types than this process; start it for this model")
    }
    if kernels != greeting.kernels {
      throw .refused(
        "\(name) computes with \(kernels) kernels and this process with \(greeting.kernels); set SWERVE_CPU_KERNELS for "
          + "both to a set that both CPUs have")
    }
    if worker != greeting.worker || epoch != greeting.epoch {
      throw .refused("\(name) answered as worker \(worker) of epoch \(epoch), not of epoch \(greeting.epoch)")
    }
  }
}

/// A message on a control socket.
package enum ControlMessage: Sendable, Hashable {
  /// Parameter → data.
  case greet(WorkerGreeting)
  case stop
  /// Asks for a data channel, before anything else between hosts.
  case open(LinkOffer)
  /// Data → parameter.
  case ready(WorkerAnswer)
  case refused(String)
  case opened

  package var sender: MessageHeader.Role {
    switch self {
    case .greet, .stop, .open: .parameter
    case .ready, .refused, .opened: .data
    }
  }
}
