import HTTPTypes
import SwerveAccess
import SwerveCore
import Testing

/// `priority`, `tenant`, `service_tier`, `timeout_ms` and what the engine refuses.
@Suite struct SchedulingFieldTests {
  private static func bearer(_ key: String) -> HTTPFields { [.authorization: "Bearer \(key)"] }

  @Test func fieldsReachTheEngine() async throws {
    try await InProcess.run(FakeEngine(), { $0.honoursPriority = true }) { server in
      let answer = try await server.chat(["priority": -4, "tenant": "acme", "service_tier": "flex"])
      #expect(answer.status == 200)
      #expect(try answer.json["service_tier"]?.string == "flex")
      let request = try #require(server.engine.requests.first)
      #expect(request.priority == -4 && request.tenant == "acme" && request.serviceTier == "flex")
    }
  }

  @Test(arguments: [
    ("priority", JSON.int(1), "priority"), ("priority", "high", "priority"), ("tenant", 7, "tenant"),
    ("tenant", "", "tenant"), ("service_tier", "gold", "service_tier"), ("timeout_ms", 0, "timeout_ms"),
    ("timeout_ms", "soon", "timeout_ms"),
  ])
  func wrongFieldsAreNamed(_ name: String, _ value: JSON, _ param: String) async throws {
    try await InProcess.run(FakeEngine()) { server in
      let answer = try await server.complete([name: value])
      #expect(answer.status == 400)
      #expect(try answer.param == param)
      #expect(server.engine.requests.isEmpty)
    }
  }

  @Test func theKeyIsTheTenantUnlessItIsAnAdmins() async throws {
    let configure: (inout ServerConfiguration) -> Void = {
      $0.apiKeys = ["first", "second"]
      $0.adminKeys = ["gateway"]
    }
    try await InProcess.run(FakeEngine(), configure) { server in
      let body: JSON = ["prompt": "Hi", "tenant": "acme"]
      for key in ["first", "second", "gateway"] {
        let answer = try await server.post("/v1/completions", body, Self.bearer(key))
        #expect(answer.status == 200)
      }
      // printf %s first | sha256sum
      #expect(server.engine.requests.map(\.tenant) == ["key-a7937b64b8ca", "key-16367aacb67a", "acme"])
    }
  }

  @Test func aRefusalOfTheEngineKeepsItsStatusCodeAndRetryAfter() async throws {
    let engine = FakeEngine(script: { _ throws(RequestError) in
      throw RequestError(.unavailable, "The queue is full.", code: "queue_full", retryAfter: 7)
    })
    try await InProcess.run(engine) { server in
      for stream in [false, true] {
        let answer = try await server.complete(["stream": .bool(stream)])
        #expect(answer.status == 503)
        #expect(answer.headers[.retryAfter] == "7")
        #expect(try answer.json["error"]?["type"]?.string == "ServiceUnavailableError")
        #expect(try answer.json["error"]?["code"]?.string == "queue_full")
      }
    }
  }

  @Test func aQueueTimeoutIsA503AndAnErrorEventInAStream() async throws {
    let late = RequestError(.unavailable, "The request waited too long.", code: "queue_timeout", retryAfter: 3)
    let engine = FakeEngine(failure: late, script: { _ in [] })
    try await InProcess.run(engine) { server in
      let answer = try await server.complete([:])
      #expect(answer.status == 503 && answer.headers[.retryAfter] == "3")
      let stream = try await server.complete(["stream": true])
      #expect(stream.status == 200)
      #expect(stream.events.contains { $0.contains("queue_timeout") })
    }
  }

  @Test func theServersDeadlineHoldsAndRequestsMayOnlyShortenIt() async throws {
    let engine = FakeEngine(hold: .after(events: 0))
    try await InProcess.run(engine, { $0.requestTimeout = 0.05 }) { server in
      for body: JSONObject in [[:], ["timeout_ms": 600_000], ["timeout_ms": 1]] {
        let answer = try await server.complete(body)
        #expect(answer.status == 408)
        #expect(try answer.json["error"]?["type"]?.string == "TimeoutError")
      }
      await server.engine.wait { _, running, _ in running == 0 }
      #expect(server.engine.cancelled == 3)
    }
    var wrong = ServerConfiguration()
    wrong.requestTimeout = 0
    #expect(wrong.problems().contains { $0.hasPrefix("--request-timeout") })
  }

  @Test func classesAndTenantsAreCounted() throws {
    let metrics = EngineMetrics(
      registry: PrometheusRegistry(), modelName: "m", serviceClasses: ["vip", "default"])
    var request = RequestStatistics(id: "x")
    request.serviceClass = "vip"
    request.tenant = "acme"
    request.promptTokens = 10
    request.generationTokens = 5
    request.finish = .stop
    request.metTargets = true
    request.firstTokenSeconds = 0.5
    metrics.observer.finished(request)
    request.metTargets = false
    metrics.observer.finished(request)
    request.finish = .abort
    metrics.observer.finished(request)
    for index in 0..<1_100 {
      request.tenant = "tenant \(index)"
      metrics.observer.finished(request)
    }
    let page = metrics.registry.render(.text)
    let labels = #"model_name="m",engine="0""#
    #expect(page.contains("swerve:sla_requests_total{\(labels),class=\"vip\",met=\"true\"} 1.0"))
    #expect(page.contains("swerve:sla_requests_total{\(labels),class=\"vip\",met=\"false\"} 1.0"))
    #expect(page.contains("swerve:sla_requests_total{\(labels),class=\"default\",met=\"true\"} 0.0"))
    #expect(page.contains("swerve:sla_ttft_seconds_count{\(labels),class=\"vip\"}"))
    #expect(page.contains("swerve:tenant_tokens_total{\(labels),tenant=\"acme\"} 45.0"))
    #expect(page.contains("swerve:tenant_tokens_total{\(labels),tenant=\"other\"} 1515.0"))
    #expect(!page.contains("tenant 1050"))
  }
}
