import SwerveCore
import SwerveScheduling
import SwerveText

/// Turns the engine's tokens into text and feeds the clients' streams. Runs on a thread of its own, so that
/// detokenising never delays a step and a slow client never delays the engine (its backlog is bounded by its own
/// `maxTokens`).
struct Publisher: ~Copyable {
  let mailbox: Mailbox<PublisherMessage>
  /// Emptied hand-overs go back to the engine thread here.
  let spares: Mailbox<StepOutputs>
  let inbox: Mailbox<InboxMessage>
  let tokenizer: Tokenizer?
  let observer: (any EngineObserver)?
  let clock: EngineClock
  var requests: [RequestID: RequestRecord] = [:]
  private var isRunning = true

  init(
    mailbox: Mailbox<PublisherMessage>, spares: Mailbox<StepOutputs>, inbox: Mailbox<InboxMessage>,
    tokenizer: Tokenizer?, observer: (any EngineObserver)?, clock: EngineClock
  ) {
    self.mailbox = mailbox
    self.spares = spares
    self.inbox = inbox
    self.tokenizer = tokenizer
    self.observer = observer
    self.clock = clock
  }

  /// Returns after `stop`.
  mutating func run() {
    var messages: [PublisherMessage] = []
    while isRunning {
      mailbox.take(into: &messages, waits: true)
      for message in messages { handle(message) }
    }
  }

  private mutating func handle(_ message: PublisherMessage) {
    switch message {
    case .register(let record): requests[record.id] = record
    case .step(var outputs):
      publish(outputs)
      outputs.removeAll()
      spares.post(outputs)
    case .winners(let id, let winners, let preemptions, let now):
      publish(winners, of: id, preemptions: preemptions, now: now)
    case .drop(let id, let error): drop(id, error)
    case .dropAll(let error): dropAll(error)
    case .stop:
      dropAll(RequestError(.unavailable, "The server has stopped.", retryAfter: 1))
      isRunning = false
    }
  }

  private mutating func dropAll(_ error: RequestError) {
    for id in Array(requests.keys) { drop(id, error) }
  }

  private mutating func publish(_ step: borrowing StepOutputs) {
    observer?.step(tokens: step.tokenCount, seconds: step.seconds)
    for entry in step.promptLogprobs {
      let request = step.sequences[Int(entry.sequenceIndex)].request
      // Every choice that computes the prompt reports the same values; the first one to arrive is kept.
      guard requests[request]?.promptLogprobs?[Int(entry.position)] == nil else { continue }
      let alternatives = step.alternatives[
        Int(entry.firstAlternative)..<Int(entry.firstAlternative + entry.alternativeCount)]
      let described = describe(entry.chosen, alternatives)
      requests[request]?.promptLogprobs?[Int(entry.position)] = described
    }
    for output in step.outputs { publish(output, of: step) }
  }

  private static func sentence(_ cause: String?) -> String {
    cause.map { "The step that computed this request failed (\($0)); try again." }
      ?? "The step that computed this request failed; try again."
  }

  private mutating func publish(_ output: SequenceOutput, of step: borrowing StepOutputs) {
    let id = output.sequence.request
    // A request that was dropped may still have a token under way.
    guard let place = requests.index(forKey: id) else { return }
    let index = Int(output.sequence.index)
    if output.isFirstScheduled && requests.values[place].firstScheduled == nil {
      requests.values[place].firstScheduled = step.start
      requests.values[place].cachedTokens = Int(output.cachedTokens)
    }
    guard !requests.values[place].choices[index].isFinished else { return }
    if output.finish == .error {
      drop(id, RequestError(.internalError, Self.sentence(step.cause)))
      inbox.post(.cancel(id))
      return
    }

    var delta: ChoiceDelta
    if let token = output.token {
      start(place, preemptions: Int(output.preemptions), hasReadLossy: output.hasReadLossy)
      recordToken(place, index, now: step.now)
      let sample = output.sampleIndex >= 0 ? step.samples[Int(output.sampleIndex)] : nil
      delta = requests.values[place].choices[index].append(
        token, logprobs: logprobs(of: sample, in: step, params: requests.values[place].params), finish: output.finish)
      if delta.finish == .stop && output.finish == nil { inbox.post(.finish(output.sequence)) }
    } else if let finish = output.finish {
      start(place, preemptions: Int(output.preemptions), hasReadLossy: output.hasReadLossy)
      delta = requests.values[place].choices[index].finish(finish)
    } else {
      return
    }
    if delta.finish != nil { delta.hasReadLossy = output.hasReadLossy }
    send(delta, index: index, to: place, id: id, now: step.now)
  }

  /// The `started` event goes out with the first output, when the prompt was computed.
  mutating func start(
    _ place: Dictionary<RequestID, RequestRecord>.Index, preemptions: Int, hasReadLossy: Bool = false
  ) {
    requests.values[place].preemptions = max(requests.values[place].preemptions, preemptions)
    if requests.values[place].hasStarted { return }
    requests.values[place].hasStarted = true
    let record = requests.values[place]
    var info = PromptInfo(
      promptTokens: record.promptTokens, promptText: record.promptText, cachedTokens: record.cachedTokens,
      promptLogprobs: record.promptLogprobs)
    info.hasReadLossy = hasReadLossy
    info.kvTransfer = record.transferAnswer
    info.seed = record.seed
    record.stream.yield(.started(info))
  }

  mutating func recordToken(
    _ place: Dictionary<RequestID, RequestRecord>.Index, _ index: Int, now: EngineInstant
  ) {
    requests.values[place].generatedTokens += 1
    if requests.values[place].firstToken == nil {
      requests.values[place].firstToken = now
      observer?.firstToken(seconds: now.seconds(since: requests.values[place].arrival))
    }
    // Tokens that one step accepted come together: the gap is between steps.
    if let last = requests.values[place].lastToken[index], last < now {
      observer?.interToken(seconds: now.seconds(since: last))
    }
    requests.values[place].lastToken[index] = now
  }

  mutating func send(
    _ delta: ChoiceDelta, index: Int, to place: Dictionary<RequestID, RequestRecord>.Index, id: RequestID,
    now: EngineInstant
  ) {
    var delta = delta
    delta.index = index
    let record = requests.values[place]
    record.stream.yield(.delta(delta))
    guard let finish = delta.finish else { return }
    requests.values[place].finish = finish
    requests.values[place].openChoices -= 1
    if requests.values[place].openChoices == 0 {
      observer?.finished(requests.values[place].statistics(now: now))
      record.stream.finish()
      requests.removeValue(forKey: id)
    }
  }

  private mutating func drop(_ id: RequestID, _ error: RequestError?) {
    guard var record = requests.removeValue(forKey: id) else { return }
    record.finish = error == nil ? .abort : .error
    record.stream.finish(throwing: error)
    observer?.finished(record.statistics(now: clock.now()))
  }

  // MARK: Log-probabilities

  private func logprobs(
    of sample: Sample?, in step: borrowing StepOutputs, params: SamplingParams
  ) -> PositionLogprobs? {
    guard let sample, params.logprobs != nil else { return nil }
    let range = Int(sample.firstAlternative)..<Int(sample.firstAlternative + sample.alternativeCount)
    return describe(
      TokenLogprob(token: sample.token, logprob: sample.logprob, rank: sample.rank), step.alternatives[range])
  }

  func describe(_ chosen: TokenLogprob, _ alternatives: ArraySlice<TokenLogprob>) -> PositionLogprobs {
    PositionLogprobs(chosen: describe(chosen), alternatives: alternatives.map { describe($0) })
  }

  private func describe(_ entry: TokenLogprob) -> TokenText {
    TokenText(
      token: entry.token, logprob: entry.logprob, rank: Int(entry.rank),
      // Without a tokenizer the id is the only name; empty ones would make all alternatives look like one.
      text: tokenizer?.decode([entry.token], skipSpecialTokens: false) ?? "token_id:\(entry.token.rawValue)",
      bytes: tokenizer?.bytes(of: entry.token) ?? [])
  }
}
