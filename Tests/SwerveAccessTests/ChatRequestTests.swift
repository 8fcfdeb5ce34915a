import HTTPTypes
import SwerveAccess
import SwerveCore
import Testing

@Suite struct ChatRequestTests {
  private static let tool: JSON = [
    "type": "function", "function": ["name": "f", "parameters": ["type": "object"]],
  ]

  /// Messages as JSON, and the path of the field that is wrong with them.
  private static let conversations: [(messages: String, param: String?)] = [
    (#"[{"role":"user","content":"x"}]"#, nil),
    (#"[{"role":"system","content":"x"},{"role":"user","content":[{"type":"text","text":"x"}]}]"#, nil),
    (#"[{"role":"developer","content":"x"},{"role":"tool","tool_call_id":"a","content":"x"}]"#, nil),
    (#"[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{}]}]"#, nil),
    (#"[{"role":"assistant","reasoning_content":"x"}]"#, nil),
    (#"[]"#, "messages"),
    (#"null"#, "messages"),
    (#""x""#, "messages"),
    (#"["x"]"#, "messages.0"),
    (#"[{"content":"x"}]"#, "messages.0.role"),
    (#"[{"role":"robot","content":"x"}]"#, "messages.0.role"),
    (#"[{"role":1,"content":"x"}]"#, "messages.0.role"),
    (#"[{"role":"user"}]"#, "messages.0.content"),
    (#"[{"role":"user","content":1}]"#, "messages.0.content"),
    (#"[{"role":"user","content":["x"]}]"#, "messages.0.content.0"),
    (#"[{"role":"user","content":[{"type":"text"}]}]"#, "messages.0.content.0.text"),
    (#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]"#, "messages.0.content.0"),
    (#"[{"role":"user","content":[{"type":"hologram"}]}]"#, "messages.0.content.0.type"),
    (#"[{"role":"user","content":"x"},{"role":"assistant","content":"x","tool_calls":1}]"#, "messages.1.tool_calls"),
  ]

  @Test(arguments: conversations.indices) func checksMessages(_ place: Int) async throws {
    let (messages, param) = Self.conversations[place]
    try await InProcess.run { server in
      let answer = try await server.send(
        .post, "/v1/chat/completions", body: "{\"messages\": \(messages)}")
      #expect(answer.status == (param == nil ? 200 : 400), "\(answer.body)")
      if let param { #expect(try answer.param == param) }
    }
  }

  @Test func showsToolsUnderAutoAndRefusesForcedCalls() async throws {
    let engine = FakeEngine()
    try await InProcess.run(engine) { server in
      for choice: JSON in [nil, "auto"] {
        #expect(try await server.chat(["tools": [Self.tool], "tool_choice": choice]).status == 200)
      }
      #expect(try await server.chat(["tools": [Self.tool], "tool_choice": "none"]).status == 200)
      #expect(try await server.chat(["functions": [["name": "f"]], "function_call": "auto"]).status == 200)
      #expect(try await server.chat(["tool_choice": "none", "parallel_tool_calls": false]).status == 200)
      let seen = engine.requests.map { request -> [JSON]? in
        if case .chat(let chat) = request.prompt { chat.tools } else { nil }
      }
      #expect(seen == [[Self.tool], [Self.tool], nil, [["type": "function", "function": ["name": "f"]]], nil])

      let refused: [(JSONObject, String)] = [
        (["tools": []], "tools"), (["tools": "x"], "tools"), (["tools": [1]], "tools.0"),
        (["tools": [["type": "function", "function": [:]]]], "tools.0.function.name"),
        (["tools": [Self.tool], "tool_choice": "required"], "tool_choice"),
        (["tools": [Self.tool], "tool_choice": ["type": "function", "function": ["name": "f"]]], "tool_choice"),
        (["tools": [Self.tool], "tool_choice": ["type": "function", "function": ["name": "g"]]], "tool_choice"),
        (["tools": [Self.tool], "tool_choice": ["type": "allowed_tools"]], "tool_choice"),
        (["tools": [Self.tool], "tool_choice": "sometimes"], "tool_choice"),
        (["tools": [Self.tool], "tool_choice": 1], "tool_choice"),
        (["tool_choice": "auto"], "tool_choice"), (["tool_choice": "required"], "tool_choice"),
      ]
      for (members, param) in refused {
        let answer = try await server.chat(members)
        #expect(answer.status == 400, "\(members)")
        #expect(try answer.param == param, "\(members)")
      }
    }
  }

  @Test func handsTemplateFieldsOn() async throws {
    let engine = FakeEngine()
    try await InProcess.run(engine, { $0.trustsRequestChatTemplate = true }) { server in
      let answer = try await server.chat([
        "chat_template_kwargs": ["a": 1], "reasoning_effort": "none", "documents": [["title": "t", "text": "x"]],
        "continue_final_message": true, "chat_template": "{{ x }}",
      ])
      #expect(answer.status == 200)
      guard case .chat(let chat)? = engine.requests.first?.prompt else {
        Issue.record("no chat prompt")
        return
      }
      #expect(chat.templateArguments == ["a": 1, "reasoning_effort": "none", "enable_thinking": false])
      #expect(chat.documents == [["title": "t", "text": "x"]])
      #expect(chat.continueFinalMessage)
      #expect(!chat.addGenerationPrompt)
      #expect(chat.template == "{{ x }}")
      #expect(engine.requests.first?.addSpecialTokens == false)
    }
  }

  @Test func refusesWhatItCannotHonour() async throws {
    try await InProcess.run { server in
      let cases: [(JSONObject, String)] = [
        (["chat_template": "x"], "chat_template"),
        (["continue_final_message": true, "add_generation_prompt": true], "continue_final_message"),
        (["reasoning_effort": "extreme"], "reasoning_effort"), (["documents": [1]], "documents.0"),
        (["mm_processor_kwargs": [:]], "mm_processor_kwargs"),
        (["response_format": ["type": "json_schema"]], "response_format.json_schema"),
        (["response_format": ["type": "json_schema", "json_schema": ["name": "x"]]], "response_format"),
        (["response_format": ["type": "poem"]], "response_format.type"),
      ]
      for (members, param) in cases {
        let answer = try await server.chat(members)
        #expect(answer.status == 400, "\(members)")
        #expect(try answer.param == param, "\(members)")
      }
      let suffix = try await server.complete(["suffix": "x"])
      #expect(suffix.status == 400)
      #expect(try suffix.message == "suffix is not supported by this model")
      #expect(try await server.complete(["prompt_embeds": "AAAA"]).status == 400)
    }
  }

  @Test func echoesTheLastMessageOfTheAnswersRole() async throws {
    try await InProcess.run { server in
      let members: JSONObject = [
        "messages": [["role": "user", "content": "x"], ["role": "assistant", "content": "Oh, "]], "echo": true,
      ]
      let whole = try await server.chat(members)
      #expect(try whole.json["choices"]?[0]?["message"]?["content"] == "Oh, Hello")
      var streamed = members
      streamed["stream"] = true
      let joined = try AnswerTests.Joined(
        try await server.chat(streamed).events.dropLast().map { try JSON(parsing: $0) }, isChat: true)
      #expect(joined.texts == [0: "Oh, Hello"])
    }
  }
}
