import SwerveCore

/// How log-probabilities are spelled in an answer (HTTP API §6).
struct LogprobStyle: Sendable {
  /// Tokens as `token_id:123` in place of their text.
  var showsTokensAsIDs = false
  /// Alternatives per position; −1 = all there are.
  var count: Int

  func name(_ token: TokenText) -> String { showsTokensAsIDs ? Self.id(token.token) : token.text }

  static func id(_ token: TokenID) -> String { "token_id:\(token.rawValue)" }

  func shown(_ position: PositionLogprobs) -> ArraySlice<TokenText> {
    count < 0 ? position.alternatives[...] : position.alternatives.prefix(count)
  }
}

/// Chat: `{"content":[{"token","logprob","bytes","top_logprobs"}],"refusal":null}`, one entry per generated token.
struct ChatLogprobs {
  static func write(_ positions: [PositionLogprobs], style: LogprobStyle, to out: inout [UInt8]) {
    out.raw(#"{"content":"#)
    out.list(positions) { out, position in
      out.raw("{")
      writeToken(position.chosen, style, to: &out)
      out.raw(#","top_logprobs":"#)
      out.list(style.shown(position)) { out, token in
        out.raw("{")
        writeToken(token, style, to: &out)
        out.raw("}")
      }
      out.raw("}")
    }
    out.raw(#","refusal":null}"#)
  }

  private static func writeToken(_ token: TokenText, _ style: LogprobStyle, to out: inout [UInt8]) {
    out.raw(#""token":"#)
    out.string(style.name(token))
    out.raw(#","logprob":"#)
    out.logprob(token.logprob)
    out.raw(#","bytes":"#)
    out.list(token.bytes) { out, byte in out.int(Int(byte)) }
  }
}

/// Completions: four parallel lists. `text_offset` counts code points of reported token text and continues across the
/// chunks of a choice, so the value is kept as long as the choice runs.
struct CompletionLogprobs: Sendable {
  let style: LogprobStyle
  private var offset = 0

  init(style: LogprobStyle) { self.style = style }

  /// A position that has no log-probability (the first of an echoed prompt), or one that has.
  enum Position {
    case unknown(text: String)
    case known(PositionLogprobs)
  }

  mutating func write(_ positions: [Position], to out: inout [UInt8]) {
    let names = positions.map { position in
      switch position {
      case .unknown(let text): text
      case .known(let known): style.name(known.chosen)
      }
    }
    out.raw(#"{"text_offset":"#)
    var next = offset
    out.list(names) { out, name in
      out.int(next)
      next += name.unicodeScalars.count
    }
    offset = next
    out.raw(#","token_logprobs":"#)
    out.list(positions) { out, position in
      switch position {
      case .unknown: out.raw("null")
      case .known(let known): out.logprob(known.chosen.logprob)
      }
    }
    out.raw(#","tokens":"#)
    out.list(names) { out, name in out.string(name) }
    out.raw(#","top_logprobs":"#)
    out.list(positions) { out, position in
      switch position {
      case .unknown: out.raw("null")
      case .known(let known): writeTop(known, to: &out)
      }
    }
    out.raw("}")
  }

  /// The chosen token and the alternatives, each name once: two tokens may have the same text.
  private func writeTop(_ position: PositionLogprobs, to out: inout [UInt8]) {
    var seen: Set<String> = []
    out.raw("{")
    for token in [position.chosen] + style.shown(position) {
      let name = style.name(token)
      guard seen.insert(name).inserted else { continue }
      if seen.count > 1 { out.raw(",") }
      out.string(name)
      out.raw(":")
      out.logprob(token.logprob)
    }
    out.raw("}")
  }
}

/// `prompt_logprobs`: one entry per prompt position, the first null, each an object from token id to
/// `{"logprob","rank","decoded_token"}`.
struct PromptLogprobs {
  /// - Parameter count: alternatives per position; −1 = all, nil = not asked for.
  static func write(_ positions: [PositionLogprobs?]?, count: Int?, to out: inout [UInt8]) {
    guard let positions, let count else { return out.raw("null") }
    let style = LogprobStyle(count: count)
    out.list(positions) { out, position in
      guard let position else { return out.raw("null") }
      var seen: Set<TokenID> = []
      out.raw("{")
      for token in [position.chosen] + style.shown(position) where seen.insert(token.token).inserted {
        if seen.count > 1 { out.raw(",") }
        out.string(String(token.token.rawValue))
        out.raw(#":{"logprob":"#)
        out.logprob(token.logprob)
        out.raw(#","rank":"#)
        out.int(token.rank)
        out.raw(#","decoded_token":"#)
        out.string(token.text)
        out.raw("}")
      }
      out.raw("}")
    }
  }
}
