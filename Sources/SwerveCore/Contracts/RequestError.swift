/// A request's fault or refusal: it knows its HTTP status and says in one sentence what to change.
/// The `type` strings and statuses are those of the OpenAI error object.
public struct RequestError: Error, Sendable, Hashable, CustomStringConvertible {
  public enum Kind: String, Sendable {
    case badRequest = "BadRequestError"
    case authentication = "authentication_error"
    case permission = "permission_error"
    case notFound = "NotFoundError"
    case methodNotAllowed = "MethodNotAllowedError"
    case timeout = "TimeoutError"
    case conflict = "ConflictError"
    case payloadTooLarge = "PayloadTooLargeError"
    case unprocessable = "UnprocessableEntityError"
    case rateLimit = "RateLimitError"
    case internalError = "InternalServerError"
    case notImplemented = "NotImplementedError"
    case unavailable = "ServiceUnavailableError"

    public var status: Int {
      switch self {
      case .badRequest: 400
      case .authentication: 401
      case .permission: 403
      case .notFound: 404
      case .methodNotAllowed: 405
      case .timeout: 408
      case .conflict: 409
      case .payloadTooLarge: 413
      case .unprocessable: 422
      case .rateLimit: 429
      case .internalError: 500
      case .notImplemented: 501
      case .unavailable: 503
      }
    }
  }

  public var kind: Kind
  public var message: String
  /// Dotted path of the offending field, where there is one.
  public var param: String?
  /// The string code that SDKs test, where there is one (`invalid_api_key`, `model_not_found`); else the status is sent.
  public var code: String?
  /// Seconds after which trying again makes sense.
  public var retryAfter: Int?

  public init(_ kind: Kind, _ message: String, param: String? = nil, code: String? = nil, retryAfter: Int? = nil) {
    self.kind = kind
    self.message = message
    self.param = param
    self.code = code
    self.retryAfter = retryAfter
  }

  public static func badRequest(_ message: String, param: String? = nil) -> Self {
    Self(.badRequest, message, param: param)
  }

  public var status: Int { kind.status }
  public var description: String { message }
}
