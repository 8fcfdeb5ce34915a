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

  private(set) var greeting: WorkerGreeting
  private(set) var state = State.starting
  private(set) var answer: WorkerAnswer?
  /// Monotonic nanoseconds.
  let started: UInt64
  /// The worker while it is on its way; then what it is talked to through.
  private var arrival: (any DataWorkerArrival)?
  private var connection: DataWorkerConnection?
  private var encoder: StepEncoder

  /// What of a part of the step is this worker's.
  private struct Part {
    /// 0: nothing.
    var rows = 0
    var hash: UInt64 = 0
    /// When its layer was sent.
    var posted: UInt64 = 0
  }

  // The step under way.
  private var parts: [Part]
  private var plan: UInt64 = 0
  /// A layer's message that is being written.
  private var open: UnsafeMutableRawBufferPointer?
  /// Whether an answer's memory is being read.
  private var isReading = false

  private(set) var traffic = LinkTraffic()
  /// What the worker said that did not agree with what is known of it, by what that was.
  private(set) var verifyFailures: [String: Int] = [:]
  /// Whether it was found to have other blocks than it should.
  private var disagrees = false
  private var times = LayerTimes()
  /// Whether it lives and is given up all the same.
  private var isRetired = false

  var name: String { "data worker d\(greeting.worker)" }

  /// Begins to get a worker; `poll` greets it and tells when it is ready.
  ///
  /// - Parameter firstPlace: number of the first place below all pools; nil: there are none.
  init(
    _ greeting: WorkerGreeting, firstBlock: Int, firstPlace: Int? = nil, source: any DataWorkerSource
  ) throws {
    self.greeting = greeting
    started = TransferClock.now
    parts = [Part](repeating: Part(), count: Int(greeting.parts))
    encoder = StepEncoder(limits: greeting.limits, firstBlock: firstBlock, firstPlace: firstPlace)
    arrival = try source.begin(greeting)
    try meet(within: 0)
  }

  /// Greets the worker when it has arrived. Whether it has.
  @discardableResult
  private func meet(within seconds: Double) throws -> Bool {
    if connection != nil { return true }
    guard let connection = try arrival?.take(within: seconds) else { return false }
    arrival = nil
    self.connection = connection
    greeting = connection.greeting
    try connection.control.send(ControlMessage.greet(greeting).bytes)
    return true
  }

  /// What a lost worker's replacement counts as.
  var lossCause: String { isRetired ? "slow" : traffic.refusals > 0 ? "step_refused" : "data_worker_lost" }

  /// Whether the worker's keys and values outlive it, and are what the scheduler takes them for.
  var keepsBlocks: Bool { greeting.regionBytes > 0 && !disagrees }

  /// The system's number of its process; nil for a thread, and for one of another host.
  var processID: Int32? { connection?.process?.id }

  /// Its keys and values, where this process can reach them; nil before it has arrived too.
  var pool: SharedMemory? { connection?.pool }

  /// Where it is, if not on this host.
  var place: String? { connection?.place }

  // MARK: Life

  /// Looks whether a starting worker has answered, waiting so long for it.
  func poll(within seconds: Double) {
    guard state == .starting else { return }
    do {
      let end = TransferClock.now + UInt64(max(seconds, 0) * 1e9)
      guard try meet(within: seconds), let control = connection?.control else { return }
      let rest = Double(end - min(end, TransferClock.now)) * 1e-9
      guard let bytes = try control.receive(within: rest, from: name) else { return }
      switch try ControlMessage(bytes, from: .data) {
      case .ready(let answer):
        try answer.check(against: greeting)
        self.answer = answer
        state = .ready
      case .refused(let reason): lose("\(name) does not start: \(reason)")
      case .greet, .stop, .open, .opened: lose("\(name) speaks out of turn")
      }
    } catch {
      lose("\(error)")
    }
  }

  /// Whether a worker that is not being talked to still lives.
  func look() {
    guard state == .ready, let control = connection?.control, control.hasEnded else { return }
    lose("\(name): \(control.endReason ?? "it has ended")")
  }

  /// Never again: whatever it still does reaches nobody. A process is ended, be it stopped or busy.
  func lose(_ reason: String) {
    if case .lost = state { return }
    state = .lost(reason)
    arrival = nil
    connection?.outgoing.close()
    connection?.process?.kill()
    connection?.control.close()
  }

  /// Gives up a worker that could go on, but not as it should. Between steps.
  func retire(_ reason: String) {
    if state != .ready { return }
    isRetired = true
    lose(reason)
  }

  /// How fast the last step went; nil where the worker had no rows in it. Told once.
  func takeSpeed() -> SlowWorkerWatch.Speed? { times.take() }

  /// Ends a worker that nobody needs any more.
  func stop() {
    state = .lost("\(name) was told to end")
    arrival = nil
    do { try connection?.control.send(ControlMessage.stop.bytes) } catch { connection?.process?.kill() }
    connection?.outgoing.close()
    // It ends by itself within a moment; the process's owner makes sure when it goes.
  }

  // MARK: A step

  /// Tells the worker its share of a step's part, if it has one. Whether it has rows in it.
  ///
  /// - Parameters:
  ///   - number: of the step, greater than those before.
  ///   - turn: of sequences that lie with several workers.
  func begin(_ plan: borrowing StepPlan, number: UInt64, part: Int = 0, turn: Int = 0) -> Bool {
    let (rows, byteCount) = encoder.measure(plan, turn: turn)
    parts[part].rows = rows
    // A worker that only copies answers nothing, and nobody would know when its pool may be touched here. Behind a plan of
    // copies alone come the rows of the same step.
    assert(
      rows > 0 || byteCount == 0 || parts.count > 1 || plan.tokens.isEmpty || connection?.pool == nil,
      "a step copies for nobody who computes")
    let work = encoder.tokensSeen(plan, turn: turn)
    if part == 0 { times.begin(rows: rows, work: work) } else { times.add(rows: rows, work: work) }
    guard byteCount > 0, state == .ready, let outgoing = connection?.outgoing else { return rows > 0 }
    let begin = TransferClock.now
    do {
      let message = try outgoing.reserve(byteCount)
      parts[part].hash = encoder.encode(
        plan, number: number, epoch: greeting.epoch, part: part, turn: turn, into: message)
      try outgoing.send(byteCount)
      self.plan = number
      traffic.post(bytes: byteCount, since: begin)
    } catch {
      lose("\(error)")
    }
    return rows > 0
  }

  /// Where the rows of a part's layer go, and the running values of those that others have attended to before, of which
  /// there are `states` bytes; nil when the worker is lost.
  func places(
    _ shape: AttentionShape, part: Int, states: Int = 0
  ) -> (rows: AttentionRows, states: UnsafeMutableRawPointer)? {
    guard state == .ready, let outgoing = connection?.outgoing else { return nil }
    let type = greeting.type
    let rows = parts[part].rows
    let places = LayerRows.places(
      query: rows * shape.queryWidth * type.byteCount, keyValue: rows * shape.keyValueWidth * type.byteCount,
      states: states)
    do {
      let message: UnsafeMutableRawBufferPointer
      if let open { message = open } else { message = try outgoing.reserve(places.byteCount) }
      open = message
      guard let start = message.baseAddress else { return nil }
      return (
        AttentionRows(
          q: Tensor(pointer: start + MessageHeader.byteCount, type: type, rows: rows, columns: shape.queryWidth),
          k: Tensor(pointer: start + places.key, type: type, rows: rows, columns: shape.keyValueWidth),
          v: Tensor(pointer: start + places.value, type: type, rows: rows, columns: shape.keyValueWidth)),
        start + places.states
      )
    } catch {
      lose("\(error)")
      return nil
    }
  }

  /// The rows of the part's layer are where `places` said.
  func post(layer: Int, part: Int) {
    guard let message = open else { return }
    open = nil
    guard state == .ready, let outgoing = connection?.outgoing else { return }
    let begin = TransferClock.now
    var header = MessageHeader(.layer, plan: plan, epoch: greeting.epoch)
    header.layer = UInt32(layer)
    header.rows = UInt32(parts[part].rows)
    header.hash = parts[part].hash
    header.part = UInt32(part)
    header.write(to: message)
    do {
      try outgoing.send(message.count)
      times.post(at: TransferClock.now)
      traffic.post(bytes: message.count, since: begin)
      parts[part].posted = begin
    } catch {
      lose("\(error)")
    }
  }

  /// The output of a part's layer, and the running values of rows that others go on with, `states` bytes of them; both
  /// valid until `giveBack`. nil when the worker is lost.
  func output(
    layer: Int, part: Int, _ shape: AttentionShape, states: Int = 0
  ) -> (rows: Tensor, states: UnsafeRawPointer)? {
    guard state == .ready, let incoming = connection?.incoming else { return nil }
    let begin = TransferClock.now
    let rows = parts[part].rows
    let places = LayerRows.answer(output: rows * shape.queryWidth * greeting.type.byteCount, states: states)
    do {
      let message = try incoming.receive()
      isReading = true
      let header = try MessageHeader(message, from: .data, peer: name)
      if header.kind == .refusal {
        lose(
          "\(name) refuses step \(header.plan): " + String(decoding: message[MessageHeader.byteCount...], as: UTF8.self)
        )
        traffic.refusals += 1
        verifyFailures[header.layer == MessageHeader.staleBlock ? "generation" : "plan", default: 0] += 1
        disagrees = true
        return nil
      }
      guard header.plan == plan, header.hash == parts[part].hash, header.epoch == greeting.epoch,
        Int(header.layer) == layer, Int(header.part) == part, Int(header.rows) == rows,
        message.count == places.byteCount, let start = message.baseAddress
      else {
        throw ChannelError.malformed(peer: name, reason: "it answers another layer or step than was asked for")
      }
      times.answer(at: TransferClock.now, waitedSince: begin, busy: header.busy)
      traffic.wait(bytes: message.count, busy: header.busy, since: begin, posted: parts[part].posted)
      let output = Tensor(
        pointer: UnsafeMutableRawPointer(mutating: start + MessageHeader.byteCount), type: greeting.type, rows: rows,
        columns: shape.queryWidth)
      return (output, start + places.states)
    } catch {
      if case ChannelError.malformed = error { verifyFailures["message", default: 0] += 1 }
      lose("\(error)")
      return nil
    }
  }

  /// The output was read.
  func giveBack() {
    guard isReading else { return }
    isReading = false
    do { try connection?.incoming.release() } catch { lose("\(error)") }
  }

  func noteDone(since begin: UInt64) { traffic.doneNanoseconds += TransferClock.now - begin }
}
