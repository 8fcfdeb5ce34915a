import SwerveAccess
import SwerveCore
import Synchronization
import Testing

/// Event streams byte for byte, over a real socket. `created` and the id's random part are the only things replaced.
@Suite struct StreamTranscriptTests {
  /// The transcript of one streamed request with `created` normalised.
  private func transcript(
    _ path: String, _ body: JSON, engine: FakeEngine,
    _ configure: @escaping (inout ServerConfiguration) -> Void = { _ in }
  ) async throws -> String {
    let collected = Mutex("")
    try await LiveServer.run(engine, configure) { server in
      let answer = try await server.post(path, body, ["X-Request-Id": "id"])
      #expect(answer.status == 200)
      #expect(answer.headers["content-type"] == "text/event-stream; charset=utf-8")
      #expect(answer.headers["cache-control"] == "no-cache")
      #expect(answer.headers["connection"] == "keep-alive")
      #expect(answer.headers["x-accel-buffering"] == "no")
      collected.withLock { $0 = answer.body }
    }
    return collected.withLock { $0 }.replacing(#/"created":\d+/#, with: #""created":0"#)
  }

  private let chat =
    #"data: {"id":"chatcmpl-id","object":"chat.completion.chunk","created":0,"model":"fake","choices":["#
  private let completion = #"data: {"id":"cmpl-id","object":"text_completion","created":0,"model":"fake","choices":["#

  @Test func aPlainChat() async throws {
    let engine = FakeEngine { request throws(RequestError) in Script.events(request, text: "Hi!") }
    let text = try await transcript(
      "/v1/chat/completions", ["messages": [["role": "user", "content": "x"]], "stream": true], engine: engine)
    #expect(
      text == """
        \(chat){"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

        \(chat){"index":0,"delta":{"content":"H"},"logprobs":null,"finish_reason":null}]}

        \(chat){"index":0,"delta":{"content":"i"},"logprobs":null,"finish_reason":null}]}

        \(chat){"index":0,"delta":{"content":"!"},"logprobs":null,"finish_reason":"stop","stop_reason":null}],"system_fingerprint":"swerve-test"}

        data: [DONE]


        """)
  }

  @Test func twoChoicesAndAUsageChunk() async throws {
    let engine = FakeEngine { request throws(RequestError) in
      [
        Script.started(request, cached: 1), .delta(ChoiceDelta(index: 1, text: "b", tokens: [98])),
        .delta(ChoiceDelta(index: 0, text: "a", tokens: [97], finish: .length)),
        .delta(ChoiceDelta(index: 1, finish: .stop, stopReason: .token(9))),
      ]
    }
    let text = try await transcript(
      "/v1/chat/completions",
      [
        "messages": [["role": "user", "content": "xyz"]], "stream": true, "n": 2,
        "stream_options": ["include_usage": true],
      ], engine: engine)
    let usage =
      #""usage":{"prompt_tokens":3,"total_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1},"#
      + #""completion_tokens_details":{"reasoning_tokens":0}}}"#
    #expect(
      text == """
        \(chat){"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

        \(chat){"index":1,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

        \(chat){"index":1,"delta":{"content":"b"},"logprobs":null,"finish_reason":null}]}

        \(chat){"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":"length","stop_reason":null}]}

        \(chat){"index":1,"delta":{},"logprobs":null,"finish_reason":"stop","stop_reason":9}]}

        \(chat)],"system_fingerprint":"swerve-test",\(usage)

        data: [DONE]


        """)
  }

  /// Tokens without text yet (half a character, a possible stop string) make no chunk of their own.
  @Test func halfCharactersAndHeldBackTextMakeNoChunk() async throws {
    let engine = FakeEngine { request throws(RequestError) in
      [
        Script.started(request), .delta(ChoiceDelta(index: 0, tokens: [240, 159])),
        .delta(ChoiceDelta(index: 0, tokens: [152])),
        .delta(ChoiceDelta(index: 0, text: "😀", tokens: [128])),
        .delta(ChoiceDelta(index: 0, tokens: [83])),
        .delta(ChoiceDelta(index: 0, tokens: [84], finish: .stop, stopReason: .string("ST"))),
      ]
    }
    let text = try await transcript(
      "/v1/completions",
      ["prompt": "x", "stream": true, "stop": "ST", "stream_options": ["include_usage": true]], engine: engine)
    let usage =
      #""usage":{"prompt_tokens":1,"total_tokens":7,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":0}}}"#
    #expect(
      text == """
        \(completion){"index":0,"text":"😀","logprobs":null,"finish_reason":null,"stop_reason":null}]}

        \(completion){"index":0,"text":"","logprobs":null,"finish_reason":"stop","stop_reason":"ST"}]}

        \(completion)],"system_fingerprint":"swerve-test",\(usage)

        data: [DONE]


        """)
  }

  @Test func anErrorInTheMiddle() async throws {
    let engine = FakeEngine(failure: RequestError(.internalError, "The step failed.")) {
      request throws(RequestError) in [Script.started(request), .delta(ChoiceDelta(index: 0, text: "a", tokens: [97]))]
    }
    let text = try await transcript("/v1/completions", ["prompt": "x", "stream": true], engine: engine)
    #expect(
      text == """
        \(completion){"index":0,"text":"a","logprobs":null,"finish_reason":null,"stop_reason":null}]}

        data: {"error":{"message":"The step failed.","type":"InternalServerError","param":null,"code":500}}

        data: [DONE]


        """)
  }

  @Test func logprobsAndTokenIDsRideOnTheirChunk() async throws {
    let engine = FakeEngine { request throws(RequestError) in Script.events(request, text: "ab") }
    let text = try await transcript(
      "/v1/completions",
      ["prompt": "x", "stream": true, "logprobs": 1, "return_token_ids": true, "return_tokens_as_token_ids": true],
      engine: engine)
    let first =
      #"{"text_offset":[0],"token_logprobs":[-6.0625],"tokens":["token_id:97"],"#
      + #""top_logprobs":[{"token_id:97":-6.0625,"token_id:0":-0.0}]}"#
    let second =
      #"{"text_offset":[11],"token_logprobs":[-6.125],"tokens":["token_id:98"],"#
      + #""top_logprobs":[{"token_id:98":-6.125,"token_id:0":-0.0}]}"#
    #expect(
      text == """
        \(completion){"index":0,"text":"a","logprobs":\(first),"finish_reason":null,"stop_reason":null,"prompt_token_ids":[120],"token_ids":[97]}]}

        \(completion){"index":0,"text":"b","logprobs":\(second),"finish_reason":"stop","stop_reason":null,"token_ids":[98]}],"system_fingerprint":"swerve-test"}

        data: [DONE]


        """)
  }

  @Test func anEchoedPromptComesWithTheFirstChunk() async throws {
    let engine = FakeEngine { request throws(RequestError) in Script.events(request, text: "cd", group: { 2 }) }
    let text = try await transcript(
      "/v1/completions", ["prompt": ["ab", "xy"], "stream": true, "echo": true], engine: engine)
    #expect(text.contains(#"{"index":0,"text":"abcd","logprobs":null,"finish_reason":"stop","stop_reason":null}"#))
    #expect(text.contains(#"{"index":1,"text":"xycd","logprobs":null,"finish_reason":"stop","stop_reason":null}"#))
    #expect(text.hasSuffix("data: [DONE]\n\n"))
  }

  @Test func aStreamIntervalMergesChunks() async throws {
    let engine = FakeEngine { request throws(RequestError) in Script.events(request, text: "abcdefgh") }
    let text = try await transcript(
      "/v1/completions", ["prompt": "x", "stream": true, "stream_interval": 3], engine: engine)
    let texts = text.matches(of: #/"text":"([a-z]*)"/#).map { String($0.1) }
    #expect(texts == ["a", "bcd", "efg", "h"])
  }

  @Test func continuousUsageGrows() async throws {
    let engine = FakeEngine { request throws(RequestError) in Script.events(request, text: "ab") }
    let text = try await transcript(
      "/v1/completions",
      [
        "prompt": "xyz", "stream": true,
        "stream_options": ["include_usage": true, "continuous_usage_stats": true],
      ], engine: engine)
    let totals = text.matches(of: #/"total_tokens":(\d+)/#).map { String($0.1) }
    #expect(totals == ["4", "5", "5"])
  }

  @Test func usageComesWithEveryStreamWhereTheServerSaysSo() async throws {
    let text = try await transcript(
      "/v1/completions", ["prompt": "x", "stream": true], engine: FakeEngine(), { $0.forcesUsage = true })
    #expect(text.contains(#""choices":[],"system_fingerprint":"swerve-test","usage":{"#))
  }

  @Test func anIdleStreamCarriesComments() async throws {
    let engine = FakeEngine(hold: .after(events: 2)) { request throws(RequestError) in
      Script.events(request, text: "ab")
    }
    try await LiveServer.run(engine, { $0.keepAliveInterval = 0.05 }) { server in
      try await RawConnection.open(port: server.port) { connection in
        try await connection.send(
          LiveServer.head("POST", "/v1/completions", body: #"{"prompt":"x","stream":true}"#))
        let text = try await connection.read(until: ": keep-alive\n\n")
        #expect(text.contains(#""text":"a""#))
        #expect(!text.contains("[DONE]"))
        engine.release()
        let all = try await connection.readToEnd()
        #expect(all.contains(#""text":"b""#))
        #expect(all.contains("data: [DONE]\n\n"))
      }
    }
  }

  @Test func everyEventIsFlushedAtOnce() async throws {
    let engine = FakeEngine(hold: .after(events: 2)) { request throws(RequestError) in
      Script.events(request, text: "ab")
    }
    try await LiveServer.run(engine) { server in
      try await RawConnection.open(port: server.port) { connection in
        try await connection.send(
          LiveServer.head("POST", "/v1/completions", body: #"{"prompt":"x","stream":true}"#))
        // The engine says nothing more until it is released, so this returns only if the first event was sent alone.
        let text = try await connection.read(until: #""text":"a""#)
        #expect(text.contains(#""text":"a""#))
        engine.release()
        #expect(try await connection.readToEnd().contains("[DONE]"))
      }
    }
  }
}
