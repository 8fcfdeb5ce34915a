import SwerveAccess
import SwerveCore
import Testing

@Suite(.timeLimit(.minutes(10))) struct ShutdownTests {
  @Test func drainingRefusesNewWorkAndFinishesOld() async throws {
    let engine = FakeEngine(hold: .after(events: 2))
    try await LiveServer.run(engine, { $0.drainTimeout = 60 }) { server in
      async let old = server.post("/v1/completions", ["prompt": "a", "stream": true])
      await engine.wait { _, running, _ in running == 1 }
      await server.shutdown()
      // The listener stays open while requests are in flight.
      var health = try await server.send("GET", "/health")
      while health.status == 200 { health = try await server.send("GET", "/health") }
      #expect(health.status == 503)
      #expect(health.headers["retry-after"] != nil)
      #expect(try await server.send("GET", "/ready").status == 503)
      let refused = try await server.post("/v1/completions", ["prompt": "a"])
      #expect(refused.status == 503)
      #expect(refused.headers["retry-after"] != nil)
      engine.release()
      let answer = try await old
      #expect(answer.events.last == "[DONE]")
      #expect(!answer.body.contains("error"))
      #expect(engine.cancelled == 0)
    }
  }

  @Test func whatDoesNotFinishInTimeEndsWithAnError() async throws {
    let engine = FakeEngine(hold: .after(events: 2))
    try await LiveServer.run(engine, { $0.drainTimeout = 0.05 }) { server in
      async let streamed = server.post("/v1/completions", ["prompt": "a", "stream": true])
      async let whole = server.post("/v1/completions", ["prompt": "a"])
      await engine.wait { _, running, _ in running == 2 }
      await server.shutdown()
      let events = try await streamed.events
      #expect(events.last == "[DONE]")
      #expect(events.dropLast().last?.contains("ServiceUnavailableError") == true)
      #expect(try await whole.status == 503)
      await engine.wait { _, running, cancelled in running == 0 && cancelled == 2 }
    }
  }
}
