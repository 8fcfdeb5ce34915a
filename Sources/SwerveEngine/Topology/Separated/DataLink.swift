import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveTransfer

/// The parameter worker's side of one data worker: its process, its channels, and the step under way. Owned by the engine
/// thread.
final class DataLink {
  enum State: Equatable {
    /// Greeted, and not heard of yet.
    case starting
    case ready
    /// Not to be used again, and why.
    case lost(String)
  }

  let greeting: WorkerGreeting
  private(set) var state = State.starting
  private(set) var answer: WorkerAnswer?
  /// Monotonic nanoseconds.
  let started: UInt64
  private let control: ControlSocket
  private let process: WorkerProcess?
  private let outgoing: SharedChannel
  private let incoming: SharedChannel
  private var encoder: StepEncoder

  // The step under way.
  /// Rows of this worker's sequences; 0: none.
  private(set) var rows = 0
  private var plan: UInt64 = 0
  private var hash: UInt64 = 0
  /// A layer's message that is being written.
  private var open: UnsafeMutableRawBufferPointer?
  /// Whether an answer's memory is being read.
  private var isReading = false

  private(set) var traffic = LinkTraffic()
  /// Whether the worker's keys and values outlive it, and are what the scheduler takes them for.
  private(set) var keepsBlocks: Bool

  var name: String { "data worker d\(greeting.worker)" }

  /// Starts a worker and greets it; `poll` tells when it is ready.
  ///
  /// - Parameter region: where a process has its pool; what is in it stays.
  init(
    _ greeting: WorkerGreeting, firstBlock: Int, launch: DataWorkerConfiguration.Launch, region: RegionFile? = nil
  ) throws {
    self.greeting = greeting
    keepsBlocks = region != nil
    started = TransferClock.now
    encoder = StepEncoder(limits: greeting.limits, firstBlock: firstBlock)
    let (own, other) = try ControlSocket.pair()
    control = own
    let memory: SharedMemory
    switch launch {
    case .thread:
      memory = try SharedMemory(byteCount: greeting.memoryBytes)
      process = nil
      let version = greeting.version
      startThread("swerve-data-\(greeting.worker)") {
        _ = DataWorkerMain.run(control: other, memory: memory, version: version)
      }
    case .process(let path, let arguments):
      memory = try SharedMemory(name: "swerve-link-d\(greeting.worker)", byteCount: greeting.memoryBytes)
      guard let file = memory.file else { throw TransferError.malformed("memory of one process for two") }
      process = try WorkerProcess(
        name: "swerve-data", path: path, arguments: arguments, memory: file, control: other, region: region)
    }
    let settings = SharedChannel.Settings(
      peer: "data worker d\(greeting.worker)", deadline: greeting.deadline,
      spin: SpinBudget(threads: greeting.sharesCores ? .max : Int(greeting.threads)), watch: own)
    let capacity = Int(greeting.capacity)
    outgoing = SharedChannel(memory, at: 0, capacity: capacity, end: .sender, settings)
    incoming = SharedChannel(memory, at: greeting.channelBytes, capacity: capacity, end: .receiver, settings)
    try control.send(ControlMessage.greet(greeting).bytes)
  }

  /// The system's number of its process; nil for a thread.
  var processID: Int32? { process?.id }

  // MARK: Life

  /// Looks whether a starting worker has answered, waiting so long for it.
  func poll(within seconds: Double) {
    guard state == .starting else { return }
    do {
      guard let bytes = try control.receive(within: seconds, from: name) else { return }
      switch try ControlMessage(bytes, from: .data) {
      case .ready(let answer):
        try answer.check(against: greeting)
        self.answer = answer
        state = .ready
      case .refused(let reason): lose("\(name) does not start: \(reason)")
      case .greet, .stop: lose("\(name) speaks out of turn")
      }
    } catch {
      lose("\(error)")
    }
  }

  /// Whether a worker that is not being talked to still lives.
  func look() {
    if state == .ready && control.hasEnded { lose("\(name) has ended") }
  }

  /// Never again: whatever it still does reaches nobody. A process is ended, be it stopped or busy.
  func lose(_ reason: String) {
    if case .lost = state { return }
    state = .lost(reason)
    outgoing.close()
    process?.kill()
  }

  /// Ends a worker that nobody needs any more.
  func stop() {
    state = .lost("\(name) was told to end")
    do { try control.send(ControlMessage.stop.bytes) } catch { process?.kill() }
    outgoing.close()
    // It ends by itself within a moment; the process's owner makes sure when it goes.
  }

  // MARK: A step

  /// Tells the worker its share of a step, if it has one. Whether it has rows in it.
  func begin(_ plan: borrowing StepPlan) -> Bool {
    let (rows, byteCount) = encoder.measure(plan)
    self.rows = rows
    if byteCount == 0 || state != .ready { return rows > 0 }
    let begin = TransferClock.now
    do {
      let message = try outgoing.reserve(byteCount)
      hash = encoder.encode(plan, epoch: greeting.epoch, into: message)
      try outgoing.send(byteCount)
      self.plan = plan.id
      traffic.post(bytes: byteCount, since: begin)
    } catch {
      lose("\(error)")
    }
    return rows > 0
  }

  func holds(_ step: SequenceStep, of plan: borrowing StepPlan) -> Bool { encoder.holds(step, of: plan) }

  /// Where the layer's rows go; nil when the worker is lost.
  func places(_ shape: AttentionShape) -> AttentionRows? {
    guard state == .ready else { return nil }
    let type = greeting.type
    let query = MessageHeader.byteCount + LayerRows.lines(rows * shape.queryWidth * type.byteCount)
    let key = LayerRows.lines(rows * shape.keyValueWidth * type.byteCount)
    do {
      let message: UnsafeMutableRawBufferPointer
      if let open {
        message = open
      } else {
        message = try outgoing.reserve(query + key + rows * shape.keyValueWidth * type.byteCount)
      }
      open = message
      guard let start = message.baseAddress else { return nil }
      return AttentionRows(
        q: Tensor(pointer: start + MessageHeader.byteCount, type: type, rows: rows, columns: shape.queryWidth),
        k: Tensor(pointer: start + query, type: type, rows: rows, columns: shape.keyValueWidth),
        v: Tensor(pointer: start + query + key, type: type, rows: rows, columns: shape.keyValueWidth))
    } catch {
      lose("\(error)")
      return nil
    }
  }

  /// The layer's rows are where `places` said.
  func post(layer: Int) {
    guard let message = open else { return }
    open = nil
    if state != .ready { return }
    let begin = TransferClock.now
    var header = MessageHeader(.layer, plan: plan, epoch: greeting.epoch)
    header.layer = UInt32(layer)
    header.rows = UInt32(rows)
    header.hash = hash
    header.write(to: message)
    do {
      try outgoing.send(message.count)
      traffic.post(bytes: message.count, since: begin)
    } catch {
      lose("\(error)")
    }
  }

  /// The layer's output, valid until `giveBack`; nil when the worker is lost.
  func output(layer: Int, _ shape: AttentionShape) -> Tensor? {
    guard state == .ready else { return nil }
    let begin = TransferClock.now
    do {
      let message = try incoming.receive()
      isReading = true
      let header = try MessageHeader(message, from: .data, peer: name)
      if header.kind == .refusal {
        lose(
          "\(name) refuses step \(header.plan): " + String(decoding: message[MessageHeader.byteCount...], as: UTF8.self)
        )
        traffic.refusals += 1
        // The two sides disagree about what is where.
        keepsBlocks = false
        return nil
      }
      guard header.plan == plan, header.hash == hash, header.epoch == greeting.epoch, Int(header.layer) == layer,
        Int(header.rows) == rows,
        message.count == MessageHeader.byteCount + rows * shape.queryWidth * greeting.type.byteCount,
        let start = message.baseAddress
      else {
        throw ChannelError.malformed(peer: name, reason: "it answers another layer or step than was asked for")
      }
      traffic.wait(bytes: message.count, busy: header.busy, since: begin)
      return Tensor(
        pointer: UnsafeMutableRawPointer(mutating: start + MessageHeader.byteCount), type: greeting.type, rows: rows,
        columns: shape.queryWidth)
    } catch {
      lose("\(error)")
      return nil
    }
  }

  /// The output was read.
  func giveBack() {
    guard isReading else { return }
    isReading = false
    do { try incoming.release() } catch { lose("\(error)") }
  }

  func noteDone(since begin: UInt64) { traffic.doneNanoseconds += TransferClock.now - begin }
}
