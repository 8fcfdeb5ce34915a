import SwerveCore

/// Writes the answer of `/v1/chat/completions` that is sent at once.
struct ChatAnswer {
  let shape: AnswerShape
  let role: String
  let echoedText: String
  /// Alternatives per prompt position; −1 = all, nil = not asked for.
  let promptLogprobs: Int?
  let returnsPromptText: Bool

  func write(_ answer: CollectedAnswer) -> [UInt8] {
    let info = answer.infos.first ?? nil
    var out: [UInt8] = []
    out.raw("{")
    out += shape.head.members(object: "chat.completion")
    out.raw(#","choices":"#)
    out.list((answer.choices.first ?? []).enumerated()) { out, item in
      writeChoice(item.element, index: item.offset, to: &out)
    }
    out.raw(#","service_tier":"#)
    out.string(orNull: shape.head.serviceTier)
    out.raw(#","system_fingerprint":"#)
    out.string(orNull: shape.head.fingerprint)
    out.raw(#","usage":"#)
    answer.usage.write(to: &out, withCompletionDetails: true)
    out.raw(#","prompt_logprobs":"#)
    PromptLogprobs.write(info?.promptLogprobs, count: promptLogprobs, to: &out)
    out.raw(#","prompt_token_ids":"#)
    out.tokens(orNull: shape.returnsTokenIDs ? info?.promptTokens : nil)
    if returnsPromptText {
      out.raw(#","prompt_text":"#)
      out.string(orNull: info?.promptText)
    }
    out.raw(#","kv_transfer_params":"#)
    out.object(orNull: info?.kvTransfer)
    out.raw(#","metrics":null}"#)
    return out
  }

  private func writeChoice(_ choice: CollectedChoice, index: Int, to out: inout [UInt8]) {
    out.raw(#"{"index":"#)
    out.int(index)
    out.raw(#","message":{"role":"#)
    out.string(role)
    out.raw(#","content":"#)
    out.string(echoedText + choice.text)
    out.raw(#","refusal":null,"annotations":null,"audio":null,"function_call":null"#)
    out.raw(#","reasoning":null,"reasoning_content":null},"logprobs":"#)
    if let style = shape.logprobs {
      ChatLogprobs.write(choice.logprobs, style: style, to: &out)
    } else {
      out.raw("null")
    }
    out.raw(#","finish_reason":"#)
    out.finish(choice.finish)
    out.raw(#","stop_reason":"#)
    out.stopReason(choice.stopReason)
    out.raw(#","token_ids":"#)
    out.tokens(orNull: shape.returnsTokenIDs ? choice.tokens : nil)
    out.raw("}")
  }
}
