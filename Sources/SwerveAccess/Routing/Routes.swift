import HTTPTypes
import Hummingbird
import SwerveCore

/// A path, who may call it, and what answers.
struct Route: Sendable {
  typealias Handler = @Sendable (Exchange) async throws -> Response

  var methods: [HTTPRequest.Method]
  /// Without trailing slash. A prefix route ends in `/` and takes the rest of the path.
  var path: String
  var access: RouteAccess
  var handler: Handler

  init(_ methods: HTTPRequest.Method..., path: String, _ access: RouteAccess, _ handler: @escaping Handler) {
    self.methods = methods
    self.path = path
    self.access = access
    self.handler = handler
  }
}

/// Every route there is, found by exact path first and by prefix second.
struct Routes: Sendable {
  private let exact: [String: [Route]]
  private let prefixes: [Route]

  init(_ configuration: ServerConfiguration) {
    let all = Self.all(metricsAccess: configuration.opensMetrics ? .open : .inference)
    exact = Dictionary(grouping: all.filter { !$0.path.hasSuffix("/") }, by: \.path)
    prefixes = all.filter { $0.path.hasSuffix("/") }
  }

  private static func all(metricsAccess: RouteAccess) -> [Route] {
    [
      Route(.get, path: "/v1/models", .inference, Models.list),
      Route(.get, path: "/v1/models/", .inference, Models.one),
      Route(.post, path: "/v1/completions", .inference, Completions.answer),
      Route(.post, path: "/v1/chat/completions", .inference, ChatCompletions.answer),
      Route(.post, path: "/tokenize", .inference, Tokenization.tokenize),
      Route(.post, path: "/detokenize", .inference, Tokenization.detokenize),
      Route(.get, path: "/health", .open, Operations.health),
      Route(.get, path: "/v1/health", .open, Operations.health),
      Route(.get, .post, path: "/ping", .open, Operations.health),
      Route(.get, path: "/ready", .open, Operations.health),
      Route(.get, path: "/version", .open, Operations.version),
      Route(.get, path: "/load", .inference, Operations.load),
      Route(.get, path: "/kv_transfer", .inference, Operations.kvTransfer),
      Route(.get, path: "/metrics", metricsAccess, Operations.metrics),
      Route(.post, path: "/reset_prefix_cache", .admin, Operations.resetPrefixCache),
      Route(.post, path: "/data_workers/add", .admin, Operations.addDataWorker),
      Route(.post, path: "/data_workers/drain", .admin, Operations.drainDataWorker),
    ] + unavailable.map { Route(.post, path: $0, .inference, Operations.notOffered) }
  }

  /// Routes that clients know and this server does not offer: 501 rather than 404.
  private static let unavailable = [
    "/v1/embeddings", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens", "/pooling", "/classify", "/score",
    "/v1/score", "/rerank", "/v1/rerank", "/v2/rerank", "/v1/audio/transcriptions", "/v1/audio/translations",
    "/v1/files", "/v1/batches", "/v1/chat/completions/batch", "/infill",
  ]

  /// What was found for a request line.
  enum Match {
    case route(Route, rest: String)
    /// The path exists for these methods only.
    case otherMethods([HTTPRequest.Method])
    case nothing
  }

  func match(_ method: HTTPRequest.Method, _ path: String) -> Match {
    var path = path
    if path.count > 1, path.hasSuffix("/") { path.removeLast() }
    var candidates = (exact[path] ?? []).map { ($0, "") }
    if candidates.isEmpty {
      candidates = prefixes.filter { path.hasPrefix($0.path) && path.utf8.count > $0.path.utf8.count }
        .map { ($0, String(path.dropFirst($0.path.count))) }
    }
    for (route, rest) in candidates where Self.accepts(route, method) { return .route(route, rest: rest) }
    let methods = candidates.flatMap(\.0.methods)
    return methods.isEmpty ? .nothing : .otherMethods(methods)
  }

  /// Whatever can be got can be asked for without its body.
  private static func accepts(_ route: Route, _ method: HTTPRequest.Method) -> Bool {
    route.methods.contains(method) || (method == .head && route.methods.contains(.get))
  }
}
