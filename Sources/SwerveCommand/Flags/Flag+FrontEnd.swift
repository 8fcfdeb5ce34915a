import SwerveAccess
import SwerveCore

extension Flag {
  /// The HTTP server.
  static let frontEnd: [Flag] = address + access + replies + limits

  private static let address: [Flag] = [
    .string("host", .frontEnd, \.server.host, default: "0.0.0.0", "interface to listen on"),
    .int("port", .frontEnd, \.server.port, default: 8000, "0 = any free port"),
    .string("uds", .frontEnd, \.server.unixSocket, "path of a Unix domain socket, in place of host and port"),
    .later("grpc", .bool, .frontEnd, default: "false", why: "the server speaks HTTP only", "serve gRPC"),
    .later("grpc-port", .int, .frontEnd, default: "null", why: "the server speaks HTTP only", "port of gRPC"),
    .string("root-path", .frontEnd, \.server.rootPath, default: "", "prefix stripped from every path"),
    .later(
      "api-server-count", .int(words: ["auto": 1]), .frontEnd, default: "1", why: "one server is enough", "servers"),
    .double(
      "shutdown-timeout", .frontEnd, \.server.drainTimeout, default: 30, "seconds running requests get to finish"),
    .string("ssl-keyfile", .frontEnd, \.server.tls.key, "private key of --ssl-certfile, in PEM"),
    .string(
      "ssl-certfile", .frontEnd, \.server.tls.certificate, "certificate of the HTTP server, in PEM: serves https"),
    .string("ssl-ca-certs", .frontEnd, \.server.tls.authorities, "authorities of client certificates, in PEM"),
    .int(
      "ssl-cert-reqs", .frontEnd, \.server.tls.requirement, default: 0,
      "client certificates: 0 none, 1 checked if there is one, 2 required"),
    .later("enable-ssl-refresh", .bool, .frontEnd, default: "false", why: noTLS, "reload certificates"),
  ]

  private static let access: [Flag] = [
    .list(
      "api-key", .frontEnd, \.server.apiKeys, environment: ["VLLM_API_KEY"], isSecret: true,
      "keys clients must bring; none = no authentication"),
    .string("api-key-file", .frontEnd, \.serving.apiKeyFile, "file with one key a line, # begins a comment"),
    .list("admin-api-key", .frontEnd, \.server.adminKeys, isSecret: true, "keys for admin routes"),
    .bool(
      "enable-admin-endpoints", .frontEnd, \.server.enablesAdminEndpoints, default: false,
      environment: ["VLLM_SERVER_DEV_MODE"], "admin routes without an admin key"),
    .later("oauth-issuer", .string, .frontEnd, default: "null", why: noOAuth, "issuer of tokens"),
    .later("oauth-audience", .string, .frontEnd, default: "null", why: noOAuth, "audience of tokens"),
    .later("oauth-jwks-url", .string, .frontEnd, default: "null", why: noOAuth, "keys of the issuer"),
    .later("oauth-required-scope", .string, .frontEnd, default: "null", why: noOAuth, "scope a token must have"),
    .list("allowed-origins", .frontEnd, \.server.allowedOrigins, default: "[]", "origins browsers may call from"),
    .list("allowed-methods", .frontEnd, \.server.allowedMethods, default: #"["*"]"#, "methods they may use"),
    .list("allowed-headers", .frontEnd, \.server.allowedHeaders, default: #"["*"]"#, "headers they may send"),
    .bool("allow-credentials", .frontEnd, \.server.allowsCredentials, default: false, "cookies from browsers"),
    .later("middleware", .list, .frontEnd, default: "", why: "there are no extensions", "middleware ids"),
  ]

  private static let replies: [Flag] = [
    .custom(
      "chat-template", .string, .frontEnd, default: "the model's", "Jinja template: a file, or the template itself"
    ) {
      settings, value in
      let text = value.text
      if text.contains("{{") || text.contains("{%") || text.contains("\n") {
        settings.engine.chatTemplate = text
      } else {
        settings.engine.chatTemplate = try TextFile.read(text)
      }
    },
    .later(
      "chat-template-content-format", .words("auto", "string", "openai"), .frontEnd, default: "auto",
      why: "the form is found from the template", "how templates want message contents"),
    .object("default-chat-template-kwargs", .frontEnd, \.engine.defaultTemplateArguments, "extra template variables"),
    .bool(
      "trust-request-chat-template", .frontEnd, \.server.trustsRequestChatTemplate, default: false,
      "requests may bring their own template"),
    .string("response-role", .frontEnd, \.server.responseRole, default: "assistant", "role of answers"),
    .bool(
      "enable-streaming", .frontEnd, \.server.allowsStreaming, default: true,
      "--no-enable-streaming refuses stream: true"),
    .bool(
      "return-tokens-as-token-ids", .frontEnd, \.server.returnsTokensAsTokenIDs, default: false,
      "log-probability tokens as token_id:N"),
    .later(
      "enable-prompt-tokens-details", .bool, .frontEnd, default: "true", why: "usage always tells cached tokens",
      "cached tokens in usage"),
    .bool("enable-force-include-usage", .frontEnd, \.server.forcesUsage, default: false, "usage on every stream"),
    .later(
      "enable-per-request-metrics", .bool, .frontEnd, default: "false", why: "replies carry no timings",
      "timings in replies"),
    .later(
      "enable-server-load-tracking", .bool, .frontEnd, default: "true", why: "load is always counted",
      "count the load"),
    .bool(
      "enable-request-id-headers", .frontEnd, \.server.addsRequestIDHeader, default: false, "X-Request-Id on replies"),
    .double(
      "sse-keep-alive-interval", .frontEnd, \.server.keepAliveInterval, default: 15,
      "seconds of silence after which a stream carries a comment; 0 = never"),
    .later(
      "enable-tokenizer-info-endpoint", .bool, .frontEnd, default: "false", why: "there is no /tokenizer_info",
      "serve /tokenizer_info"),
    .custom(
      "fingerprint-mode", .words("full", "hash", "custom", "none"), .frontEnd, default: "full",
      "system_fingerprint of replies: full, hash or none"
    ) { settings, value in
      guard value.text != "custom" else { throw FlagError("custom is not supported yet: give full, hash or none") }
      if let mode = ServingSettings.FingerprintMode(rawValue: value.text) { settings.serving.fingerprintMode = mode }
    },
    .custom("disable-openapi-docs", .bool, .frontEnd, default: "true", "there are no documentation pages") {
      if $1 == .bool(false) { throw FlagError("false is not supported yet: there are no documentation pages") }
      _ = $0
    },
    .later(
      "enable-offline-docs", .bool, .frontEnd, default: "false", why: "there are no documentation pages", "docs"),
  ]

  private static let limits: [Flag] = [
    .custom("max-request-body-bytes", .size, .frontEnd, default: "64MiB", "largest request body") {
      if case .int(let bytes) = $1 { $0.server.maxRequestBodyBytes = bytes }
    },
    .custom("h11-max-incomplete-event-size", .size, .frontEnd, default: "4MiB", "largest header section") {
      if case .int(let bytes) = $1 { $0.server.maxHeaderBytes = bytes }
    },
    .int("h11-max-header-count", .frontEnd, \.server.maxHeaderCount, default: 256, "most headers of a request"),
  ]

  private static let noTLS = "put a TLS proxy in front of the server"
  private static let noOAuth = "use --api-key"
}
