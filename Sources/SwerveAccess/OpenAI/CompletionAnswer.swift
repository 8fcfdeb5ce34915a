import SwerveCore

/// What is the same on every answer and chunk of one request.
struct AnswerHead: Sendable {
  var id: String
  var created: Int
  var model: String
  var fingerprint: String?
  var serviceTier: String?

  /// `"id":…,"object":…,"created":…,"model":…`
  func members(object: String) -> [UInt8] {
    var out: [UInt8] = []
    out.raw(#""id":"#)
    out.string(id)
    out.raw(#","object":""# + object + #"","created":"#)
    out.int(created)
    out.raw(#","model":"#)
    out.string(model)
    return out
  }
}

/// What answers of both kinds need to know of their request.
struct AnswerShape: Sendable {
  var head: AnswerHead
  /// Choices per prompt.
  var n: Int
  var logprobs: LogprobStyle?
  var returnsTokenIDs: Bool
  var includesUsage: Bool
  var includesContinuousUsage: Bool
  var streamInterval: Int
}

/// Text put in front of a completion that echoes its prompt.
struct PromptEcho: Sendable {
  var text: String
  /// The prompt's log-probabilities; nil when not asked for.
  var logprobs: [CompletionLogprobs.Position]?
}

/// Builds the echo of a prompt. The first position has no log-probability, so its text comes from the tokenizer.
struct EchoBuilder: Sendable {
  let engine: any EngineClient
  let logprobs: LogprobStyle?

  func echo(of info: PromptInfo) async -> PromptEcho {
    var echo = PromptEcho(text: info.promptText ?? "")
    guard let logprobs, let positions = info.promptLogprobs else { return echo }
    var shown: [CompletionLogprobs.Position] = []
    for (place, token) in info.promptTokens.enumerated() {
      if positions.indices.contains(place), let position = positions[place] {
        shown.append(.known(position))
      } else {
        shown.append(.unknown(text: await name(of: token, logprobs)))
      }
    }
    echo.logprobs = shown
    return echo
  }

  private func name(of token: TokenID, _ style: LogprobStyle) async -> String {
    if style.showsTokensAsIDs { return LogprobStyle.id(token) }
    do throws(RequestError) {
      return try await engine.detokenize([token])
    } catch {
      // Without a tokenizer the id is the only name a token has.
      return engine.tokenString(token) ?? LogprobStyle.id(token)
    }
  }
}

/// Writes the answer of `/v1/completions` that is sent at once.
struct CompletionAnswer {
  let shape: AnswerShape
  /// Alternatives per prompt position; −1 = all, nil = not asked for.
  let promptLogprobs: Int?

  func write(_ answer: CollectedAnswer, echoes: [PromptEcho?]) -> [UInt8] {
    var out: [UInt8] = []
    out.raw("{")
    out += shape.head.members(object: "text_completion")
    out.raw(#","choices":"#)
    let places = answer.choices.indices.flatMap { prompt in answer.choices[prompt].indices.map { (prompt, $0) } }
    out.list(places) { out, place in
      writeChoice(answer, prompt: place.0, index: place.1, echo: echoes[place.0], to: &out)
    }
    out.raw(#","service_tier":"#)
    out.string(orNull: shape.head.serviceTier)
    out.raw(#","system_fingerprint":"#)
    out.string(orNull: shape.head.fingerprint)
    out.raw(#","usage":"#)
    answer.usage.write(to: &out, withCompletionDetails: false)
    out.raw(#","kv_transfer_params":"#)
    out.object(orNull: answer.infos.first??.kvTransfer)
    out.raw("}")
    return out
  }

  private func writeChoice(
    _ answer: CollectedAnswer, prompt: Int, index: Int, echo: PromptEcho?, to out: inout [UInt8]
  ) {
    let choice = answer.choices[prompt][index]
    let info = answer.infos[prompt]
    out.raw(#"{"index":"#)
    out.int(prompt * shape.n + index)
    out.raw(#","text":"#)
    out.string((echo?.text ?? "") + choice.text)
    out.raw(#","logprobs":"#)
    if let style = shape.logprobs {
      var logprobs = CompletionLogprobs(style: style)
      logprobs.write((echo?.logprobs ?? []) + choice.logprobs.map { .known($0) }, to: &out)
    } else {
      out.raw("null")
    }
    out.raw(#","finish_reason":"#)
    out.finish(choice.finish)
    out.raw(#","stop_reason":"#)
    out.stopReason(choice.stopReason)
    out.raw(#","token_ids":"#)
    out.tokens(orNull: shape.returnsTokenIDs ? choice.tokens : nil)
    out.raw(#","prompt_logprobs":"#)
    PromptLogprobs.write(info?.promptLogprobs, count: promptLogprobs, to: &out)
    out.raw(#","prompt_token_ids":"#)
    out.tokens(orNull: shape.returnsTokenIDs ? info?.promptTokens : nil)
    out.raw("}")
  }
}
