import SwerveCore

// Answers are written straight into bytes: a chunk per token must not build a JSON tree first.
extension [UInt8] {
  /// Text that is already JSON.
  mutating func raw(_ text: String) { append(contentsOf: text.utf8) }

  mutating func string(_ text: String) { JSON.write(string: text, to: &self) }

  mutating func string(orNull text: String?) {
    if let text { string(text) } else { raw("null") }
  }

  mutating func object(orNull object: JSONObject?) {
    if let object { append(contentsOf: JSON.object(object).bytes) } else { raw("null") }
  }

  mutating func int(_ value: Int) { raw(String(value)) }

  /// A log-probability; what has none (banned, never computed, not a number) is −9999.0.
  mutating func logprob(_ value: Float) { raw((value > -9999 ? value : -9999).description) }

  mutating func list<Item>(_ items: some Sequence<Item>, _ write: (inout Self, Item) -> Void) {
    append(UInt8(ascii: "["))
    var isFirst = true
    for item in items {
      if !isFirst { append(UInt8(ascii: ",")) }
      isFirst = false
      write(&self, item)
    }
    append(UInt8(ascii: "]"))
  }

  mutating func tokens(_ tokens: some Sequence<TokenID>) {
    list(tokens) { out, token in out.int(Int(token.rawValue)) }
  }

  mutating func tokens(orNull tokens: [TokenID]?) {
    if let tokens { self.tokens(tokens) } else { raw("null") }
  }

  mutating func finish(_ reason: FinishReason?) {
    string(orNull: reason?.rawValue)
  }

  mutating func stopReason(_ reason: StopReason?) {
    switch reason {
    case .string(let text)?: string(text)
    case .token(let token)?: int(Int(token.rawValue))
    case nil: raw("null")
    }
  }
}

/// Tokens counted so far for the `usage` object. Prompt tokens are counted once per prompt, not per choice.
struct Usage: Sendable {
  var promptTokens = 0
  var cachedTokens = 0
  var completionTokens = 0

  mutating func add(_ info: PromptInfo) {
    promptTokens += info.promptTokens.count
    cachedTokens += info.cachedTokens
  }

  func write(to out: inout [UInt8], withCompletionDetails: Bool) {
    out.raw(#"{"prompt_tokens":"#)
    out.int(promptTokens)
    out.raw(#","total_tokens":"#)
    out.int(promptTokens + completionTokens)
    out.raw(#","completion_tokens":"#)
    out.int(completionTokens)
    out.raw(#","prompt_tokens_details":{"cached_tokens":"#)
    out.int(cachedTokens)
    out.raw("}")
    if withCompletionDetails { out.raw(#","completion_tokens_details":{"reasoning_tokens":0}"#) }
    out.raw("}")
  }
}
