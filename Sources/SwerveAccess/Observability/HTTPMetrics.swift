import SwerveCore

/// `http_*`: one observation per exchange. Handlers are route patterns, so labels stay few.
struct HTTPMetrics: Sendable {
  let registry: PrometheusRegistry

  init(registry: PrometheusRegistry) {
    self.registry = registry
    let route = [("handler", "none")]
    let call = route + [("method", "GET")]
    _ = registry.counter("http_requests", help: Self.requestsHelp, labels: call + [("status", "4xx")])
    _ = registry.histogram(
      "http_request_duration_seconds", help: Self.durationHelp, bounds: MetricBounds.seconds, labels: call)
    _ = registry.histogram("http_request_size_bytes", help: Self.requestHelp, bounds: MetricBounds.bytes, labels: route)
    _ = registry.histogram(
      "http_response_size_bytes", help: Self.responseHelp, bounds: MetricBounds.bytes, labels: route)
  }

  private static let requestsHelp = "Requests by route, method and status class."
  private static let durationHelp = "Seconds from a request's head to the last byte of its answer."
  private static let requestHelp = "Bytes of request bodies."
  private static let responseHelp = "Bytes of response bodies."

  func record(
    handler: String, method: String, status: Int, seconds: Double, requestBytes: Int, responseBytes: Int
  ) {
    // A client chooses the method's name; only known ones become labels.
    let known = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"]
    let method = known.contains(method) ? method : "OTHER"
    registry.counter(
      "http_requests", help: Self.requestsHelp,
      labels: [("handler", handler), ("method", method), ("status", "\(status / 100)xx")]
    ).increment()
    registry.histogram(
      "http_request_duration_seconds", help: Self.durationHelp,
      bounds: MetricBounds.seconds, labels: [("handler", handler), ("method", method)]
    ).observe(seconds)
    registry.histogram(
      "http_request_size_bytes", help: Self.requestHelp, bounds: MetricBounds.bytes,
      labels: [("handler", handler)]
    ).observe(Double(requestBytes))
    registry.histogram(
      "http_response_size_bytes", help: Self.responseHelp, bounds: MetricBounds.bytes,
      labels: [("handler", handler)]
    ).observe(Double(responseBytes))
  }
}
