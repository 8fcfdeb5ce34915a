import Crypto
import HTTPTypes
import SwerveCore

/// Who may call a route.
enum RouteAccess: Sendable {
  /// Anybody.
  case open
  /// Whoever has a key, or anybody where no keys are configured.
  case inference
  /// Keys with the admin role, or ordinary keys where the configuration says so.
  case admin
}

/// Checks keys from `Authorization: Bearer`, `x-api-key` and `api-key`.
///
/// Keys are compared as SHA-256 digests, all of them every time, so neither a key's content nor which key matched shows
/// in the time an answer takes.
struct Authenticator: Sendable {
  private let inferenceKeys: [SHA256Digest]
  private let adminKeys: [SHA256Digest]
  private let enablesAdminEndpoints: Bool

  init(_ configuration: ServerConfiguration) {
    inferenceKeys = configuration.apiKeys.map(Self.digest)
    adminKeys = configuration.adminKeys.map(Self.digest)
    enablesAdminEndpoints = configuration.enablesAdminEndpoints
  }

  /// Answers who asks. Throws 401 without a valid key where one is needed, 403 with a valid key that may not.
  @discardableResult
  func authorize(_ headers: HTTPFields, for access: RouteAccess) throws(RequestError) -> Caller {
    guard access != .open else { return Caller() }
    let key = Self.key(in: headers)
    let (isInference, isAdmin) = roles(of: key)
    try check(access, isInference: isInference, isAdmin: isAdmin)
    guard isInference, !isAdmin, let key else { return Caller() }
    return Caller(keyTenant: Caller.tenant(ofKey: Self.digest(key)))
  }

  private func check(_ access: RouteAccess, isInference: Bool, isAdmin: Bool) throws(RequestError) {
    switch access {
    case .open: return
    case .inference:
      if !inferenceKeys.isEmpty, !isInference, !isAdmin { throw .invalidKey }
    case .admin:
      if isAdmin { return }
      let isKnown = isInference || inferenceKeys.isEmpty
      if adminKeys.isEmpty {
        if !isKnown { throw .invalidKey }
        if enablesAdminEndpoints { return }
        throw RequestError(
          .permission, "Admin routes need a server started with --admin-api-key or --enable-admin-endpoints.")
      }
      if !isInference { throw .invalidKey }
      throw RequestError(.permission, "This key may not call admin routes.")
    }
  }

  private func roles(of key: String?) -> (inference: Bool, admin: Bool) {
    guard let key else { return (false, false) }
    let digest = Self.digest(key)
    var isInference = false
    var isAdmin = false
    for known in inferenceKeys where known == digest { isInference = true }
    for known in adminKeys where known == digest { isAdmin = true }
    return (isInference, isAdmin)
  }

  private static func digest(_ key: String) -> SHA256Digest { SHA256.hash(data: Array(key.utf8)) }

  private static func key(in headers: HTTPFields) -> String? {
    if let value = headers[.authorization] {
      let scheme = "bearer "
      if value.utf8.count > scheme.utf8.count, value.prefix(scheme.count).lowercased() == scheme {
        return String(value.dropFirst(scheme.count)).trimmingSpaces()
      }
    }
    return headers[.xAPIKey] ?? headers[.apiKey]
  }
}

extension String {
  func trimmingSpaces() -> String {
    var text = Substring(self)
    while text.first == " " || text.first == "\t" { text.removeFirst() }
    while text.last == " " || text.last == "\t" { text.removeLast() }
    return String(text)
  }
}

extension RequestError {
  static let invalidKey = Self(
    .authentication, "A valid API key is required: send it as Authorization: Bearer KEY.", code: "invalid_api_key")
}
