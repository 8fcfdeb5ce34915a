/// Everything the HTTP server can be told. The command fills it from flags, environment and files; nothing below reads
/// those. Defaults are the documented defaults of the flags.
package struct ServerConfiguration: Sendable {
  // MARK: Address

  /// Interface to listen on; `0.0.0.0` = all.
  package var host = "0.0.0.0"
  /// 0 = any free port, reported through `Server`'s `onListening`.
  package var port = 8000
  /// Path of a Unix domain socket; replaces host and port.
  package var unixSocket: String?
  package var tls = ServerTLS()
  /// Prefix stripped from every path before routing and authentication, for servers behind a proxy.
  package var rootPath = ""
  /// Seconds a connection may idle between requests.
  package var keepAliveTimeout = 5.0

  // MARK: Model

  /// Names clients may ask for; the first is the one that appears in replies.
  package var servedModelNames = ["story"]
  /// Whether `/v1/models` shows the id in place of the folder the model was loaded from.
  package var hidesModelRoot = false
  /// Unix time reported as each model's `created`.
  package var createdTime = 0
  /// `system_fingerprint` of replies; nil = null.
  package var fingerprint: String?
  package var version = "0.1.0"
  package var responseRole = "assistant"

  // MARK: Access

  /// Keys with the inference role; empty = no authentication for inference.
  package var apiKeys: [String] = []
  /// Keys with the admin role.
  package var adminKeys: [String] = []
  /// Without admin keys: whether ordinary keys (or nobody's) may call admin routes.
  package var enablesAdminEndpoints = false
  /// Whether `/metrics` answers without a key.
  package var opensMetrics = true
  /// Origins browsers may call from; `*` = any, empty = CORS off.
  package var allowedOrigins: [String] = []
  package var allowedMethods = ["*"]
  package var allowedHeaders = ["*"]
  package var allowsCredentials = false

  // MARK: Limits

  package var maxRequestBodyBytes = 64 << 20
  /// Bytes of one request's header section.
  package var maxHeaderBytes = 4 << 20
  package var maxHeaderCount = 256
  /// Prompts in one completion request.
  package var maxCompletionPrompts = 1024

  // MARK: Generation

  package var allowsStreaming = true
  /// Seconds without an event after which a stream carries a comment line; 0 = never.
  package var keepAliveInterval = 15.0
  package var returnsTokensAsTokenIDs = false
  /// Usage chunk on every stream.
  package var forcesUsage = false
  /// Tokens per streamed chunk unless the request says otherwise.
  package var streamInterval = 1
  /// `X-Request-Id` on every response.
  package var addsRequestIDHeader = false
  /// Whether requests may bring their own chat template.
  package var trustsRequestChatTemplate = false
  /// Seconds a request may take from its arrival to its last token; nil = as long as needed.
  package var requestTimeout: Double?
  /// Whether the engine's scheduling policy looks at `priority`; else a non-zero value is refused.
  package var honoursPriority = false

  // MARK: Logs and metrics

  package var logsAccess = true
  /// Paths that leave no access line.
  package var quietEndpoints: Set<String> = []
  package var logsRequests = false
  package var logsOutputs = false
  /// Characters of prompts and outputs shown in logs; nil = all.
  package var maxLogLength: Int?
  /// Seconds between statistics lines; 0 = never.
  package var statisticsInterval = 10.0
  /// The device as log lines call it: `CPU` or `GPU`.
  package var deviceWord = "CPU"

  // MARK: Shutdown

  /// Seconds in-flight requests get to finish after shutdown was asked for.
  package var drainTimeout = 30.0

  package init() {}

  /// The canonical served name.
  package var modelName: String { servedModelNames.first ?? "" }

  /// All problems, each one sentence that names the flag; empty when the configuration is usable.
  package func problems() -> [String] {
    var found: [String] = []
    func require(_ holds: Bool, _ sentence: String) {
      if !holds { found.append(sentence) }
    }
    require((0...65535).contains(port), "--port must be between 0 and 65535, got \(port).")
    require(
      !servedModelNames.isEmpty && !servedModelNames.contains(""), "--served-model-name needs at least one name.")
    require(rootPath.isEmpty || rootPath.hasPrefix("/"), "--root-path must begin with a slash, got \(rootPath).")
    require(!apiKeys.contains("") && !adminKeys.contains(""), "--api-key and --admin-api-key must not be empty.")
    require(maxRequestBodyBytes > 0, "--max-request-body-bytes must be more than 0.")
    require(maxHeaderBytes > 0, "--h11-max-incomplete-event-size must be more than 0.")
    require(maxHeaderCount > 0, "--h11-max-header-count must be more than 0.")
    require(maxCompletionPrompts > 0, "VLLM_MAX_COMPLETION_PROMPTS must be more than 0.")
    require(streamInterval > 0, "--stream-interval must be 1 or more.")
    require(keepAliveTimeout > 0, "VLLM_HTTP_TIMEOUT_KEEP_ALIVE must be more than 0.")
    require(keepAliveInterval >= 0, "--sse-keep-alive-interval must be 0 or more.")
    require(
      requestTimeout.map { (1e-3...1e9).contains($0) } ?? true,
      "--request-timeout must be between 0.001 and 1000000000 seconds, not \(requestTimeout ?? 0).")
    found += tls.problems()
    require(drainTimeout >= 0, "--shutdown-timeout must be 0 or more.")
    require(
      !allowsCredentials || !allowedOrigins.contains("*"),
      "--allow-credentials needs named origins: browsers refuse it together with --allowed-origins '[\"*\"]'.")
    return found
  }
}
