import Logging
import SwerveCore

/// The log lines of one generating request. Prompts and outputs appear only where the configuration asks for them.
struct RequestLog: Sendable {
  let id: String
  let state: ServerState
  private let start = ContinuousClock.now

  init(id: String, state: ServerState) {
    self.id = id
    self.state = state
  }

  func received(_ params: SamplingParams) {
    guard state.configuration.logsRequests else { return }
    state.logger.info("Received request \(id): params: \(params.logText), lora_request: None.")
  }

  /// One line per request with its size and times, and its outputs where wanted.
  func finished(_ answer: CollectedAnswer) {
    let finish = answer.choices.first?.first?.finish
    line("Finished", finish: finish, usage: answer.usage, firstOutput: answer.firstOutput)
    guard state.configuration.logsOutputs else { return }
    for choice in answer.choices.joined() {
      let finish = choice.finish?.rawValue ?? "None"
      state.logger.info("Generated response \(id): output: '\(shown(choice.text))', finish_reason: \(finish)")
    }
  }

  func finished(_ stream: EventStream<some ChunkWriter>, isComplete: Bool) {
    let isFailed = stream.error != nil
    line(
      !isComplete ? "Aborted" : isFailed ? "Failed" : "Finished", finish: stream.finish, usage: stream.usage,
      firstOutput: stream.firstOutput)
  }

  private func line(_ verb: String, finish: FinishReason?, usage: Usage, firstOutput: ContinuousClock.Instant?) {
    let first = firstOutput.map { Decimals.fixed(($0 - start).seconds, 3) + "s" } ?? "-"
    let total = Decimals.fixed((ContinuousClock.now - start).seconds, 3)
    state.logger.info(
      """
      \(verb) request \(id): finish_reason=\(finish?.rawValue ?? "-"), prompt_tokens=\(usage.promptTokens), \
      completion_tokens=\(usage.completionTokens), ttft=\(first), duration=\(total)s
      """)
  }

  private func shown(_ text: String) -> String {
    guard let most = state.configuration.maxLogLength, text.count > most else { return LogText.escaped(text) }
    return LogText.escaped(String(text.prefix(most)))
  }
}

extension SamplingParams {
  /// In the wording of existing log scrapers; strings of the request (stop, bad words) are counted, not shown.
  var logText: String {
    """
    SamplingParams(n=\(n), presence_penalty=\(presencePenalty), frequency_penalty=\(frequencyPenalty), \
    repetition_penalty=\(repetitionPenalty), temperature=\(temperature), top_p=\(topP), top_k=\(topK), min_p=\(minP), \
    seed=\(seed.map(String.init) ?? "None"), stop=\(stop.count), stop_token_ids=\(stopTokenIds.count), \
    ignore_eos=\(ignoreEos ? "True" : "False"), max_tokens=\(maxTokens.map(String.init) ?? "None"), \
    min_tokens=\(minTokens), logprobs=\(logprobs.map(String.init) ?? "None"), \
    prompt_logprobs=\(promptLogprobs.map(String.init) ?? "None"))
    """
  }
}
