import SwerveCore
import Synchronization
import Testing

/// An engine without a model: its vocabulary is the 256 bytes, its answers are scripted, and it keeps count of what was
/// asked, what is running and what was cancelled.
final class FakeEngine: EngineClient {
  /// Where a request stops going forward, until it is released or cancelled.
  enum Hold: Sendable {
    case nowhere
    /// `generate` does not return.
    case beforeAcceptance
    /// After that many events; 0 = the stream opens and says nothing.
    case after(events: Int)
  }

  private struct Waiter {
    let id: Int
    let isMet: @Sendable (Int, Int, Int) -> Bool
    let continuation: CheckedContinuation<Void, Never>
  }

  private struct State {
    var lastWaiter = 0
    var requests: [GenerationRequest] = []
    var running = 0
    var cancelled = 0
    var resets = 0
    var health = EngineHealth.running
    var waiters: [Waiter] = []
    var held: [() -> Void] = []
  }

  let model: ModelInfo
  private let hold: Hold
  private let script: @Sendable (GenerationRequest) throws(RequestError) -> [GenerationEvent]
  /// Thrown by the stream after all scripted events.
  private let failure: (any Error)?
  private let state = Mutex(State())

  init(
    hold: Hold = .nowhere, defaults: JSONObject = [:], hasTokenizer: Bool = true, failure: (any Error)? = nil,
    root: String = "/models/fake", mayReadLossy: Bool = false,
    script: @escaping @Sendable (GenerationRequest) throws(RequestError) -> [GenerationEvent] = {
      request throws(RequestError) in Script.events(request, text: "Hello")
    }
  ) {
    self.hold = hold
    self.failure = failure
    self.script = script
    var info = ModelInfo(
      root: root, architecture: "FakeForCausalLM", maxModelLength: 4096, vocabularySize: 256,
      hasTokenizer: hasTokenizer, hasChatTemplate: true, defaults: defaults,
      limits: SamplingParams.Limits(vocabularySize: 256))
    info.mayReadLossy = mayReadLossy
    model = info
  }

  // MARK: What happened

  var requests: [GenerationRequest] { state.withLock(\.requests) }
  var running: Int { state.withLock(\.running) }
  var cancelled: Int { state.withLock(\.cancelled) }
  var resets: Int { state.withLock(\.resets) }

  func setHealth(_ health: EngineHealth) { state.withLock { $0.health = health } }

  /// Waits until (asked, running, cancelled) satisfy the condition. A test that waits in vain fails rather than hangs.
  func wait(until isMet: @escaping @Sendable (_ asked: Int, _ running: Int, _ cancelled: Int) -> Bool) async {
    let id = state.withLock { state in
      state.lastWaiter += 1
      return state.lastWaiter
    }
    let limit = Task { [weak self] in
      do { try await Task.sleep(for: .seconds(300)) } catch { return }
      self?.giveUp(id)
    }
    await withCheckedContinuation { continuation in
      let isNow = state.withLock { state in
        if isMet(state.requests.count, state.running, state.cancelled) { return true }
        state.waiters.append(Waiter(id: id, isMet: isMet, continuation: continuation))
        return false
      }
      if isNow { continuation.resume() }
    }
    limit.cancel()
  }

  private func giveUp(_ id: Int) {
    let waiter = state.withLock { state in
      state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
    }
    guard let waiter else { return }
    Issue.record("the engine never reached the state this test waits for")
    waiter.continuation.resume()
  }

  /// Lets held requests go on.
  func release() {
    let held = state.withLock { state in
      defer { state.held = [] }
      return state.held
    }
    for go in held { go() }
  }

  private func change(_ body: (inout State) -> Void) {
    let met = state.withLock { state in
      body(&state)
      let (asked, running, cancelled) = (state.requests.count, state.running, state.cancelled)
      let met = state.waiters.filter { $0.isMet(asked, running, cancelled) }
      state.waiters.removeAll { $0.isMet(asked, running, cancelled) }
      return met
    }
    for waiter in met { waiter.continuation.resume() }
  }

  // MARK: EngineClient

  func generate(
    _ request: GenerationRequest
  ) async throws(RequestError) -> AsyncThrowingStream<GenerationEvent, any Error> {
    change { $0.requests.append(request) }
    let events = try script(request)
    change { $0.running += 1 }
    if case .beforeAcceptance = hold {
      do { try await Task.sleep(for: .seconds(3600)) } catch {
        change {
          $0.running -= 1
          $0.cancelled += 1
        }
        throw RequestError(.unavailable, "cancelled")
      }
    }
    let (stream, continuation) = AsyncThrowingStream<GenerationEvent, any Error>.makeStream()
    continuation.onTermination = { [weak self] reason in
      self?.change {
        $0.running -= 1
        if case .cancelled = reason { $0.cancelled += 1 }
      }
    }
    var first = events.count
    if case .after(let count) = hold { first = min(count, events.count) }
    for event in events.prefix(first) { continuation.yield(event) }
    let failure = failure
    let rest = events.dropFirst(first)
    let go: @Sendable () -> Void = {
      for event in rest { continuation.yield(event) }
      continuation.finish(throwing: failure)
    }
    if case .after = hold { state.withLock { $0.held.append(go) } } else { go() }
    return stream
  }

  func tokenize(
    _ prompt: GenerationRequest.Prompt, addSpecialTokens: Bool
  ) async throws(RequestError) -> TokenizedPrompt {
    TokenizedPrompt(tokens: (addSpecialTokens ? [1] : []) + Script.tokens(of: prompt), text: Script.text(of: prompt))
  }

  func detokenize(_ tokens: [TokenID]) async throws(RequestError) -> String {
    guard model.hasTokenizer else { throw .badRequest("This server has no tokenizer.") }
    return Script.text(of: tokens)
  }

  func tokenString(_ token: TokenID) -> String? { model.hasTokenizer ? Script.text(of: [token]) : nil }

  var health: EngineHealth { state.withLock(\.health) }

  var statistics: EngineStatistics {
    var statistics = EngineStatistics()
    statistics.runningRequests = running
    statistics.blocksTotal = 100
    statistics.blocksUsed = 25
    statistics.promptTokens = 40
    statistics.prefixQueriedTokens = 40
    statistics.prefixHitTokens = 16
    statistics.generationTokens = 7
    return statistics
  }

  func resetPrefixCache() async -> Bool {
    state.withLock { $0.resets += 1 }
    return true
  }
}

/// What a scripted engine says.
enum Script {
  static func tokens(of text: String) -> [TokenID] { text.utf8.map { TokenID($0) } }

  static func text(of tokens: [TokenID]) -> String {
    String(decoding: tokens.map { UInt8(truncatingIfNeeded: $0.rawValue) }, as: UTF8.self)
  }

  static func tokens(of prompt: GenerationRequest.Prompt) -> [TokenID] {
    switch prompt {
    case .text(let text): tokens(of: text)
    case .tokens(let tokens): tokens
    case .chat(let chat): tokens(of: chat.messages.map { $0["content"]?.string ?? "" }.joined(separator: "|"))
    }
  }

  static func text(of prompt: GenerationRequest.Prompt) -> String {
    if case .text(let text) = prompt { return text }
    return text(of: tokens(of: prompt))
  }

  /// A made-up but stable log-probability.
  static func logprob(_ token: TokenID) -> Float { -Float(token.rawValue) / 16 }

  static func tokenText(_ token: TokenID, rank: Int = 1) -> TokenText {
    TokenText(
      token: token, logprob: logprob(token), rank: rank, text: text(of: [token]),
      bytes: [UInt8(truncatingIfNeeded: token.rawValue)])
  }

  static func position(_ token: TokenID, alternatives: Int) -> PositionLogprobs {
    let count = alternatives < 0 ? 256 : alternatives
    return PositionLogprobs(
      chosen: tokenText(token, rank: 3), alternatives: (0..<count).map { tokenText(TokenID($0), rank: $0 + 1) })
  }

  static func started(_ request: GenerationRequest, cached: Int = 0) -> GenerationEvent {
    let tokens = tokens(of: request.prompt)
    let logprobs = request.params.promptLogprobs.map { count in
      tokens.enumerated().map { $0.offset == 0 ? nil : position($0.element, alternatives: count) }
    }
    return .started(
      PromptInfo(
        promptTokens: tokens, promptText: text(of: request.prompt), cachedTokens: cached, promptLogprobs: logprobs))
  }

  /// A whole answer: `started`, one delta a token (a byte) unless `group` says how many each, then the finish.
  /// Text appears with the last byte of its character, as a real engine shows it.
  static func events(
    _ request: GenerationRequest, text: String, finish: FinishReason = .stop, stopReason: StopReason? = nil,
    cached: Int = 0, group: @escaping () -> Int = { 1 }
  ) -> [GenerationEvent] {
    var events = [started(request, cached: cached)]
    for index in 0..<request.params.n {
      events += deltas(request, index: index, text: text, finish: finish, stopReason: stopReason, group: group)
        .map { .delta($0) }
    }
    return events
  }

  static func deltas(
    _ request: GenerationRequest, index: Int, text: String, finish: FinishReason, stopReason: StopReason? = nil,
    group: () -> Int = { 1 }
  ) -> [ChoiceDelta] {
    var deltas: [ChoiceDelta] = []
    var rest = tokens(of: text)[...]
    var unshown: [TokenID] = []
    var sum: Float = 0
    while !rest.isEmpty {
      let tokens = Array(rest.prefix(max(1, group())))
      rest = rest.dropFirst(tokens.count)
      unshown += tokens
      var delta = ChoiceDelta(index: index, tokens: tokens)
      // Bytes up to the last whole character.
      var whole = unshown.count
      while whole > 0, !isValid(unshown[..<whole]) { whole -= 1 }
      delta.text = self.text(of: Array(unshown[..<whole]))
      unshown.removeFirst(whole)
      if let count = request.params.logprobs {
        delta.logprobs = tokens.map { position($0, alternatives: count) }
        sum += tokens.reduce(0) { $0 + logprob($1) }
        delta.cumulativeLogprob = sum
      }
      deltas.append(delta)
    }
    if deltas.isEmpty { deltas.append(ChoiceDelta(index: index)) }
    deltas[deltas.count - 1].finish = finish
    deltas[deltas.count - 1].stopReason = stopReason
    return deltas
  }

  private static func isValid(_ tokens: ArraySlice<TokenID>) -> Bool {
    String(validating: tokens.map { UInt8(truncatingIfNeeded: $0.rawValue) }, as: UTF8.self) != nil
  }
}
