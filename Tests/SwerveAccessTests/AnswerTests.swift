import HTTPTypes
import SwerveAccess
import SwerveCore
import Synchronization
import Testing

@Suite struct AnswerTests {
  @Test func aCompletionHasTheSpecifiedShape() async throws {
    let engine = FakeEngine { request throws(RequestError) in Script.events(request, text: "Hi", cached: 2) }
    try await InProcess.run(engine) { server in
      let answer = try await server.post("/v1/completions", ["prompt": "xyz"], [.init("X-Request-Id")!: "id"])
      let text = answer.body.replacing(#/"created":\d+/#, with: #""created":0"#)
      #expect(
        text
          == #"{"id":"cmpl-id","object":"text_completion","created":0,"model":"fake","choices":["#
          + #"{"index":0,"text":"Hi","logprobs":null,"finish_reason":"stop","stop_reason":null,"token_ids":null,"#
          + #""prompt_logprobs":null,"prompt_token_ids":null}],"service_tier":null,"system_fingerprint":"swerve-test","#
          + #""usage":{"prompt_tokens":3,"total_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":2}},"#
          + #""kv_transfer_params":null}"#)
    }
  }

  @Test func aChatHasTheSpecifiedShape() async throws {
    let engine = FakeEngine { request throws(RequestError) in Script.events(request, text: "Hi", finish: .length) }
    try await InProcess.run(engine) { server in
      let answer = try await server.post(
        "/v1/chat/completions", ["messages": [["role": "user", "content": "xyz"]]], [.init("X-Request-Id")!: "id"])
      let text = answer.body.replacing(#/"created":\d+/#, with: #""created":0"#)
      #expect(
        text
          == #"{"id":"chatcmpl-id","object":"chat.completion","created":0,"model":"fake","choices":["#
          + #"{"index":0,"message":{"role":"assistant","content":"Hi","refusal":null,"annotations":null,"audio":null,"#
          + #""function_call":null,"reasoning":null,"reasoning_content":null},"logprobs":null,"#
          + #""finish_reason":"length","stop_reason":null,"token_ids":null}],"service_tier":null,"#
          + #""system_fingerprint":"swerve-test","usage":{"prompt_tokens":3,"total_tokens":5,"completion_tokens":2,"#
          + #""prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"#
          + #""prompt_logprobs":null,"prompt_token_ids":null,"kv_transfer_params":null,"metrics":null}"#)
    }
  }

  @Test func choicesOfSeveralPromptsAreNumberedThrough() async throws {
    let engine = FakeEngine { request throws(RequestError) in
      Script.events(request, text: Script.text(of: request.prompt).uppercased())
    }
    try await InProcess.run(engine) { server in
      let answer = try await server.post("/v1/completions", ["prompt": ["a", [98, 99]], "n": 2]).json
      let choices = try #require(answer["choices"]?.array)
      #expect(choices.map { $0["index"] } == [0, 1, 2, 3])
      #expect(choices.map { $0["text"] } == ["A", "A", "BC", "BC"])
      // Prompt tokens count once a prompt, not once a choice.
      #expect(answer["usage"]?["prompt_tokens"] == 3)
      #expect(answer["usage"]?["completion_tokens"] == 6)
    }
  }

  @Test func everyShapeOfPromptIsTaken() async throws {
    let engine = FakeEngine()
    try await InProcess.run(engine) { server async throws in
      for prompt: JSON in ["a", ["a", "b"], [1, 2], [[1], [2, 3]], ["a", [1]], [1.0]] {
        #expect(try await server.post("/v1/completions", ["prompt": prompt]).status == 200, "\(prompt)")
      }
      for prompt: JSON in ["", [], [[]], [""], [-1], [[-1]], [1, "a"], ["a", 1], 5, ["a": 1], nil, [.int(1 << 40)]] {
        let answer = try await server.post("/v1/completions", ["prompt": prompt])
        #expect(answer.status == 400, "\(prompt)")
        #expect(try answer.param?.hasPrefix("prompt") == true)
      }
    }
    try await InProcess.run(engine, { $0.maxCompletionPrompts = 2 }) { server async throws in
      #expect(try await server.post("/v1/completions", ["prompt": ["a", "b"]]).status == 200)
      #expect(try await server.post("/v1/completions", ["prompt": ["a", "b", "c"]]).status == 400)
      let many = try await server.post("/v1/completions", ["prompt": ["a", "b"], "n": 8193])
      #expect(many.status == 400)
      #expect(try many.param == "n")
    }
  }

  @Test func echoWithLogprobsScoresThePrompt() async throws {
    let engine = FakeEngine { request throws(RequestError) in
      [Script.started(request), .delta(ChoiceDelta(index: 0, finish: .length))]
    }
    try await InProcess.run(engine) { server in
      let answer = try await server.complete(["prompt": "abc", "echo": true, "logprobs": 1, "max_tokens": 0])
      #expect(answer.status == 200, "\(answer.body)")
      #expect(engine.requests.first?.params.promptLogprobs == 1)
      #expect(engine.requests.first?.params.maxTokens == 0)
      let choice = try #require(try answer.json["choices"]?[0])
      #expect(choice["text"] == "abc")
      #expect(choice["prompt_logprobs"] == .null)
      let logprobs = try #require(choice["logprobs"])
      #expect(logprobs["tokens"] == ["a", "b", "c"])
      #expect(logprobs["text_offset"] == [0, 1, 2])
      #expect(logprobs["token_logprobs"] == [nil, -6.125, -6.1875])
      #expect(logprobs["top_logprobs"]?[0] == .null)
      #expect(logprobs["top_logprobs"]?[1]?.object?.count == 2)
      #expect(try await server.complete(["max_tokens": 0]).status == 400)
      #expect(try await server.complete(["echo": true, "logprobs": 1, "use_beam_search": true]).status == 400)
    }
  }

  @Test func chatLogprobsCarryTextBytesAndAlternatives() async throws {
    let engine = FakeEngine { request throws(RequestError) in Script.events(request, text: "é", group: { 2 }) }
    try await InProcess.run(engine) { server in
      let answer = try await server.chat(["logprobs": true, "top_logprobs": 2])
      let content = try #require(try answer.json["choices"]?[0]?["logprobs"]?["content"]?.array)
      #expect(content.count == 2)
      #expect(content[0]["bytes"] == [0xC3])
      #expect(content[1]["bytes"] == [0xA9])
      #expect(content[0]["top_logprobs"]?.array?.count == 2)
      let none = try await server.chat(["logprobs": true])
      #expect(try none.json["choices"]?[0]?["logprobs"]?["content"]?[0]?["top_logprobs"] == [])
    }
  }

  @Test(arguments: [-Float.infinity, .nan])
  func impossibleLogprobsBecomeAFiniteNumber(logprob: Float) async throws {
    let engine = FakeEngine { request throws(RequestError) in
      let bad = TokenText(token: 1, logprob: logprob, rank: 1, text: "x", bytes: [120])
      return [
        Script.started(request),
        .delta(
          ChoiceDelta(
            index: 0, text: "x", tokens: [1], logprobs: [PositionLogprobs(chosen: bad, alternatives: [])],
            finish: .stop)),
      ]
    }
    try await InProcess.run(engine) { server in
      let answer = try await server.complete(["logprobs": 0])
      #expect(try answer.json["choices"]?[0]?["logprobs"]?["token_logprobs"] == [-9999.0])
    }
  }

  @Test func promptLogprobsAndTokenIDsAreReturnedWhereAsked() async throws {
    try await InProcess.run { server in
      let completion = try await server.complete(["prompt": "ab", "prompt_logprobs": 1, "return_token_ids": true])
      let choice = try #require(try completion.json["choices"]?[0])
      #expect(choice["prompt_token_ids"] == [97, 98])
      #expect(choice["token_ids"] == [72, 101, 108, 108, 111])
      #expect(choice["prompt_logprobs"]?[0] == .null)
      #expect(choice["prompt_logprobs"]?[1]?["98"]?["decoded_token"] == "b")
      #expect(choice["prompt_logprobs"]?[1]?["0"]?["rank"] == 1)
      let chat = try await server.chat(["prompt_logprobs": 0, "return_token_ids": true, "return_prompt_text": true])
      #expect(try chat.json["prompt_token_ids"] == [72, 105])
      #expect(try chat.json["prompt_text"] == "Hi")
      #expect(try chat.json["prompt_logprobs"]?.array?.count == 2)
    }
  }

  @Test func bestOfReturnsTheLikeliestChoices() async throws {
    let engine = FakeEngine { request throws(RequestError) in
      var events = [Script.started(request)]
      for (index, text) in ["zz", "aa", "mm"].enumerated() {
        events += Script.deltas(request, index: index, text: text, finish: .stop).map { .delta($0) }
      }
      return events
    }
    try await InProcess.run(engine) { server in
      let answer = try await server.complete(["best_of": 3, "n": 2])
      #expect(engine.requests.first?.params.n == 3)
      let choices = try #require(try answer.json["choices"]?.array)
      #expect(choices.map { $0["text"] } == ["aa", "mm"])
      #expect(choices.map { $0["logprobs"] } == [.null, .null])
      #expect(try answer.json["usage"]?["completion_tokens"] == 6)
      for members: JSONObject in [
        ["best_of": 1, "n": 2], ["best_of": 2, "stream": true], ["best_of": 2, "temperature": 0], ["best_of": "x"],
      ] {
        let refused = try await server.complete(members)
        #expect(refused.status == 400)
        #expect(try refused.param == "best_of")
      }
    }
  }

  @Test(arguments: [FinishReason.error, .abort]) func aFailedChoiceIsNoSuccess(_ finish: FinishReason) async throws {
    let engine = FakeEngine { request throws(RequestError) in Script.events(request, text: "x", finish: finish) }
    try await InProcess.run(engine) { server async throws in
      #expect(try await server.complete([:]).status == (finish == .error ? 500 : 503))
    }
  }

  @Test func aStreamThatEndsEarlyIsAnError() async throws {
    let engine = FakeEngine { request throws(RequestError) in
      [Script.started(request), .delta(ChoiceDelta(index: 0, text: "a", tokens: [97]))]
    }
    try await InProcess.run(engine) { server in
      #expect(try await server.complete([:]).status == 500)
      let events = try await server.complete(["stream": true]).events
      #expect(events.last == "[DONE]")
      #expect(events.dropLast().last?.contains("InternalServerError") == true)
    }
  }

  @Test func aRefusalBeforeTheStreamStartsHasItsOwnStatus() async throws {
    let engine = FakeEngine { _ throws(RequestError) in
      throw RequestError(.unavailable, "The queue is full.", retryAfter: 7)
    }
    try await InProcess.run(engine) { server in
      for isStreaming in [false, true] {
        let answer = try await server.complete(["stream": .bool(isStreaming)])
        #expect(answer.status == 503)
        #expect(answer.headers[.retryAfter] == "7")
        #expect(try answer.message == "The queue is full.")
      }
    }
  }

  @Test func aDeadlineEndsWithWhatThereIs() async throws {
    let silent = FakeEngine(hold: .after(events: 1))
    try await InProcess.run(silent) { server in
      let answer = try await server.complete(["timeout_ms": 20])
      #expect(answer.status == 408)
      #expect(silent.running == 0)
    }
    let talking = FakeEngine(hold: .after(events: 3))
    try await InProcess.run(talking) { server in
      let answer = try await server.complete(["timeout_ms": 300])
      #expect(answer.status == 200, "\(answer.body)")
      #expect(try answer.json["choices"]?[0]?["finish_reason"] == "length")
      #expect(try answer.json["choices"]?[0]?["text"] == "He")
      let events = try await server.complete(["timeout_ms": 300, "stream": true]).events
      #expect(events.dropLast().last?.contains(#""finish_reason":"length""#) == true)
      await talking.wait { _, running, _ in running == 0 }
    }
  }

  /// Streamed pieces put together equal the whole answer, whatever the chunking, for text, log-probabilities and ids.
  @Test func streamedEqualsWhole() async throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SeededRandom(seed: seed)
    let alphabet = ["a", "b", " ", "é", "😀", "\"", "\\", "\n", "世", "\u{0}", "e\u{301}", "👩‍👩‍👧"]
    let groups = Mutex(SeededRandom(seed: seed))
    let texts = (0..<1000).map { _ in
      (0..<Int.random(in: 0...12, using: &random)).map { _ in alphabet.randomElement(using: &random)! }.joined()
    }
    let engine = FakeEngine { request throws(RequestError) in
      let place = Int(request.params.seed ?? 0)
      return Script.events(request, text: texts[place], finish: place % 3 == 0 ? .length : .stop) {
        groups.withLock { Int.random(in: 1...5, using: &$0) }
      }
    }
    try await InProcess.run(engine) { server in
      for place in texts.indices {
        let isChat = place % 2 == 0
        var members: JSONObject = ["seed": .int(place), "return_token_ids": true, "n": .int(place % 5 == 0 ? 2 : 1)]
        members["logprobs"] = isChat ? .bool(place % 4 == 0) : (place % 4 == 1 ? 2 : nil)
        let whole = try await (isChat ? server.chat(members) : server.complete(members)).json
        members["stream"] = true
        members["stream_interval"] = .int(1 + place % 4)
        let events = try await (isChat ? server.chat(members) : server.complete(members)).events
        #expect(events.last == "[DONE]")
        let joined = try Joined(events.dropLast().map { try JSON(parsing: $0) }, isChat: isChat)
        for choice in try #require(whole["choices"]?.array) {
          let index = try #require(choice["index"]?.int)
          let text = isChat ? choice["message"]?["content"] : choice["text"]
          #expect(joined.texts[index] == text?.string, "seed \(seed), request \(place)")
          #expect(joined.tokens[index] == choice["token_ids"]?.array, "seed \(seed), request \(place)")
          #expect(joined.finishes[index] == [choice["finish_reason"] ?? .null], "seed \(seed), request \(place)")
          let logprobs = isChat ? choice["logprobs"]?["content"]?.array : choice["logprobs"]?["text_offset"]?.array
          #expect(joined.logprobs[index, default: []] == logprobs ?? [], "seed \(seed), request \(place)")
        }
      }
    }
  }

  /// A stream's chunks put together by choice.
  struct Joined {
    var texts: [Int: String] = [:]
    var tokens: [Int: [JSON]] = [:]
    var logprobs: [Int: [JSON]] = [:]
    var finishes: [Int: [JSON]] = [:]

    init(_ chunks: [JSON], isChat: Bool) throws {
      for choice in chunks.compactMap({ $0["choices"]?[0] }) {
        let index = try #require(choice["index"]?.int)
        texts[index, default: ""] += (isChat ? choice["delta"]?["content"] : choice["text"])?.string ?? ""
        tokens[index, default: []] += choice["token_ids"]?.array ?? []
        let list = isChat ? choice["logprobs"]?["content"] : choice["logprobs"]?["text_offset"]
        logprobs[index, default: []] += list?.array ?? []
        if let finish = choice["finish_reason"], !finish.isNull { finishes[index, default: []].append(finish) }
      }
    }
  }
}
