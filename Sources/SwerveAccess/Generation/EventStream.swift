import SwerveCore

/// Turns a run's events into the bytes of a server-sent event stream: merging, usage, errors and the closing `[DONE]`.
///
/// A state machine without I/O: `apply` appends to a buffer, the caller writes it. It never answers with half an event.
struct EventStream<Writer: ChunkWriter>: Sendable {
  /// Output of one choice that waits for its chunk.
  private struct Pending {
    var delta: ChoiceDelta
    var isFirst = true
    var isFinished = false
  }

  private var writer: Writer
  private let shape: AnswerShape
  private let echo: EchoBuilder?
  private var pending: [[Pending]]
  private var endedPrompts = 0
  /// Set where a client may ask again for what it lost.
  var numbers: EventNumbers?
  private(set) var usage = Usage()
  private(set) var isDone = false
  /// Whether anything so far came out of keys and values of a lower precision.
  private(set) var hasReadLossy = false
  /// The client left before the end.
  private(set) var isAbandoned = false
  /// The last choice's finish, or nil while none has finished. For the request's log line.
  private(set) var finish: FinishReason?
  private(set) var error: RequestError?
  private(set) var firstOutput: ContinuousClock.Instant?

  init(writer: Writer, shape: AnswerShape, prompts: Int, echo: EchoBuilder?) {
    self.writer = writer
    self.shape = shape
    self.echo = echo
    pending = Array(
      repeating: (0..<shape.n).map { Pending(delta: ChoiceDelta(index: $0)) }, count: prompts)
  }

  /// Appends what an event makes visible.
  mutating func apply(_ event: RunEvent, to out: inout [UInt8]) async {
    guard !isDone else { return }
    if event.hasReadLossy { hasReadLossy = true }
    switch event {
    case .accepted: return
    case .output(let prompt, .started(let info)):
      usage.add(info)
      let echo = await echo?.echo(of: info)
      var head: [UInt8] = []
      writer.start(prompt: prompt, info, echo: echo, usage: usage, to: &head)
      if (numbers?.last ?? 0) == 0 { out += head }
    case .output(let prompt, .delta(let delta)): take(delta, prompt: prompt, to: &out)
    case .ended:
      endedPrompts += 1
      // A stream that ends before all of its choices did is a fault of the engine, not an answer.
      if endedPrompts >= pending.count, !allFinished { fail(.internalFault, to: &out) }
    case .failed(let error): fail(error, to: &out)
    case .shutdown: fail(.shuttingDown, to: &out)
    case .deadline: expire(to: &out)
    case .idle: out += EventFrame.keepAlive
    case .disconnected:
      isAbandoned = true
      isDone = true
    }
  }

  private var allFinished: Bool { pending.allSatisfy { $0.allSatisfy(\.isFinished) } }

  private mutating func take(_ delta: ChoiceDelta, prompt: Int, to out: inout [UInt8]) {
    guard pending[prompt].indices.contains(delta.index), !pending[prompt][delta.index].isFinished else { return }
    if firstOutput == nil { firstOutput = .now }
    usage.completionTokens += delta.tokens.count
    if delta.finish == .error { return fail(.internalFault, to: &out) }
    pending[prompt][delta.index].delta.append(delta)
    if isDue(pending[prompt][delta.index]) { flush(prompt, delta.index, to: &out) }
    if delta.finish != nil, allFinished { end(to: &out) }
  }

  /// A choice's first and last chunk are immediate, those between when enough tokens are there. Tokens without text yet
  /// wait for it, unless the client wants to see the tokens themselves.
  private func isDue(_ waiting: Pending) -> Bool {
    if waiting.delta.finish != nil { return true }
    let isVisible =
      !waiting.delta.text.isEmpty || (shape.returnsTokenIDs && !waiting.delta.tokens.isEmpty)
      || !waiting.delta.logprobs.isEmpty
    return isVisible && (waiting.isFirst || waiting.delta.tokens.count >= shape.streamInterval)
  }

  private mutating func flush(_ prompt: Int, _ index: Int, to out: inout [UInt8]) {
    let delta = pending[prompt][index].delta
    pending[prompt][index].delta = ChoiceDelta(index: index)
    pending[prompt][index].isFirst = false
    pending[prompt][index].isFinished = delta.finish != nil
    finish = delta.finish ?? finish
    guard let numbers else { return writer.write(prompt: prompt, delta, usage: usage, to: &out) }
    var chunk: [UInt8] = []
    writer.write(prompt: prompt, delta, usage: usage, to: &chunk)
    // What the client has had goes through the writer all the same, which counts.
    if usage.completionTokens <= numbers.last && delta.finish == nil { return }
    out.raw("id: \(usage.completionTokens)\n")
    out += chunk
  }

  /// The deadline ends a request that has shown something by `length`, any other by an error.
  private mutating func expire(to out: inout [UInt8]) {
    guard usage.completionTokens > 0 else { return fail(.timedOut, to: &out) }
    for prompt in pending.indices {
      for index in pending[prompt].indices where !pending[prompt][index].isFinished {
        pending[prompt][index].delta.finish = .length
        flush(prompt, index, to: &out)
      }
    }
    end(to: &out)
  }

  private mutating func end(to out: inout [UInt8]) {
    if shape.includesUsage { writer.writeUsage(usage, to: &out) }
    out += EventFrame.done
    isDone = true
  }

  private mutating func fail(_ error: RequestError, to out: inout [UInt8]) {
    self.error = error
    EventFrame.write(to: &out) { out in error.write(to: &out) }
    out += EventFrame.done
    isDone = true
  }
}

extension ChoiceDelta {
  /// Joins what followed.
  fileprivate mutating func append(_ next: ChoiceDelta) {
    text += next.text
    tokens += next.tokens
    logprobs += next.logprobs
    finish = next.finish
    stopReason = next.stopReason
    cumulativeLogprob = next.cumulativeLogprob ?? cumulativeLogprob
  }
}
