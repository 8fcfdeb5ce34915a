/// The engine as the access layer sees it. Everything behind it (templates, tokens, scheduling) is the engine's
/// business, so every wire behaves alike, and HTTP is tested with a fake.
package protocol EngineClient: Sendable {
  var model: ModelInfo { get }
  /// Whether requests are kept in a journal: clients may then name them and ask again.
  var isJournaled: Bool { get }

  /// Validates, prepares (template, tokens) and queues a request. Throws a 400 before anything is queued, a 503 when the
  /// queue is full, the engine is draining or dead. Dropping or cancelling the stream aborts the request within one
  /// step and frees its blocks.
  func generate(_ request: GenerationRequest) async throws(RequestError) -> AsyncThrowingStream<
    GenerationEvent, any Error
  >

  /// Text (or a rendered conversation) to tokens, as `generate` would see them.
  func tokenize(_ prompt: GenerationRequest.Prompt, addSpecialTokens: Bool) async throws(RequestError)
    -> TokenizedPrompt

  func detokenize(_ tokens: [TokenID]) async throws(RequestError) -> String

  /// The tokenizer's own string for a token (`Ġhello`), nil when it has none.
  func tokenString(_ token: TokenID) -> String?

  /// Whether the engine loop is alive and makes progress.
  var health: EngineHealth { get }

  /// A snapshot for `/metrics` and logs.
  var statistics: EngineStatistics { get }

  /// Forgets all cached prefixes that no running sequence uses. Answers whether the whole cache was dropped.
  func resetPrefixCache() async -> Bool

  /// Attaches or drains a data worker, under whatever load. Answers the worker's name when it is done; throws a 400 for
  /// what cannot be done.
  func change(_ change: DataWorkerChange) async throws(RequestError) -> String

  /// Who this engine is to others that hand keys and values over; nil where it does not.
  var transferDescription: JSONObject? { get }
}

extension EngineClient {
  package var isJournaled: Bool { false }
  package var transferDescription: JSONObject? { nil }

  package func change(_ change: DataWorkerChange) async throws(RequestError) -> String {
    throw RequestError(.notImplemented, "This server has no data workers.")
  }
}

/// What may be done to the set of data workers while serving.
package enum DataWorkerChange: Sendable, Hashable {
  /// At `host:port`, where one waits; nil: a process of this host.
  case attach(at: String?)
  /// Its sequences end there within so many seconds, or are computed again elsewhere.
  case drain(worker: Int, seconds: Double)
}

package struct TokenizedPrompt: Sendable {
  package var tokens: [TokenID]
  package var text: String?

  package init(tokens: [TokenID], text: String?) {
    self.tokens = tokens
    self.text = text
  }
}

package enum EngineHealth: Sendable, Hashable {
  case loading, running, draining
  /// With the reason, in one sentence.
  case dead(String)
  /// No progress within the watchdog time although work is waiting.
  case stalled
}

/// What is served, for `/v1/models`, validation and banners.
public struct ModelInfo: Sendable {
  /// The folder or hub id the model was loaded from.
  public var root: String
  public var architecture: String
  /// Longest prompt + output.
  public var maxModelLength: Int
  public var vocabularySize: Int
  public var hasTokenizer: Bool
  public var hasChatTemplate: Bool
  /// Sampling defaults from `generation_config.json` or `--override-generation-config`; each is used where a request
  /// leaves the field out. Keys as in the file (`temperature`, `top_p`, `top_k`, `min_p`, `repetition_penalty`,
  /// `max_new_tokens`).
  public var defaults: JSONObject
  /// Limits that `SamplingParams.validate` applies.
  public var limits: SamplingParams.Limits
  /// Whether a tier keeps keys and values at a lower precision: answers then say whether they read such.
  public var mayReadLossy = false

  public init(
    root: String, architecture: String, maxModelLength: Int, vocabularySize: Int, hasTokenizer: Bool,
    hasChatTemplate: Bool, defaults: JSONObject, limits: SamplingParams.Limits
  ) {
    self.root = root
    self.architecture = architecture
    self.maxModelLength = maxModelLength
    self.vocabularySize = vocabularySize
    self.hasTokenizer = hasTokenizer
    self.hasChatTemplate = hasChatTemplate
    self.defaults = defaults
    self.limits = limits
  }
}
