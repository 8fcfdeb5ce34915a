import SwerveCore

/// One thing that is known of a request, as the journal keeps it.
enum JournalRecord: Sendable {
  /// A request began, or begins anew: what was known of it before does not count any more.
  case begins(JournalBegin)
  /// `time`: Unix time, seconds.
  case event(key: JournalKey, GenerationEvent, time: Int)
  /// No more events will come.
  case ends(key: JournalKey)
}

/// Whose request it is, and its response's id.
struct JournalKey: Sendable, Hashable {
  var owner: String
  var id: String
}

struct JournalBegin: Sendable {
  var key: JournalKey
  /// Of what the client sent.
  var digest: String
  /// From which all random numbers of the request follow; nil: `started` tells.
  var seed: Int?
  /// Unix time, seconds.
  var time: Int
}

/// Records as JSON, whose fields later versions may add to.
extension JournalRecord {
  var json: JSON {
    var object = JSONObject()
    func name(_ key: JournalKey) {
      object["o"] = .string(key.owner)
      object["i"] = .string(key.id)
    }
    switch self {
    case .begins(let begin):
      object["k"] = "begin"
      name(begin.key)
      object["d"] = .string(begin.digest)
      // As text: not all readers of JSON have 64 bits.
      if let seed = begin.seed { object["s"] = .string(String(seed)) }
      object["t"] = .int(begin.time)
    case .event(let key, .started(let info), let time):
      object["k"] = "start"
      object["t"] = .int(time)
      name(key)
      object["p"] = .array(info.promptTokens.map { .int(Int($0.rawValue)) })
      if let text = info.promptText { object["x"] = .string(text) }
      object["c"] = .int(info.cachedTokens)
      if info.hasReadLossy { object["l"] = true }
      if let seed = info.seed { object["s"] = .string(String(seed)) }
      if let logprobs = info.promptLogprobs {
        object["q"] = .array(logprobs.map { $0.map(Self.json) ?? .null })
      }
    case .event(let key, .delta(let delta), let time):
      object["k"] = "delta"
      object["t"] = .int(time)
      name(key)
      object["n"] = .int(delta.index)
      object["x"] = .string(delta.text)
      object["p"] = .array(delta.tokens.map { .int(Int($0.rawValue)) })
      if !delta.logprobs.isEmpty { object["q"] = .array(delta.logprobs.map(Self.json)) }
      if let sum = delta.cumulativeLogprob { object["m"] = .int(Int(sum.bitPattern)) }
      if let finish = delta.finish { object["f"] = .string(finish.rawValue) }
      switch delta.stopReason {
      case .string(let text): object["r"] = .string(text)
      case .token(let token): object["r"] = .int(Int(token.rawValue))
      case nil: break
      }
      if delta.hasReadLossy { object["l"] = true }
    case .ends(let key):
      object["k"] = "end"
      name(key)
    }
    return .object(object)
  }

  /// - Returns: nil for a record of another kind, or one that is not whole.
  init?(_ json: JSON) {
    guard let owner = json["o"]?.string, let id = json["i"]?.string else { return nil }
    let key = JournalKey(owner: owner, id: id)
    switch json["k"]?.string {
    case "begin":
      guard let digest = json["d"]?.string, let time = json["t"]?.int else { return nil }
      let seed = json["s"]?.string.flatMap { Int($0) }
      self = .begins(JournalBegin(key: key, digest: digest, seed: seed, time: time))
    case "start":
      guard let tokens = Self.tokens(json["p"]) else { return nil }
      var info = PromptInfo(
        promptTokens: tokens, promptText: json["x"]?.string, cachedTokens: json["c"]?.int ?? 0, promptLogprobs: nil)
      info.hasReadLossy = json["l"]?.bool ?? false
      info.seed = json["s"]?.string.flatMap { Int($0) }
      info.promptLogprobs = json["q"]?.array.map { $0.map { Self.position($0) } }
      self = .event(key: key, .started(info), time: json["t"]?.int ?? 0)
    case "delta":
      guard let index = json["n"]?.int, (0..<1 << 20).contains(index), let text = json["x"]?.string,
        let tokens = Self.tokens(json["p"])
      else { return nil }
      var delta = ChoiceDelta(index: index, text: text, tokens: tokens)
      delta.logprobs = (json["q"]?.array ?? []).compactMap { Self.position($0) }
      delta.cumulativeLogprob = json["m"]?.int.flatMap { UInt32(exactly: $0) }.map { Float(bitPattern: $0) }
      if let finish = json["f"]?.string {
        guard let known = FinishReason(rawValue: finish) else { return nil }
        delta.finish = known
      }
      if let text = json["r"]?.string { delta.stopReason = .string(text) }
      if let token = json["r"]?.int.flatMap({ Int32(exactly: $0) }) {
        delta.stopReason = .token(TokenID(rawValue: token))
      }
      delta.hasReadLossy = json["l"]?.bool ?? false
      self = .event(key: key, .delta(delta), time: json["t"]?.int ?? 0)
    case "end": self = .ends(key: key)
    default: return nil
    }
  }

  private static func tokens(_ json: JSON?) -> [TokenID]? {
    guard let list = json?.array else { return nil }
    let numbers = list.compactMap { $0.int.flatMap { Int32(exactly: $0) } }
    return numbers.count == list.count ? numbers.map { TokenID(rawValue: $0) } : nil
  }

  private static func json(_ position: PositionLogprobs) -> JSON {
    .array([json(position.chosen), .array(position.alternatives.map(json))])
  }

  private static func json(_ text: TokenText) -> JSON {
    .array([
      .int(Int(text.token.rawValue)), .int(Int(text.logprob.bitPattern)), .int(text.rank), .string(text.text),
      .array(text.bytes.map { .int(Int($0)) }),
    ])
  }

  private static func position(_ json: JSON) -> PositionLogprobs? {
    guard let parts = json.array, parts.count == 2, let chosen = text(parts[0]), let others = parts[1].array else {
      return nil
    }
    return PositionLogprobs(chosen: chosen, alternatives: others.compactMap { text($0) })
  }

  private static func text(_ json: JSON) -> TokenText? {
    guard let parts = json.array, parts.count == 5, let token = parts[0].int.flatMap({ Int32(exactly: $0) }),
      let bits = parts[1].int.flatMap({ UInt32(exactly: $0) }), let rank = parts[2].int, let text = parts[3].string,
      let bytes = parts[4].array
    else { return nil }
    return TokenText(
      token: TokenID(rawValue: token), logprob: Float(bitPattern: bits), rank: rank, text: text,
      bytes: bytes.compactMap { $0.int.flatMap { UInt8(exactly: $0) } })
  }
}
