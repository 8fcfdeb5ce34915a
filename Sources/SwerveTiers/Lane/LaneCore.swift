import Dispatch
import Synchronization

/// What a lane and its threads share.
final class LaneCore: Sendable {
  private struct Waiting {
    let request: TransferRequest
    let submitted: Double
  }

  private struct State {
    var fetches = RequestQueue<Waiting>()
    var spills = RequestQueue<Waiting>()
    var completions: [TransferCompletion] = []
    var pacer: SpillPacer
    var statistics = TransferLane.Statistics()
    var ending: TransferLane.Ending?
    /// [threads] whether it sleeps.
    var isAsleep: [Bool]
    var endedThreads = 0
  }

  private enum Next {
    case transfer(Waiting)
    case sleep(seconds: Double?)
    case end
  }

  /// [threads] wakes one.
  let workers: [DispatchSemaphore]
  private let store: any BlockStore
  private let capacity: Int
  private let clock: @Sendable () -> Double
  private let state: Mutex<State>
  /// Signalled once by each thread at its end.
  private let ended = DispatchSemaphore(value: 0)

  init(
    store: any BlockStore, configuration: TransferLane.Configuration, clock: @escaping @Sendable () -> Double
  ) {
    self.store = store
    self.clock = clock
    capacity = max(configuration.capacity, 1)
    workers = (0..<max(configuration.threadCount, 1)).map { _ in DispatchSemaphore(value: 0) }
    state = Mutex(
      State(
        pacer: SpillPacer(share: configuration.spillShare, bytesPerSecond: configuration.spillBytesPerSecond),
        isAsleep: [Bool](repeating: false, count: max(configuration.threadCount, 1))))
    state.withLock { state in
      state.fetches.reserve(capacity)
      state.spills.reserve(capacity)
      state.completions.reserveCapacity(2 * capacity + workers.count)
    }
  }

  // MARK: The submitter's side

  func submit(_ request: TransferRequest) -> TransferRefusal? {
    let now = clock()
    let refusal = state.withLock { state -> TransferRefusal? in
      if state.ending != nil { return .ended }
      let isFull = request.kind == .fetch ? state.fetches.count >= capacity : state.spills.count >= capacity
      if isFull {
        state.statistics.refusals += 1
        return .full
      }
      if request.kind == .fetch {
        state.pacer.fetched(now: now)
        state.fetches.append(Waiting(request: request, submitted: now))
      } else {
        state.spills.append(Waiting(request: request, submitted: now))
      }
      return nil
    }
    if refusal == nil { wake() }
    return refusal
  }

  func cancel(_ id: TransferID) -> Bool {
    let now = clock()
    return state.withLock { state in
      guard
        let waiting = state.fetches.remove(where: { $0.request.id == id })
          ?? state.spills.remove(where: { $0.request.id == id })
      else { return false }
      state.completions.append(
        TransferCompletion(id: id, outcome: .cancelled, seconds: now - waiting.submitted))
      return true
    }
  }

  func takeCompletions(into completions: inout [TransferCompletion]) {
    completions.removeAll(keepingCapacity: true)
    state.withLock { swap(&$0.completions, &completions) }
  }

  var statistics: TransferLane.Statistics {
    state.withLock { state in
      var statistics = state.statistics
      statistics.fetchesWaiting = state.fetches.count
      statistics.spillsWaiting = state.spills.count
      return statistics
    }
  }

  func end(_ ending: TransferLane.Ending) {
    let now = clock()
    state.withLock { state in
      if state.ending != .abandon { state.ending = ending }
      if state.ending == .drain { return }
      while let waiting = state.fetches.popFirst() ?? state.spills.popFirst() {
        state.completions.append(
          TransferCompletion(id: waiting.request.id, outcome: .abandoned, seconds: now - waiting.submitted))
      }
    }
    wake()
  }

  /// Whether all threads have ended by then.
  func waitForEnd(until deadline: DispatchTime) -> Bool {
    while true {
      if state.withLock({ $0.endedThreads == workers.count }) { return true }
      if ended.wait(timeout: deadline) == .timedOut { return state.withLock { $0.endedThreads == workers.count } }
    }
  }

  /// Wakes the threads that sleep; those at work look for more by themselves.
  private func wake() {
    for worker in workers.indices {
      let wasAsleep = state.withLock { state in
        defer { state.isAsleep[worker] = false }
        return state.isAsleep[worker]
      }
      if wasAsleep { workers[worker].signal() }
    }
  }

  // MARK: A thread's side

  /// The body of thread `worker`. The last one also spills.
  func run(_ worker: Int) {
    let takesSpills = worker == workers.count - 1
    while true {
      switch next(worker, takesSpills: takesSpills) {
      case .transfer(let waiting): carryOut(waiting)
      case .sleep(nil): workers[worker].wait()
      case .sleep(let seconds?): _ = workers[worker].wait(timeout: .now() + seconds)
      case .end:
        state.withLock { $0.endedThreads += 1 }
        ended.signal()
        return
      }
    }
  }

  private func next(_ worker: Int, takesSpills: Bool) -> Next {
    let now = clock()
    return state.withLock { state in
      state.isAsleep[worker] = false
      if let fetch = state.fetches.popFirst() {
        state.statistics.running += 1
        return .transfer(fetch)
      }
      if takesSpills, !state.spills.isEmpty {
        let earliest = state.ending == .drain ? now : state.pacer.earliestSpill(now: now)
        if earliest <= now, let spill = state.spills.popFirst() {
          state.statistics.running += 1
          return .transfer(spill)
        }
        state.isAsleep[worker] = true
        return .sleep(seconds: min(max(earliest - now, 0.001), 1))
      }
      if state.ending != nil { return .end }
      state.isAsleep[worker] = true
      return .sleep(seconds: nil)
    }
  }

  private func carryOut(_ waiting: Waiting) {
    let request = waiting.request
    let bytes = request.memory.bytes
    let began = clock()
    let outcome: TransferCompletion.Outcome
    switch request.kind {
    case .fetch: outcome = .fetched(store.load(request.identity, into: bytes))
    case .spill(let reloadCost, let isLossy):
      outcome = .spilled(
        store.store(request.identity, from: UnsafeRawBufferPointer(bytes), reloadCost: reloadCost, isLossy: isLossy))
    }
    let now = clock()
    state.withLock { state in
      switch outcome {
      case .fetched(.hit):
        state.pacer.fetched(now: now)
        state.statistics.fetchBandwidth.add(bytes: bytes.count, seconds: now - began)
      case .spilled(.stored(let fileBytes)):
        state.pacer.spilled(bytes: fileBytes, began: began, now: now)
        state.statistics.spillBandwidth.add(bytes: bytes.count, seconds: now - began)
      default: break
      }
      state.statistics.running -= 1
      state.completions.append(
        TransferCompletion(id: request.id, outcome: outcome, seconds: now - waiting.submitted))
    }
  }
}
