import SwerveCore
import Synchronization

/// Families by service class and by tenant.
final class ClassMetrics: Sendable {
  private let make: MetricFactory
  private let met: [String: CounterMetric]
  private let missed: [String: CounterMetric]
  private let firstToken: [String: HistogramMetric]
  private let tenants = Mutex<[String: CounterMetric]>([:])

  /// Tenants with a series of their own; those that come later count as `other`, so that names that clients choose
  /// cannot fill the memory.
  static let longestTenantList = 1000

  init(_ make: MetricFactory, serviceClasses: [String]) {
    self.make = make
    func counters(_ isMet: Bool) -> [String: CounterMetric] {
      Dictionary(
        serviceClasses.map { name in
          let labels = [("class", name), ("met", isMet ? "true" : "false")]
          return (
            name, make.counter("swerve:sla_requests", "Requests by whether their class's targets were kept.", labels)
          )
        }, uniquingKeysWith: { first, _ in first })
    }
    met = counters(true)
    missed = counters(false)
    firstToken = Dictionary(
      serviceClasses.map { name in
        let histogram = make.histogram(
          "swerve:sla_ttft_seconds", "Seconds from arrival to first token, by class.", key: "time_to_first_token",
          MetricBounds.firstToken, [("class", name)])
        return (name, histogram)
      }, uniquingKeysWith: { first, _ in first })
  }

  func record(_ request: RequestStatistics) {
    // A client that left says nothing about the promise.
    if request.finish != .abort { (request.metTargets ? met : missed)[request.serviceClass]?.increment() }
    if let seconds = request.firstTokenSeconds { firstToken[request.serviceClass]?.observe(seconds) }
    let tokens = request.promptTokens + request.generationTokens
    if let tenant = request.tenant { counter(of: tenant).increment(by: Double(tokens)) }
  }

  private func counter(of tenant: String) -> CounterMetric {
    tenants.withLock { tenants in
      if let known = tenants[tenant] { return known }
      let name = tenants.count < Self.longestTenantList ? tenant : "other"
      let counter = make.counter(
        "swerve:tenant_tokens", "Prompt and output tokens of finished requests by tenant.", [("tenant", name)])
      if name != "other" { tenants[tenant] = counter }
      return counter
    }
  }
}
