import HTTPTypes

extension HTTPField.Name {
  // The names are valid tokens written here, so the initialiser cannot fail.
  static let xAPIKey = Self("x-api-key")!
  static let apiKey = Self("api-key")!
  static let idempotencyKey = Self("Idempotency-Key")!
  static let lastEventID = Self("Last-Event-ID")!
  static let xRequestID = Self("X-Request-Id")!
  static let xAccelBuffering = Self("X-Accel-Buffering")!
  /// `true` where keys and values were read that went through a lower precision.
  static let xSwerveLossyKV = Self("x-swerve-lossy-kv")!
}
