import SwerveCore

/// Writes the events of one streamed answer. A value holds what a choice's later chunks need to know of its earlier
/// ones.
protocol ChunkWriter: Sendable {
  /// A prompt's first output has arrived. Chat sends its role chunks here.
  mutating func start(prompt: Int, _ info: PromptInfo, echo: PromptEcho?, usage: Usage, to out: inout [UInt8])
  /// New output of one choice.
  mutating func write(prompt: Int, _ delta: ChoiceDelta, usage: Usage, to out: inout [UInt8])
  /// The chunk without choices that closes a stream which asked for usage.
  func writeUsage(_ usage: Usage, to out: inout [UInt8])
}

/// `data: …\n\n` around one event.
enum EventFrame {
  static let done = Array("data: [DONE]\n\n".utf8)
  static let keepAlive = Array(": keep-alive\n\n".utf8)

  static func write(to out: inout [UInt8], _ body: (inout [UInt8]) -> Void) {
    out.raw("data: ")
    body(&out)
    out.raw("\n\n")
  }
}

/// Chunks of `/v1/chat/completions`.
struct ChatChunkWriter: ChunkWriter {
  let shape: AnswerShape
  let role: String
  let echoedText: String
  let returnsPromptText: Bool
  private let prefix: [UInt8]
  /// For the last chunk of a choice.
  private var kvTransfer: JSONObject?

  init(shape: AnswerShape, role: String, echoedText: String, returnsPromptText: Bool) {
    self.shape = shape
    self.role = role
    self.echoedText = echoedText
    self.returnsPromptText = returnsPromptText
    prefix = Array("data: {".utf8) + shape.head.members(object: "chat.completion.chunk")
  }

  mutating func start(prompt: Int, _ info: PromptInfo, echo: PromptEcho?, usage: Usage, to out: inout [UInt8]) {
    kvTransfer = info.kvTransfer
    for index in 0..<shape.n {
      out += prefix
      out.raw(#","choices":[{"index":"#)
      out.int(index)
      out.raw(#","delta":{"role":"#)
      out.string(role)
      out.raw(#","content":""},"logprobs":null,"finish_reason":null}]"#)
      if shape.returnsTokenIDs {
        out.raw(#","prompt_token_ids":"#)
        out.tokens(info.promptTokens)
      }
      if returnsPromptText {
        out.raw(#","prompt_text":"#)
        out.string(orNull: info.promptText)
      }
      shape.endChunk(usage, finish: nil, withCompletionDetails: true, to: &out)
    }
    guard !echoedText.isEmpty else { return }
    for index in 0..<shape.n {
      write(prompt: prompt, ChoiceDelta(index: index, text: echoedText), usage: usage, isEcho: true, to: &out)
    }
  }

  mutating func write(prompt: Int, _ delta: ChoiceDelta, usage: Usage, to out: inout [UInt8]) {
    write(prompt: prompt, delta, usage: usage, isEcho: false, to: &out)
  }

  private func write(prompt: Int, _ delta: ChoiceDelta, usage: Usage, isEcho: Bool, to out: inout [UInt8]) {
    out += prefix
    out.raw(#","choices":[{"index":"#)
    out.int(delta.index)
    out.raw(#","delta":{"#)
    // A finish without text is an empty delta, as the reference clients expect it.
    if !delta.text.isEmpty || delta.finish == nil {
      out.raw(#""content":"#)
      out.string(delta.text)
    }
    out.raw(#"},"logprobs":"#)
    if let style = shape.logprobs, !isEcho, !delta.logprobs.isEmpty {
      ChatLogprobs.write(delta.logprobs, style: style, to: &out)
    } else {
      out.raw("null")
    }
    out.raw(#","finish_reason":"#)
    out.finish(delta.finish)
    if delta.finish != nil {
      out.raw(#","stop_reason":"#)
      out.stopReason(delta.stopReason)
    }
    if shape.returnsTokenIDs, !isEcho {
      out.raw(#","token_ids":"#)
      out.tokens(delta.tokens)
    }
    out.raw("}]")
    shape.endChunk(usage, finish: delta.finish, withCompletionDetails: true, kvTransfer: kvTransfer, to: &out)
  }

  func writeUsage(_ usage: Usage, to out: inout [UInt8]) {
    out += prefix
    shape.endUsageChunk(usage, withCompletionDetails: true, to: &out)
  }
}

/// Chunks of `/v1/completions`. There is no role chunk; with `echo` a choice's first chunk holds the prompt as well.
struct CompletionChunkWriter: ChunkWriter {
  private struct Choice {
    var isFirst = true
    var logprobs: CompletionLogprobs?
  }

  let shape: AnswerShape
  private let prefix: [UInt8]
  private var choices: [Choice]
  private var infos: [PromptInfo?]
  private var echoes: [PromptEcho?]

  init(shape: AnswerShape, prompts: Int) {
    self.shape = shape
    prefix = Array("data: {".utf8) + shape.head.members(object: "text_completion")
    let choice = Choice(logprobs: shape.logprobs.map { CompletionLogprobs(style: $0) })
    choices = Array(repeating: choice, count: prompts * shape.n)
    infos = Array(repeating: nil, count: prompts)
    echoes = Array(repeating: nil, count: prompts)
  }

  mutating func start(prompt: Int, _ info: PromptInfo, echo: PromptEcho?, usage: Usage, to out: inout [UInt8]) {
    infos[prompt] = info
    echoes[prompt] = echo
  }

  mutating func write(prompt: Int, _ delta: ChoiceDelta, usage: Usage, to out: inout [UInt8]) {
    let place = prompt * shape.n + delta.index
    guard choices.indices.contains(place) else { return }
    let isFirst = choices[place].isFirst
    choices[place].isFirst = false
    let echo = isFirst ? echoes[prompt] : nil
    out += prefix
    out.raw(#","choices":[{"index":"#)
    out.int(place)
    out.raw(#","text":"#)
    out.string((echo?.text ?? "") + delta.text)
    out.raw(#","logprobs":"#)
    let positions = (echo?.logprobs ?? []) + delta.logprobs.map { .known($0) }
    if choices[place].logprobs != nil, !positions.isEmpty {
      choices[place].logprobs?.write(positions, to: &out)
    } else {
      out.raw("null")
    }
    out.raw(#","finish_reason":"#)
    out.finish(delta.finish)
    out.raw(#","stop_reason":"#)
    out.stopReason(delta.stopReason)
    if shape.returnsTokenIDs {
      if isFirst, let info = infos[prompt] {
        out.raw(#","prompt_token_ids":"#)
        out.tokens(info.promptTokens)
      }
      out.raw(#","token_ids":"#)
      out.tokens(delta.tokens)
    }
    out.raw("}]")
    shape.endChunk(
      usage, finish: delta.finish, withCompletionDetails: false, kvTransfer: infos[prompt]?.kvTransfer, to: &out)
  }

  func writeUsage(_ usage: Usage, to out: inout [UInt8]) {
    out += prefix
    shape.endUsageChunk(usage, withCompletionDetails: false, to: &out)
  }
}

/// What both kinds of chunks end with.
extension AnswerShape {
  /// After the choices: the fingerprint on the last chunk where no usage chunk follows, the running usage where asked for.
  fileprivate func endChunk(
    _ usage: Usage, finish: FinishReason?, withCompletionDetails: Bool, kvTransfer: JSONObject? = nil,
    to out: inout [UInt8]
  ) {
    if finish != nil, let kvTransfer {
      out.raw(#","kv_transfer_params":"#)
      out.object(orNull: kvTransfer)
    }
    if finish != nil, !includesUsage, let fingerprint = head.fingerprint {
      out.raw(#","system_fingerprint":"#)
      out.string(fingerprint)
    }
    if includesContinuousUsage {
      out.raw(#","usage":"#)
      usage.write(to: &out, withCompletionDetails: withCompletionDetails)
    }
    out.raw("}\n\n")
  }

  /// The whole of a usage chunk after its head.
  fileprivate func endUsageChunk(_ usage: Usage, withCompletionDetails: Bool, to out: inout [UInt8]) {
    out.raw(#","choices":[]"#)
    if let fingerprint = head.fingerprint {
      out.raw(#","system_fingerprint":"#)
      out.string(fingerprint)
    }
    out.raw(#","usage":"#)
    usage.write(to: &out, withCompletionDetails: withCompletionDetails)
    out.raw("}\n\n")
  }
}
