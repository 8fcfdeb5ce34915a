import SwerveAccess
import SwerveCore
import Testing

/// Every row of the specification's sampling table: just inside, just outside, wrong type.
@Suite struct SamplingFieldTests {
  struct Row: Sendable, CustomTestStringConvertible {
    var field: String
    var good: [JSON]
    var bad: [JSON]
    /// Needed beside the field for it to make sense.
    var with: JSONObject = [:]

    var testDescription: String { field }
  }

  static let wrong: [JSON] = ["x", [1], ["a": 1], true]

  static let rows: [Row] = [
    Row(field: "temperature", good: [0, 0.001, 2, 2.0, nil], bad: [-0.1, 2.01] + wrong),
    Row(field: "top_p", good: [0.001, 1, nil], bad: [0, 1.01, -1] + wrong),
    Row(field: "top_k", good: [-1, 0, 1, 5.0, nil], bad: [-2, 1.5] + wrong),
    Row(field: "min_p", good: [0, 1, nil], bad: [-0.01, 1.01] + wrong),
    Row(field: "presence_penalty", good: [-2, 2, nil], bad: [-2.1, 2.1] + wrong),
    Row(field: "frequency_penalty", good: [-2, 2, nil], bad: [-2.1, 2.1] + wrong),
    Row(field: "repetition_penalty", good: [0.1, 10, nil], bad: [0, -1] + wrong),
    Row(field: "seed", good: [-1, 0, .int(.min), .int(.max), nil], bad: [0.5, .double(1e30)] + wrong),
    Row(field: "n", good: [1, 2, 2.0, nil], bad: [0, -1, 16385, 1.5] + wrong),
    Row(
      field: "stop", good: ["a", ["a", "b", "c", "d"], [], nil], bad: ["", [""], ["a", "b", "c", "d", "e"], 1, [1]]),
    Row(field: "stop_token_ids", good: [[0, 255], [], nil], bad: [[256], [-1], ["1"], 1, "x"]),
    Row(field: "include_stop_str_in_output", good: [true, false, nil], bad: [1, "true"]),
    Row(field: "ignore_eos", good: [true, nil], bad: [1, "true"]),
    Row(field: "min_tokens", good: [0, 16, nil], bad: [-1, 17, 1.5] + wrong),
    Row(field: "max_tokens", good: [1, 16.0, nil], bad: [0, -1, 1.5] + wrong),
    Row(field: "max_completion_tokens", good: [1, nil], bad: [0, -1] + wrong),
    Row(
      field: "logit_bias", good: [["5": 100], ["0": -1000, "255": 0.5], [:], nil],
      bad: [["256": 1], ["x": 1], ["-1": 1], 1, [1]]),
    Row(field: "allowed_token_ids", good: [[1, 2], nil], bad: [[], [256], [-1], ["a"], 1]),
    Row(field: "bad_words", good: [["a"], [], nil], bad: [[""], [1], "a", .array(Array(repeating: "a", count: 129))]),
    Row(field: "prompt_logprobs", good: [0, 20, nil], bad: [-2, 21, 1.5] + wrong),
    Row(
      field: "logprob_token_ids", good: [[1, 2], nil], bad: [[256], .array(Array(repeating: 1, count: 129)), 1],
      with: ["logprobs": 1]),
    Row(field: "skip_special_tokens", good: [false, nil], bad: [0, "no"]),
    Row(field: "spaces_between_special_tokens", good: [false, nil], bad: [0, "no"]),
    Row(field: "truncate_prompt_tokens", good: [-1, 5, nil], bad: [-2, 1.5] + wrong),
    Row(field: "truncation_side", good: ["left", "right", nil], bad: ["middle", 1]),
    Row(field: "use_beam_search", good: [false, true, nil], bad: [1, "x"]),
    Row(field: "length_penalty", good: [0.5, nil], bad: ["x", true]),
    Row(field: "early_stopping", good: [true, "never", nil], bad: [1, "x"]),
    Row(field: "num_beams", good: [1, 4, nil], bad: [0, "x", 1.5]),
    Row(field: "priority", good: [0, nil], bad: [1, -1, 1.5] + wrong),
    Row(field: "request_id", good: ["abc", nil], bad: ["", "a b", "a\nb", 1]),
    Row(field: "session_id", good: ["s", nil], bad: [1]),
    Row(
      field: "cache_salt", good: ["a", .string(String(repeating: "x", count: 128)), nil],
      bad: ["", "a@b", "a/b", "a\\b", "a\u{0}b", .string(String(repeating: "x", count: 129)), 1]),
    Row(field: "return_tokens_as_token_ids", good: [true, nil], bad: [1]),
    Row(field: "return_token_ids", good: [true, nil], bad: [1, "x"]),
    Row(field: "thinking_token_budget", good: [-1, nil], bad: [-2, 5, 1.5] + wrong),
    Row(
      field: "repetition_detection", good: [["max_pattern_size": 0], nil],
      bad: [["max_pattern_size": 3, "min_count": 2], 1, "x"]),
    Row(field: "stream_interval", good: [1, 7, nil], bad: [0, 1.5] + wrong),
    Row(field: "vllm_xargs", good: [["a": "b", "c": 1, "d": [1]], nil], bad: [1, [1]]),
    Row(field: "kv_transfer_params", good: [["a": 1], nil], bad: [1, "x"]),
    Row(field: "timeout_ms", good: [1000, nil], bad: [0, -5, 1.5] + wrong),
    Row(field: "service_tier", good: ["auto", "default", "flex", "priority", nil], bad: ["gold", 1]),
    Row(field: "user", good: ["u", nil], bad: [1]),
    Row(field: "tenant", good: ["t", nil], bad: [1]),
    Row(field: "stream", good: [false, true, nil], bad: [1, "true"]),
    Row(field: "model", good: ["fake", "org/fake-alias", "", nil], bad: [1]),
    Row(field: "typical_p", good: [1, nil], bad: [0.5, "x"]),
    Row(field: "mirostat", good: [0, nil], bad: [2]),
    Row(field: "response_format", good: [["type": "text"], nil], bad: [["type": "json_object"], 1]),
    Row(field: "guided_json", good: [nil], bad: [["type": "object"]]),
    Row(field: "guided_choice", good: [nil], bad: [["a"]]),
    Row(field: "structured_outputs", good: [nil], bad: [["regex": "a+"]]),
    Row(field: "guided_decoding_backend", good: [nil], bad: ["outlines"]),
  ]

  @Test(arguments: rows) func acceptsWhatIsInsideAndNamesWhatIsNot(_ row: Row) async throws {
    try await InProcess.run { server in
      for isChat in [false, true] {
        // Chat spells `logprobs` as a boolean.
        let with = isChat && row.with["logprobs"] != nil ? ["logprobs": true] : row.with
        for value in row.good {
          var members = with
          members[row.field] = value
          let answer = isChat ? try await server.chat(members) : try await server.complete(members)
          if isChat, row.field == "min_tokens" || answer.status == 200 { continue }
          #expect(answer.status == 200, "\(row.field) = \(value): \(answer.body)")
        }
        for value in row.bad {
          // Chat has no default for max_tokens, so min_tokens has no upper bound there.
          if isChat, row.field == "min_tokens", value == 17 { continue }
          var members = with
          members[row.field] = value
          let answer = isChat ? try await server.chat(members) : try await server.complete(members)
          #expect(answer.status == 400, "\(row.field) = \(value): \(answer.body)")
          let error = try answer.json["error"]
          #expect(error?["param"]?.string?.hasPrefix(row.field) == true, "\(row.field) = \(value): \(answer.body)")
          #expect(error?["type"] == "BadRequestError")
          #expect(error?["code"] == 400)
          #expect(error?["message"]?.string?.isEmpty == false)
        }
      }
    }
  }

  @Test func readsLogprobsTheWayEachEndpointSpellsThem() async throws {
    try await InProcess.run { server in
      for value: JSON in [0, 20, nil] {
        #expect(try await server.complete(["logprobs": value]).status == 200)
      }
      for value: JSON in [-2, 21, 1.5, "x", true] {
        let answer = try await server.complete(["logprobs": value])
        #expect(answer.status == 400)
        #expect(try answer.param == "logprobs")
      }
      for members: JSONObject in [
        ["logprobs": true], ["logprobs": false], ["logprobs": true, "top_logprobs": 20], ["top_logprobs": 0],
        ["logprobs": nil, "top_logprobs": nil],
      ] {
        #expect(try await server.chat(members).status == 200)
      }
      #expect(try await server.chat(["logprobs": 1]).param == "logprobs")
      for members: JSONObject in [
        ["top_logprobs": 3], ["logprobs": true, "top_logprobs": 21], ["logprobs": true, "top_logprobs": -2],
        ["logprobs": true, "top_logprobs": "x"],
      ] {
        let answer = try await server.chat(members)
        #expect(answer.status == 400)
        #expect(try answer.param == "top_logprobs")
      }
    }
  }

  @Test func refusesWhatContradictsItself() async throws {
    try await InProcess.run { server in
      let cases: [(JSONObject, String)] = [
        (["temperature": 0, "n": 2], "n"),
        (["stream_options": ["include_usage": true]], "stream_options"),
        (
          ["stream": true, "stream_options": ["continuous_usage_stats": true]], "stream_options.continuous_usage_stats"
        ),
        (["stream": true, "prompt_logprobs": 1], "prompt_logprobs"),
        (["stop": "a", "detokenize": false], "stop"),
        (["logprob_token_ids": [1]], "logprob_token_ids"),
      ]
      for (members, param) in cases {
        for answer in [try await server.complete(members), try await server.chat(members)] {
          #expect(answer.status == 400, "\(members): \(answer.body)")
          #expect(try answer.param == param)
        }
      }
    }
  }

  @Test func takesRequestValuesThenServerDefaultsThenItsOwn() async throws {
    let engine = FakeEngine(defaults: ["temperature": 0.5, "top_k": 7, "max_new_tokens": 99])
    try await InProcess.run(engine) { server in
      _ = try await server.complete([:])
      _ = try await server.complete(["temperature": 0.9, "top_k": -1, "max_tokens": 3])
      _ = try await server.complete(["temperature": nil, "seed": -1])
      _ = try await server.complete(["temperature": 0.005])
      let asked = engine.requests.map(\.params)
      #expect(asked.map(\.temperature) == [0.5, 0.9, 0.5, 0.01])
      #expect(asked.map(\.topK) == [7, -1, 7, 7])
      #expect(asked.map(\.maxTokens) == [99, 3, 99, 99])
      #expect(asked.map(\.seed) == [nil, nil, nil, nil])
    }
    let plain = FakeEngine()
    try await InProcess.run(plain) { server in
      _ = try await server.complete([:])
      _ = try await server.chat([:])
      _ = try await server.chat(["max_tokens": 5, "max_completion_tokens": 4])
      #expect(plain.requests.map(\.params.maxTokens) == [16, nil, 4])
      #expect(plain.requests.map(\.params.temperature) == [1, 1, 1])
    }
  }

  @Test func clampsBiasesAndHandsEverythingOn() async throws {
    let engine = FakeEngine()
    try await InProcess.run(engine, { $0.honoursPriority = true }) { server in
      let answer = try await server.complete([
        "logit_bias": ["5": 1000, "6": -1000, "7": 0.5], "priority": -3, "cache_salt": "salt", "request_id": "me",
        "truncate_prompt_tokens": 9, "truncation_side": "right", "add_special_tokens": false, "ignore_eos": true,
        "stop": "x", "unknown_field": ["anything"],
      ])
      #expect(answer.status == 200)
      let request = try #require(engine.requests.first)
      #expect(request.params.logitBias == [5: 100, 6: -100, 7: 0.5])
      #expect(request.priority == -3)
      #expect(request.cacheSalt == "salt")
      #expect(request.id == "cmpl-me")
      #expect(request.truncatePromptTokens == 9)
      #expect(request.truncationSide == .right)
      #expect(!request.addSpecialTokens)
      #expect(request.params.ignoreEos)
      #expect(request.params.stop == ["x"])
    }
  }

  @Test func survivesRandomBodies() async throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    try await InProcess.run { server in
      var random = SeededRandom(seed: seed)
      let values: [JSON] = [
        nil, true, 0, -1, 1, 16.0, 1.5, .int(.max), .int(.min), .double(1e300), "", "x", [], [1], ["a"], [:], ["a": 1],
        [[1]], [["role": "user", "content": "x"]],
      ]
      let names =
        Self.rows.map(\.field) + [
          "prompt", "messages", "logprobs", "top_logprobs", "echo", "best_of", "tools", "tool_choice", "stream_options",
          "suffix", "reasoning_effort", "chat_template_kwargs", "documents", "functions",
        ]
      for _ in 0..<1500 {
        var members: JSONObject = [:]
        for _ in 0..<Int.random(in: 1...6, using: &random) {
          members[names.randomElement(using: &random)!] = values.randomElement(using: &random)!
        }
        let answer =
          Bool.random(using: &random) ? try await server.complete(members) : try await server.chat(members)
        #expect([200, 400, 404].contains(answer.status), "seed \(seed), \(members): \(answer.body)")
      }
    }
  }
}

/// A generator whose whole course follows from its seed (SplitMix64).
struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
