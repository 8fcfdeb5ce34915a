import SwerveCore

/// What a generating request asks besides sampling: identity, streaming, shape of the answer.
struct RequestOptions {
  /// The name that appears in replies: the server's first served name, or the one the client used.
  var model: String
  var isStreaming = false
  /// A usage chunk at the end of a stream.
  var includesUsage = false
  /// A running usage on every chunk.
  var includesContinuousUsage = false
  /// `token_ids` and `prompt_token_ids` in the answer.
  var returnsTokenIDs = false
  /// Log-probability tokens as `token_id:123`.
  var showsTokensAsIDs = false
  /// Tokens per chunk, ≥ 1; a choice's first and last chunk are immediate.
  var streamInterval = 1
  /// Deadline of the whole request.
  var timeout: Duration?
  var promptLogprobs: Int?
  var truncatePromptTokens: Int?
  var truncationSide = GenerationRequest.TruncationSide.left
  var priority = 0
  var cacheSalt: String?
  var serviceTier: String?
  /// As the body names it. Whether that counts is the caller's key's business: see `Caller`.
  var tenant: String?
  /// Filled in by whoever knows the client's headers.
  var idempotency: GenerationRequest.Idempotency?
  /// Keys and values that another server computed, or goes on with.
  var kvTransfer: KVTransferParams?
  /// The client's own id from the body.
  var requestID: String?

  init(_ reader: FieldReader, configuration: ServerConfiguration) throws(RequestError) {
    model = try Self.model(reader, configuration)
    try readStreaming(reader, configuration)
    returnsTokenIDs = try reader.bool("return_token_ids") ?? false
    showsTokensAsIDs = try reader.bool("return_tokens_as_token_ids") ?? configuration.returnsTokensAsTokenIDs
    streamInterval = try reader.int("stream_interval", in: 1...Int.max) ?? configuration.streamInterval
    timeout = configuration.requestTimeout.map { .seconds($0) }
    if let milliseconds = try reader.int("timeout_ms", in: 1...Int.max) {
      // Less than the server's deadline, never more.
      let asked = Duration.milliseconds(min(milliseconds, 1_000_000_000_000))
      timeout = min(asked, timeout ?? asked)
    }
    promptLogprobs = try reader.int("prompt_logprobs")
    if promptLogprobs != nil, isStreaming {
      throw .badRequest("prompt_logprobs is not available with stream: true.", param: "prompt_logprobs")
    }
    truncatePromptTokens = try reader.int("truncate_prompt_tokens", in: -1...Int.max)
    if let side = try reader.string("truncation_side") {
      guard let side = GenerationRequest.TruncationSide(rawValue: side) else {
        throw .badRequest("truncation_side must be left or right.", param: "truncation_side")
      }
      truncationSide = side
    }
    try readScheduling(reader, configuration)
    try readIdentity(reader)
  }

  /// Names are compared exactly; a missing or empty one means the base model.
  static func model(_ reader: FieldReader, _ configuration: ServerConfiguration) throws(RequestError) -> String {
    guard let asked = try reader.string("model"), !asked.isEmpty else { return configuration.modelName }
    guard configuration.servedModelNames.contains(asked) else { throw .unknownModel(asked) }
    return configuration.modelName
  }

  private mutating func readStreaming(_ reader: FieldReader, _ configuration: ServerConfiguration) throws(RequestError)
  {
    isStreaming = try reader.bool("stream") ?? false
    if isStreaming, !configuration.allowsStreaming {
      throw .badRequest("stream: true is refused: this server was started without streaming.", param: "stream")
    }
    if let options = try reader.object("stream_options") {
      guard isStreaming else {
        throw .badRequest("stream_options is only allowed with stream: true.", param: "stream_options")
      }
      let inner = FieldReader(options, path: reader.path(of: "stream_options"))
      includesUsage = try inner.bool("include_usage") ?? false
      includesContinuousUsage = try inner.bool("continuous_usage_stats") ?? false
      if includesContinuousUsage, !includesUsage, !configuration.forcesUsage {
        throw .badRequest(
          "stream_options.continuous_usage_stats needs include_usage: true.",
          param: "stream_options.continuous_usage_stats")
      }
    }
    if isStreaming, configuration.forcesUsage {
      includesUsage = true
    }
  }

  private mutating func readScheduling(
    _ reader: FieldReader, _ configuration: ServerConfiguration
  ) throws(RequestError) {
    priority = try reader.int("priority") ?? 0
    if priority != 0, !configuration.honoursPriority {
      throw .badRequest(
        "priority needs a server started with --scheduling-policy priority; leave it out or send 0.", param: "priority")
    }
    if let tier = try reader.string("service_tier") {
      guard ["auto", "default", "flex", "priority"].contains(tier) else {
        throw .badRequest("service_tier must be auto, default, flex or priority.", param: "service_tier")
      }
      serviceTier = tier
    }
    if let salt = try reader.string("cache_salt") {
      guard (1...128).contains(salt.unicodeScalars.count),
        !salt.unicodeScalars.contains(where: { "@/\\\0".unicodeScalars.contains($0) })
      else {
        throw .badRequest("cache_salt must have 1 to 128 characters, none of @ / \\ or NUL.", param: "cache_salt")
      }
      cacheSalt = salt
    }
  }

  /// Fields that are checked for their type and otherwise only label the request.
  private mutating func readIdentity(_ reader: FieldReader) throws(RequestError) {
    if let id = try reader.string("request_id") {
      guard RequestIdentifier.isUsable(id) else {
        throw .badRequest(
          "request_id must have 1 to \(RequestIdentifier.longest) visible ASCII characters.", param: "request_id")
      }
      requestID = id
    }
    for name in ["session_id", "user"] { _ = try reader.string(name) }
    tenant = try reader.string("tenant")
    if let tenant, !(1...128).contains(tenant.unicodeScalars.count) {
      throw .badRequest("tenant must have 1 to 128 characters.", param: "tenant")
    }
    kvTransfer = try KVTransferParams(reader)
    guard let arguments = try reader.object("vllm_xargs") else { return }
    for (name, value) in arguments {
      switch value {
      case .string, .int, .double, .array, .null: continue
      case .bool, .object:
        throw FieldReader(arguments, path: "vllm_xargs")
          .mismatch(name, expected: "a string, a number or a list", got: value)
      }
    }
  }
}

/// Ids that clients choose and that go into headers and logs.
enum RequestIdentifier {
  static let longest = 128

  /// Visible ASCII only, so that an id can neither split a header nor a log line.
  static func isUsable(_ id: String) -> Bool {
    (1...longest).contains(id.utf8.count) && id.utf8.allSatisfy { (0x21...0x7E).contains($0) }
  }

  /// 32 hexadecimal digits.
  static func fresh() -> String {
    var id = ""
    for _ in 0..<2 {
      let digits = String(UInt64.random(in: 0...UInt64.max), radix: 16)
      id += String(repeating: "0", count: 16 - digits.count) + digits
    }
    return id
  }
}

extension RequestError {
  static func unknownModel(_ name: String) -> Self {
    Self(
      .notFound, "The model `\(String(name.prefix(200)))` does not exist.", param: "model", code: "model_not_found")
  }
}
