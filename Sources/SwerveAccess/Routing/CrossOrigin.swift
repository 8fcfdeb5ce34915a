import HTTPTypes
import Hummingbird

/// Cross-origin rules for browsers (Fetch standard, CORS protocol). Off while no origin is allowed.
struct CrossOrigin: Sendable {
  private let configuration: ServerConfiguration

  init(_ configuration: ServerConfiguration) { self.configuration = configuration }

  /// Seconds a browser may remember a preflight answer.
  private static let maxAge = 600

  /// The answer to a preflight request; nil for any other.
  func preflight(_ request: Request) -> Response? {
    guard request.method == .options, !configuration.allowedOrigins.isEmpty, request.headers[.origin] != nil,
      request.headers[.accessControlRequestMethod] != nil
    else { return nil }
    guard allowedOrigin(request.headers) != nil else { return Response(status: .badRequest) }
    var response = Response(status: .ok)
    response.headers[.accessControlAllowMethods] = list(
      configuration.allowedMethods, whenAny: "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
    let asked = request.headers[.accessControlRequestHeaders] ?? ""
    let headers = list(configuration.allowedHeaders, whenAny: asked)
    if !headers.isEmpty { response.headers[.accessControlAllowHeaders] = headers }
    response.headers[.accessControlMaxAge] = String(Self.maxAge)
    return response
  }

  /// Adds what lets a browser show the answer to its page.
  func decorate(_ response: inout Response, for headers: HTTPFields) {
    guard let origin = allowedOrigin(headers) else { return }
    response.headers[.accessControlAllowOrigin] = origin
    if origin != "*" { response.headers[.vary] = "Origin" }
    if configuration.allowsCredentials { response.headers[.accessControlAllowCredentials] = "true" }
  }

  private func allowedOrigin(_ headers: HTTPFields) -> String? {
    guard let origin = headers[.origin], !configuration.allowedOrigins.isEmpty else { return nil }
    if configuration.allowedOrigins.contains("*") { return configuration.allowsCredentials ? origin : "*" }
    return configuration.allowedOrigins.contains(origin) ? origin : nil
  }

  private func list(_ allowed: [String], whenAny any: String) -> String {
    allowed.contains("*") ? any : allowed.joined(separator: ", ")
  }
}
