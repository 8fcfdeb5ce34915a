// The engine: the loop that joins scheduling and inference, and the front that everyone else talks to.
// This room must not know HTTP or flags. Start here, then Loop/EngineLoop.swift.

package import SwerveCore
import SwerveScheduling
import SwerveText
import SwerveTransfer
import Synchronization

/// The front of the engine: submit, cancel, drain. The only face of it that other threads see; behind it are the engine
/// thread and the publisher thread, reached by messages.
package final class Engine: EngineClient {
  package let model: ModelInfo
  /// The memory table and timings of the start, for the log.
  package let report: StartReport

  let preparation: Preparation
  private let inbox: Mailbox<InboxMessage>
  private let publisher: Mailbox<PublisherMessage>
  private let board: StatusBoard
  private let clock: EngineClock
  private let admission: AdmissionLimits
  private let classes: ServiceClasses
  private let prefixSalt: PrefixSalt
  private let seed: UInt64
  private let isReleased: ThreadEnd
  /// Where blocks come in from other engines and go out to them; nil without.
  let exchange: BlockExchange?
  private let counters = Mutex(Counters())

  private struct Counters {
    var nextRequest: UInt64 = 1
    /// Requests that were queued, and their prompt tokens. The board knows what the engine thread has taken up of them.
    var submissions = 0
    var submittedTokens = 0
    var isDraining = false
    var isStopped = false
  }

  /// What `generate` refuses before queueing.
  struct AdmissionLimits: Sendable {
    var maxQueuedRequests: Int?
    var maxQueuedTokens: Int?
    /// Sequences that run at a time.
    var maxSequences: Int
  }

  init(
    model: ModelInfo, report: StartReport, preparation: Preparation, inbox: Mailbox<InboxMessage>,
    publisher: Mailbox<PublisherMessage>, board: StatusBoard, clock: EngineClock, admission: AdmissionLimits,
    classes: ServiceClasses, prefixSalt: PrefixSalt, seed: Int, isReleased: ThreadEnd,
    exchange: BlockExchange? = nil
  ) {
    self.model = model
    self.report = report
    self.preparation = preparation
    self.inbox = inbox
    self.publisher = publisher
    self.board = board
    self.clock = clock
    self.admission = admission
    self.classes = classes
    self.prefixSalt = prefixSalt
    self.seed = UInt64(bitPattern: Int64(seed))
    self.isReleased = isReleased
    self.exchange = exchange
  }

  deinit {
    exchange?.stop()
    inbox.post(.stop)
  }

  package func generate(
    _ request: GenerationRequest
  ) async throws(RequestError) -> AsyncThrowingStream<GenerationEvent, any Error> {
    let id = try admit()
    if request.params.useBeamSearch { return try searchBeams(request, id: id) }
    let prepared = try preparation.prepare(request, fallbackSeed: Self.mix(seed, id.rawValue))
    let (handover, answer) = try await handOver(
      request, tokens: prepared.tokens,
      salt: prefixSalt.salt(cacheSalt: request.cacheSalt, promptTokens: prepared.tokens.count))
    do {
      return try submit(prepared, id: id, request: request, handover: handover, transferAnswer: answer)
    } catch {
      handover.abandon()
      throw error
    }
  }

  /// What `body` submits comes to the engine at once: no step runs with a part of it. `body` must not wait for tokens.
  package func together<Result>(_ body: () async throws -> Result) async rethrows -> Result {
    inbox.hold()
    defer { inbox.release() }
    return try await body()
  }

  /// Queues prepared work and answers its stream. Throws a 503 where the engine stopped or the queue filled up while the
  /// work was prepared. `search`: how to search beams, and what the runner is asked of each.
  func submit(
    _ prepared: Preparation.Prepared, id: RequestID, request: GenerationRequest,
    search: (settings: BeamSettings, sampling: SamplingState)? = nil, handover: Handover = .nothing,
    transferAnswer: JSONObject? = nil
  ) throws(RequestError) -> AsyncThrowingStream<GenerationEvent, any Error> {
    let (stream, continuation) = AsyncThrowingStream.makeStream(of: GenerationEvent.self)
    let arrival = clock.now()
    let serviceClass = classes.index(tenant: request.tenant, serviceTier: request.serviceTier)
    var record = RequestRecord(
      id: id, name: request.id, params: prepared.params, promptTokens: prepared.tokens, promptText: prepared.text,
      arrival: arrival, tenant: request.tenant, serviceClass: classes.all[serviceClass], stream: continuation,
      tokenizer: preparation.tokenizer, endTokens: preparation.endTokens)
    if !request.continuation.isEmpty {
      guard search == nil, prepared.params.n == 1, request.continuation.count < prepared.params.maxTokens ?? .max,
        request.continuation.allSatisfy({ (0..<model.vocabularySize).contains(Int($0.rawValue)) }),
        record.choices[0].resume(behind: request.continuation)
      else {
        throw RequestError(
          .conflict,
          "The request cannot go on behind what was delivered of it: the server's model or limits are others.")
      }
    }
    record.transferAnswer = transferAnswer
    record.seed = search == nil ? Int(truncatingIfNeeded: prepared.sampling.seed) : nil
    let inbox = inbox
    continuation.onTermination = { reason in
      if case .cancelled = reason { inbox.post(.cancel(id)) }
    }
    var waiting = WaitingRequest(
      request: id, promptTokens: prepared.tokens, n: search == nil ? prepared.params.n : 1,
      sampling: search?.sampling ?? prepared.sampling,
      priority: request.priority, arrival: arrival.nanoseconds,
      prefixSalt: prefixSalt.salt(cacheSalt: request.cacheSalt, promptTokens: prepared.tokens.count),
      skipPrefixCacheRead: prepared.params.skipReadingPrefixCache ?? false,
      wantsPromptLogprobs: prepared.params.promptLogprobs != nil)
    waiting.tenant = WaitingRequest.number(ofTenant: request.tenant ?? "")
    waiting.serviceClass = Int32(serviceClass)
    waiting.beamWidth = search?.settings.width
    waiting.generated = request.continuation
    let registered = record
    let refusal = counters.withLock { counters -> RequestError? in
      if counters.isStopped { return RequestError(.unavailable, "The server has stopped.", retryAfter: 1) }
      if let refusal = queueRefusal(counters, promptTokens: prepared.tokens.count) { return refusal }
      counters.submissions += 1
      counters.submittedTokens += prepared.tokens.count
      board.noteSubmission()
      publisher.post(.register(registered))
      switch handover {
      case .sends(let transfer): inbox.post(.handOver(id, transfer))
      case .takes(let transfer): inbox.post(.expect(id, transfer))
      case .nothing: break
      }
      inbox.post(.submit(waiting, search?.settings))
      return nil
    }
    if let refusal { throw refusal }
    return stream
  }

  /// Why no more may wait, or not that many tokens. The board tells the state after the last step; requests that came
  /// since count as well, or a burst during one step would pass whatever the limit.
  private func queueRefusal(_ counters: Counters, promptTokens: Int) -> RequestError? {
    let (now, taken) = board.load
    if let limit = admission.maxQueuedRequests {
      let unseen = counters.submissions - taken.requests
      if now.waitingRequests >= limit
        || now.runningRequests + now.waitingRequests + unseen >= limit + admission.maxSequences
      {
        return RequestError(
          .unavailable, "The queue is full (\(limit) requests wait).", code: "queue_full", retryAfter: board.retryAfter)
      }
    }
    if let limit = admission.maxQueuedTokens {
      let waiting = now.waitingTokens + counters.submittedTokens - taken.tokens
      // A prompt of any length may wait alone: it would be refused for ever otherwise.
      if waiting > 0 && waiting + promptTokens > limit {
        return RequestError(
          .unavailable, "The queue is full (\(waiting) prompt tokens wait, and at most \(limit) may).",
          code: "queue_full", retryAfter: board.retryAfter)
      }
    }
    return nil
  }

  /// Posts while the threads are sure to read it. A request takes its time to be prepared, and the engine may have been
  /// stopped meanwhile: what is posted after that is read by nobody, and whoever waits for an answer waits for ever.
  private func postUnlessStopped(_ post: () -> Void) -> Bool {
    counters.withLock { counters in
      if !counters.isStopped { post() }
      return !counters.isStopped
    }
  }

  package func tokenize(
    _ prompt: GenerationRequest.Prompt, addSpecialTokens: Bool
  ) async throws(RequestError) -> TokenizedPrompt {
    let (tokens, text) = try preparation.tokens(of: prompt, addSpecialTokens: addSpecialTokens)
    return TokenizedPrompt(tokens: tokens, text: text)
  }

  package func detokenize(_ tokens: [TokenID]) async throws(RequestError) -> String {
    let tokenizer = try preparation.requireTokenizer("detokenizing")
    if let bad = tokens.first(where: { $0.rawValue < 0 || Int($0.rawValue) >= model.vocabularySize }) {
      throw .badRequest(
        "Token id \(bad) is outside the vocabulary of \(model.vocabularySize) tokens.", param: "tokens")
    }
    return tokenizer.decode(tokens, skipSpecialTokens: false)
  }

  package func tokenString(_ token: TokenID) -> String? { preparation.tokenizer?.token(for: token) }

  package var health: EngineHealth { board.health }
  package var statistics: EngineStatistics {
    var all = board.statistics
    // Transfers go on when no step does.
    if let exchange {
      var now = exchange.statistics
      now.queriedTokens = all.transfer?.queriedTokens ?? 0
      now.hitTokens = all.transfer?.hitTokens ?? 0
      now.failedRequests = all.transfer?.failedRequests ?? 0
      all.transfer = now
    }
    return all
  }

  package func resetPrefixCache() async -> Bool {
    await withCheckedContinuation { continuation in
      let isQueued = postUnlessStopped {
        inbox.post(.resetPrefixCache { continuation.resume(returning: $0) })
      }
      if !isQueued { continuation.resume(returning: false) }
    }
  }

  package func change(_ change: DataWorkerChange) async throws(RequestError) -> String {
    let result =
      switch change {
      case .attach(let address): await attachDataWorker(at: address)
      case .drain(let worker, let seconds): await drainDataWorker(worker, within: seconds)
      }
    do { return try result.get() } catch {
      if error == .stopped { throw RequestError(.unavailable, "The server has stopped.", retryAfter: 1) }
      throw .badRequest("\(error).")
    }
  }

  /// Attaches one more data worker: one that waits at `host:port`, or a process of this host. Answers its name once it
  /// takes sequences.
  package func attachDataWorker(at address: String? = nil) async -> Result<String, DataChangeError> {
    let endpoint = address.map { Endpoint($0) }
    if let endpoint, (endpoint?.port ?? 0) == 0 {
      return .failure(
        .refused("\((address ?? "").debugDescription) is not where a data worker listens; give host:port"))
    }
    return await withCheckedContinuation { continuation in
      if !postUnlessStopped({ inbox.post(.attachWorker(endpoint ?? nil) { continuation.resume(returning: $0) }) }) {
        continuation.resume(returning: .failure(.stopped))
      }
    }
  }

  /// Ends a data worker without failing anything: its sequences end there within so many seconds, or are computed again
  /// elsewhere.
  package func drainDataWorker(_ worker: Int, within seconds: Double) async -> Result<String, DataChangeError> {
    await withCheckedContinuation { continuation in
      if !postUnlessStopped({ inbox.post(.drainWorker(worker, seconds) { continuation.resume(returning: $0) }) }) {
        continuation.resume(returning: .failure(.stopped))
      }
    }
  }

  // MARK: Life

  /// Stops admitting; requests under way go on.
  package func drain() {
    counters.withLock { $0.isDraining = true }
    board.set(.draining)
  }

  /// Stops the threads; open streams end with a 503. Returns when both threads have ended and all memory is returned.
  package func stop() async {
    counters.withLock { counters in
      if !counters.isStopped { inbox.post(.stop) }
      counters.isStopped = true
    }
    exchange?.stop()
    await isReleased.wait()
  }

  /// The next request's id, or why there is none.
  func admit() throws(RequestError) -> RequestID {
    switch board.health {
    case .running, .stalled: break
    case .loading: throw RequestError(.unavailable, "The model is still loading.", retryAfter: 1)
    case .draining: throw RequestError(.unavailable, "The server is shutting down.", retryAfter: 5)
    case .dead(let why): throw RequestError(.unavailable, "The engine has stopped: \(why)", retryAfter: 30)
    }
    let (isClosed, refusal) = counters.withLock { counters in
      (counters.isDraining || counters.isStopped, queueRefusal(counters, promptTokens: 0))
    }
    if isClosed { throw RequestError(.unavailable, "The server is shutting down.", retryAfter: 5) }
    if let refusal { throw refusal }
    return nextID()
  }

  func nextID() -> RequestID {
    counters.withLock { counters in
      defer { counters.nextRequest += 1 }
      return RequestID(rawValue: counters.nextRequest)
    }
  }

  /// A seed per request from the engine's seed: SplitMix64 (Steele, Lea, Flood 2014).
  private static func mix(_ seed: UInt64, _ ordinal: UInt64) -> UInt64 {
    var z = seed &+ ordinal &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

extension RequestError {
  /// The queue timeout passed before the request's first step.
  static func waitedTooLong(retryAfter: Int) -> Self {
    Self(
      .unavailable, "The request waited longer than --queue-timeout allows and was given up; try again later.",
      code: "queue_timeout", retryAfter: retryAfter)
  }
}
