import SwerveCore

/// Everything one choice produced, put together from its deltas.
struct CollectedChoice: Sendable {
  var text = ""
  var tokens: [TokenID] = []
  var logprobs: [PositionLogprobs] = []
  var finish: FinishReason?
  var stopReason: StopReason?
  var cumulativeLogprob: Float?
  var hasReadLossy = false

  mutating func append(_ delta: ChoiceDelta) {
    text += delta.text
    tokens += delta.tokens
    logprobs += delta.logprobs
    cumulativeLogprob = delta.cumulativeLogprob ?? cumulativeLogprob
    guard let finish = delta.finish else { return }
    self.finish = finish
    stopReason = delta.stopReason
    hasReadLossy = delta.hasReadLossy
  }

  /// Mean log-probability per token; a choice without tokens ranks last.
  var meanLogprob: Float {
    guard !tokens.isEmpty else { return -.infinity }
    let sum = cumulativeLogprob ?? logprobs.reduce(0) { $0 + $1.chosen.logprob }
    return sum / Float(tokens.count)
  }
}

/// The whole answer to a client request: `choices[prompt][index]`.
struct CollectedAnswer: Sendable {
  var infos: [PromptInfo?]
  var choices: [[CollectedChoice]]
  /// Tokens of choices that were generated and not kept; they were work all the same.
  private var discardedTokens = 0
  /// Time of the first token, for the request's log line.
  var firstOutput: ContinuousClock.Instant?

  init(prompts: Int, choices: Int) {
    infos = Array(repeating: nil, count: prompts)
    self.choices = Array(repeating: Array(repeating: CollectedChoice(), count: choices), count: prompts)
  }

  var isComplete: Bool { choices.allSatisfy { $0.allSatisfy { $0.finish != nil } } }
  var hasOutput: Bool { choices.contains { $0.contains { !$0.tokens.isEmpty } } }

  /// Whether anything of it rests on keys and values of a lower precision.
  var hasReadLossy: Bool {
    infos.contains { $0?.hasReadLossy == true } || choices.contains { $0.contains(where: \.hasReadLossy) }
  }

  var usage: Usage {
    var usage = Usage()
    for info in infos { if let info { usage.add(info) } }
    usage.completionTokens = discardedTokens + choices.reduce(0) { $0 + $1.reduce(0) { $0 + $1.tokens.count } }
    return usage
  }

  mutating func apply(_ event: GenerationEvent, prompt: Int) {
    switch event {
    case .started(let info): infos[prompt] = info
    case .delta(let delta):
      guard choices[prompt].indices.contains(delta.index) else { return }
      if firstOutput == nil { firstOutput = .now }
      choices[prompt][delta.index].append(delta)
    }
  }

  /// Ends what is still running, as a passed deadline does.
  mutating func finishRemaining(_ reason: FinishReason) {
    for prompt in choices.indices {
      for index in choices[prompt].indices where choices[prompt][index].finish == nil {
        choices[prompt][index].finish = reason
      }
    }
  }

  /// Keeps the `count` choices of each prompt with the highest mean log-probability, best first (`best_of`).
  mutating func keepBest(_ count: Int) {
    for prompt in choices.indices where choices[prompt].count > count {
      let ranked = choices[prompt].enumerated().sorted {
        ($0.element.meanLogprob, -$0.offset) > ($1.element.meanLogprob, -$1.offset)
      }
      discardedTokens += ranked.dropFirst(count).reduce(0) { $0 + $1.element.tokens.count }
      choices[prompt] = ranked.prefix(count).map(\.element)
    }
  }
}

extension GenerationRun {
  /// Runs to the end and answers everything at once.
  func collect(prompts: Int, choices: Int) async throws(RunFailure) -> CollectedAnswer {
    var answer = CollectedAnswer(prompts: prompts, choices: choices)
    var events = try await accepted(prompts: prompts)
    var endedPrompts = 0
    while true {
      for event in events {
        switch event {
        case .output(let prompt, let output): answer.apply(output, prompt: prompt)
        case .ended: endedPrompts += 1
        case .failed(let error): throw .refused(error)
        case .disconnected: throw .disconnected
        case .shutdown: throw .refused(.shuttingDown)
        case .deadline:
          guard answer.hasOutput else { throw .refused(.timedOut) }
          answer.finishRemaining(.length)
          endedPrompts = prompts
        case .accepted, .idle: continue
        }
      }
      if endedPrompts >= prompts || answer.isComplete { break }
      events = await mailbox.receive()
      if events.isEmpty { throw .disconnected }
    }
    close()
    try answer.check()
    return answer
  }
}

extension CollectedAnswer {
  /// A choice that ended in an error, was aborted or never ended must not look like a success.
  fileprivate func check() throws(RunFailure) {
    for choice in choices.joined() {
      switch choice.finish {
      case .error?, nil: throw .refused(.internalFault)
      case .abort?: throw .refused(.aborted)
      default: continue
      }
    }
  }
}

extension RequestError {
  static let aborted = Self(
    .unavailable, "The server aborted this request; trying again may work.", retryAfter: 1)
}
