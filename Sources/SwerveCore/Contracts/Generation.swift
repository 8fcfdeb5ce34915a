/// What a client asked, on whatever wire it came: the access layer builds it, the engine answers with a stream.
public struct GenerationRequest: Sendable {
  public enum Prompt: Sendable {
    case text(String)
    case tokens([TokenID])
    case chat(ChatPrompt)
  }

  /// The id seen by clients and logs (`cmpl-…`, `chatcmpl-…`).
  public var id: String
  public var prompt: Prompt
  public var params: SamplingParams
  /// Whether the tokenizer adds its begin/end tokens to a text prompt.
  public var addSpecialTokens = true
  /// Keep that many prompt tokens; −1 = the model's limit; nil = refuse a prompt that is too long.
  public var truncatePromptTokens: Int?
  /// `left` keeps the last tokens, `right` the first.
  public var truncationSide = TruncationSide.left
  /// Lower runs earlier, where the scheduling policy looks at it.
  public var priority = 0
  /// Whoever shares the machine with others: fair policies and service classes go by it. nil = nobody in particular.
  public var tenant: String?
  /// What the client asked for (`auto`, `default`, `flex`, `priority`); chooses a service class where one names it.
  public var serviceTier: String?
  /// Separates prefix-cache entries of tenants that must not learn from each other's timing.
  public var cacheSalt: String?
  /// By what the request is known where a journal is kept; nil = it is not kept.
  package var idempotency: Idempotency?
  /// Output tokens that the request goes on behind: they count, are not generated again and not delivered. One choice only.
  package var continuation: [TokenID] = []

  /// What tells one request from another that may have its id.
  package struct Idempotency: Sendable, Hashable {
    /// Who asks: nobody else gets this request's answer.
    package var owner: String
    /// Of all that the client sent.
    package var digest: String
    /// Whether the client chose the id, so that the request may be a repeated one.
    package var isNamed: Bool

    package init(owner: String, digest: String, isNamed: Bool) {
      self.owner = owner
      self.digest = digest
      self.isNamed = isNamed
    }
  }
  /// Keys and values that another engine computed, or goes on with; nil = neither.
  public var kvTransfer: KVTransferParams?

  public enum TruncationSide: String, Sendable { case left, right }

  public init(id: String, prompt: Prompt, params: SamplingParams) {
    self.id = id
    self.prompt = prompt
    self.params = params
  }
}

/// A conversation to be rendered by the model's chat template.
public struct ChatPrompt: Sendable {
  /// OpenAI-shaped message objects in client order.
  public var messages: [JSON]
  public var tools: [JSON]?
  public var documents: [JSON]?
  public var addGenerationPrompt = true
  public var continueFinalMessage = false
  /// Extra template variables (`chat_template_kwargs`).
  public var templateArguments = JSONObject()
  /// A template that replaces the model's own (only where the server trusts its clients).
  public var template: String?

  public init(messages: [JSON]) { self.messages = messages }
}

/// Why a choice ended. Raw values are the wire's.
public enum FinishReason: String, Sendable, Hashable {
  case stop, length, abort, error, repetition
  case toolCalls = "tool_calls"
  case contentFilter = "content_filter"
}

/// What made a choice stop, where it was not the end-of-sequence token.
public enum StopReason: Sendable, Hashable {
  case string(String)
  case token(TokenID)
}

/// What a request's stream carries, in this order: one `started`, any number of `delta`, then the stream ends (or throws
/// a `RequestError`). Every choice has exactly one delta with a `finish`.
public enum GenerationEvent: Sendable {
  case started(PromptInfo)
  case delta(ChoiceDelta)
}

/// Sent when the first output of any choice arrives.
public struct PromptInfo: Sendable {
  public var promptTokens: [TokenID]
  /// The prompt as text: what the client sent, or the rendered template. nil where tokens were given and there is no
  /// tokenizer.
  public var promptText: String?
  /// Prompt tokens whose keys and values came from the prefix cache.
  public var cachedTokens: Int
  /// Whether keys and values that went through a lower precision were read: tokens may differ from the device's own.
  public var hasReadLossy = false
  /// `kv_transfer_params` of the answer: where the prompt's keys and values are; nil where they are handed to nobody.
  public var kvTransfer: JSONObject?
  /// From which random numbers of the request follow: the request's own, or the one drawn for it. nil where none are needed.
  package var seed: Int?
  /// One entry per prompt position, the first nil; nil when not asked for.
  public var promptLogprobs: [PositionLogprobs?]?

  public init(promptTokens: [TokenID], promptText: String?, cachedTokens: Int, promptLogprobs: [PositionLogprobs?]?) {
    self.promptTokens = promptTokens
    self.promptText = promptText
    self.cachedTokens = cachedTokens
    self.promptLogprobs = promptLogprobs
  }
}

/// A token that was chosen (or stood in the prompt) and the alternatives at its position, most likely first.
public struct PositionLogprobs: Sendable, Hashable {
  public var chosen: TokenText
  public var alternatives: [TokenText]

  public init(chosen: TokenText, alternatives: [TokenText]) {
    self.chosen = chosen
    self.alternatives = alternatives
  }
}

/// A token with its log-probability, its text as a client shows it and its raw bytes (also of partial characters).
public struct TokenText: Sendable, Hashable {
  public var token: TokenID
  public var logprob: Float
  public var rank: Int
  public var text: String
  public var bytes: [UInt8]

  public init(token: TokenID, logprob: Float, rank: Int, text: String, bytes: [UInt8]) {
    self.token = token
    self.logprob = logprob
    self.rank = rank
    self.text = text
    self.bytes = bytes
  }
}

/// New output of one choice. Text is whole characters and is never taken back; tokens without text yet (a partial
/// character, a possible stop string) come with an empty `text`.
public struct ChoiceDelta: Sendable {
  /// 0 ..< n
  public var index: Int
  public var text: String
  public var tokens: [TokenID]
  /// One entry per token of `tokens`; empty when not asked for.
  public var logprobs: [PositionLogprobs]
  public var finish: FinishReason?
  public var stopReason: StopReason?
  /// Sum of the raw log-probabilities of all tokens so far, where log-probabilities were asked for (or beams searched).
  public var cumulativeLogprob: Float?
  /// With `finish`: whether the choice read keys and values that went through a lower precision.
  public var hasReadLossy = false

  public init(
    index: Int, text: String = "", tokens: [TokenID] = [], logprobs: [PositionLogprobs] = [],
    finish: FinishReason? = nil, stopReason: StopReason? = nil, cumulativeLogprob: Float? = nil
  ) {
    self.index = index
    self.text = text
    self.tokens = tokens
    self.logprobs = logprobs
    self.finish = finish
    self.stopReason = stopReason
    self.cumulativeLogprob = cumulativeLogprob
  }
}
