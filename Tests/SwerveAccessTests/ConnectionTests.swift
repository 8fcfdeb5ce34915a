import SwerveAccess
import SwerveCore
import Testing

/// What only real sockets show: clients that leave, connections that stay, and bytes that are not HTTP.
@Suite(.timeLimit(.minutes(10))) struct ConnectionTests {
  enum Moment: String, CaseIterable, Sendable { case queued, beforeFirstToken, decoding }

  private static func engine(_ moment: Moment) -> FakeEngine {
    switch moment {
    case .queued: FakeEngine(hold: .beforeAcceptance)
    case .beforeFirstToken: FakeEngine(hold: .after(events: 0))
    case .decoding: FakeEngine(hold: .after(events: 2))
    }
  }

  @Test(arguments: Moment.allCases, [false, true])
  func aClientThatLeavesIsCancelledAtOnce(_ moment: Moment, _ isStreaming: Bool) async throws {
    let engine = Self.engine(moment)
    try await LiveServer.run(engine) { server in
      try await RawConnection.open(port: server.port) { connection in
        let body = #"{"prompt":["a","b"],"n":2,"stream":\#(isStreaming)}"#
        try await connection.send(LiveServer.head("POST", "/v1/completions", body: body, close: false))
        await engine.wait { asked, running, _ in asked == 2 && running == 2 }
        if isStreaming, moment == .decoding { _ = try await connection.read(until: #""text":"H""#) }
        #expect(engine.cancelled == 0)
      }
      // The connection is closed here; this returns only if both prompts are cancelled.
      await engine.wait { _, running, cancelled in running == 0 && cancelled == 2 }
      let load = try await server.send("GET", "/load")
      #expect(load.body == #"{"server_load":0}"#)
    }
  }

  @Test func connectionsServeManyRequestsOneAfterAnother() async throws {
    try await LiveServer.run { server in
      try await RawConnection.open(port: server.port) { connection in
        for isStreaming in [false, true, false, true, false] {
          let body = #"{"prompt":"a","stream":\#(isStreaming)}"#
          try await connection.send(LiveServer.head("POST", "/v1/completions", body: body, close: false))
          let text = try await connection.read(until: isStreaming ? "0\r\n\r\n" : #""kv_transfer_params":null}"#)
          #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n"))
          connection.forget()
        }
        try await connection.send(LiveServer.head("POST", "/v1/completions", body: "{", close: false))
        #expect(try await connection.read(until: #""code":400}}"#).hasPrefix("HTTP/1.1 400 "))
        connection.forget()
        try await connection.send(LiveServer.head("GET", "/version", close: false))
        #expect(try await connection.read(until: "}").hasPrefix("HTTP/1.1 200 "))
      }
      #expect(server.engine.cancelled == 0)
    }
  }

  @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
    try await LiveServer.run { server in
      let text = try await RawConnection.open(port: server.port) { connection in
        try await connection.send(
          LiveServer.head("GET", "/version", close: false) + LiveServer.head("GET", "/nothing", close: false)
            + LiveServer.head("GET", "/load", close: true))
        return try await connection.readToEnd()
      }
      #expect(text.matches(of: #/HTTP\/1\.1 (\d+)/#).map { String($0.1) } == ["200", "404", "200"])
    }
  }

  @Test func idleConnectionsAreClosed() async throws {
    try await LiveServer.run(FakeEngine(), { $0.keepAliveTimeout = 1 }) { server in
      let text = try await RawConnection.open(port: server.port) { connection in
        // A client that comes late finds the connection closed already.
        try? await connection.send(LiveServer.head("GET", "/version", close: false))
        // Ends only when the server closes.
        return try await connection.readToEnd()
      }
      #expect(text.isEmpty || text.hasPrefix("HTTP/1.1 200 "))
    }
  }

  @Test func anAnswerMayTakeLongerThanTheIdleTimeout() async throws {
    let engine = FakeEngine(hold: .after(events: 1))
    try await LiveServer.run(engine, { $0.keepAliveTimeout = 4 }) { server in
      async let answer = server.post("/v1/completions", ["prompt": "a"])
      await engine.wait { _, running, _ in running == 1 }
      // Long enough for the idle timer to fire; firing late can only make this test easier to pass.
      try await Task.sleep(for: .milliseconds(4500))
      engine.release()
      #expect(try await answer.status == 200)
    }
  }

  @Test func tooManyHeadersAreRefusedWithAnErrorObject() async throws {
    try await LiveServer.run(FakeEngine(), { $0.maxHeaderCount = 20 }) { server in
      var headers: [String: String] = [:]
      for place in 0..<10 { headers["X-\(place)"] = "y" }
      #expect(try await server.send("GET", "/version", headers).status == 200)
      for place in 0..<30 { headers["X-\(place)"] = "y" }
      let answer = try await server.send("GET", "/version", headers)
      #expect(answer.status == 431)
      #expect(try answer.json["error"]?["code"] == 431)
    }
  }

  @Test func tooLargeHeadersAreRefusedWithAnErrorObject() async throws {
    try await LiveServer.run(FakeEngine(), { $0.maxHeaderBytes = 10_000 }) { server async throws in
      let small = String(repeating: "a", count: 9_000)
      #expect(try await server.send("GET", "/version", ["X-Large": small]).status == 200)
      let large = String(repeating: "a", count: 50_000)
      #expect(try await server.send("GET", "/version", ["X-Large": large]).status == 431)
    }
  }

  @Test(arguments: ["nonsense\r\n\r\n", "GET / SPDY/9\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\r\n\r\n"])
  func whatIsNotHTTPIsAnsweredWithAnErrorObject(_ bytes: String) async throws {
    try await LiveServer.run { server in
      let text = try await RawConnection.open(port: server.port) { connection in
        try await connection.send(bytes)
        return try await connection.readToEnd()
      }
      let answer = try #require(RawAnswer(text), "\(text)")
      #expect(answer.status == 400)
      #expect(try answer.json["error"]?["type"] == "BadRequestError")
    }
  }

  @Test func bodiesOverTheLimitAreRefused() async throws {
    try await LiveServer.run(FakeEngine(), { $0.maxRequestBodyBytes = 1000 }) { server in
      func body(_ bytes: Int) -> String {
        #"{"prompt":""# + String(repeating: "a", count: bytes - 13) + #""}"#
      }
      #expect(try await server.send("POST", "/v1/completions", body: body(1000)).status == 200)
      let answer = try await server.send("POST", "/v1/completions", body: body(1001))
      #expect(answer.status == 413)
      #expect(try answer.json["error"]?["type"] == "PayloadTooLargeError")
      // Without a length in the header the limit holds as well.
      let text = try await RawConnection.open(port: server.port) { connection in
        let chunk = "400\r\n" + String(repeating: " ", count: 1024) + "\r\n"
        try await connection.send(
          "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
            + "Transfer-Encoding: chunked\r\n\r\n" + chunk + chunk + "0\r\n\r\n")
        return try await connection.readToEnd()
      }
      #expect(RawAnswer(text)?.status == 413)
    }
  }

  @Test func expectationsAreConfirmed() async throws {
    try await LiveServer.run { server in
      try await RawConnection.open(port: server.port) { connection in
        try await connection.send(
          "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
            + "Expect: 100-continue\r\nContent-Length: 14\r\n\r\n")
        #expect(try await connection.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 100 "))
        connection.forget()
        try await connection.send(#"{"prompt":"a"}"#)
        #expect(try await connection.readToEnd().contains("HTTP/1.1 200 OK"))
      }
    }
  }

  @Test func anAddressInUseIsATypedError() async throws {
    try await LiveServer.run { server in
      let second = Server(
        configuration: {
          var configuration = ServerConfiguration.forTests
          configuration.port = server.port
          return configuration
        }(), engine: FakeEngine(), metrics: EngineMetrics(registry: PrometheusRegistry(), modelName: "fake"),
        logger: server.logs.logger("second"), accessLogger: server.logs.logger("second"))
      await #expect {
        try await second.run()
      } throws: { error in
        if case ServerError.addressInUse(let address)? = error as? ServerError {
          return address == "http://127.0.0.1:\(server.port)"
        }
        return false
      }
    }
  }

  @Test func anUnknownHostIsATypedError() async throws {
    var configuration = ServerConfiguration.forTests
    configuration.host = "no-such-host.invalid"
    let logs = LogLines()
    let server = Server(
      configuration: configuration, engine: FakeEngine(),
      metrics: EngineMetrics(registry: PrometheusRegistry(), modelName: "fake"), logger: logs.logger("x"),
      accessLogger: logs.logger("x"))
    await #expect(throws: ServerError.self) { try await server.run() }
  }

  @Test func startAndRequestsLeaveTheLinesScriptsWaitFor() async throws {
    try await LiveServer.run(
      FakeEngine(),
      {
        $0.logsRequests = true
        $0.logsOutputs = true
      }
    ) { server in
      _ = try await server.post("/v1/completions", ["prompt": "secret prompt"], ["X-Request-Id": "abc"])
      _ = try await server.send("GET", "/v1/models")
      let lines = server.logs.all
      #expect(lines.contains { $0.contains("] Starting server on http://127.0.0.1:\(server.port)\n") })
      #expect(lines.contains { $0.contains("] Application startup complete.\n") })
      #expect(lines.contains { $0.contains("] Received request cmpl-abc: params: SamplingParams(n=1, ") })
      #expect(lines.contains { $0.contains("] Generated response cmpl-abc: output: 'Hello', finish_reason: stop\n") })
      #expect(lines.contains { $0.contains("] Finished request cmpl-abc: finish_reason=stop, prompt_tokens=13, ") })
      #expect(
        lines.contains { $0.contains(#"INFO:     127.0.0.1:"#) && $0.contains(#""GET /v1/models HTTP/1.1" 200 OK"#) })
      #expect(!lines.contains { $0.contains("secret prompt") })
    }
  }
}
