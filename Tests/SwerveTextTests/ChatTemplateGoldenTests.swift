import SwerveCore
import SwerveText
import Testing

@Suite("Chat templates against the reference")
struct ChatTemplateGoldenTests {
  private func prompt(_ item: JSON) throws -> Conversation {
    var prompt = Conversation(messages: try #require(item["messages"]?.array), tools: item["tools"]?.array)
    for (key, value) in item["kwargs"]?.object ?? JSONObject() {
      switch key {
      case "add_generation_prompt": prompt.addGenerationPrompt = value.bool ?? false
      case "continue_final_message": prompt.continueFinalMessage = value.bool == true ? .content : nil
      case "documents": prompt.documents = value.array
      default: prompt.variables[key] = value
      }
    }
    return prompt
  }

  @Test(
    "every real template renders every recorded conversation as the reference does",
    arguments: ChatTemplateFixtures.templateNames)
  func recordedConversations(name: String) throws {
    let template = try ChatTemplate(source: ChatTemplateFixtures.template(name))
    let cases = try ChatTemplateFixtures.lines("cases.jsonl").filter { $0["template"]?.string == name }
    #expect(!cases.isEmpty)
    for item in cases {
      let prompt = try prompt(item)
      let outcome = ChatTemplateOutcome { try prompt.render(template, now: ChatTemplateFixtures.now) }
      if let difference = outcome.difference(from: item) { Issue.record("\(item["id"]?.string ?? ""): \(difference)") }
    }
  }

  @Test(
    "small templates give the reference's text or its error", arguments: ["jinja-micro.jsonl", "jinja-recorded.jsonl"])
  func smallTemplates(file: String) throws {
    let (context, cases) = try ChatTemplateFixtures.smallCases(file)
    #expect(cases.count >= 66)
    for item in cases {
      let source = try #require(item["template"]?.string)
      let outcome = ChatTemplateOutcome {
        try ChatTemplate(source: source).render(context: context, now: ChatTemplateFixtures.now)
      }
      if let difference = outcome.difference(from: item) {
        Issue.record("\(item["id"]?.string ?? "") \(source.debugDescription): \(difference); wanted \(item.text)")
      }
    }
  }

  @Test("the line protocol answers every kind of request on one line of ASCII")
  func lineProtocol() throws {
    func answer(_ request: String) throws -> JSON {
      let line = RenderTemplateLines.answer(Array(request.utf8), now: ChatTemplateFixtures.now)
      #expect(line.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
      return try JSON(parsing: line)
    }
    #expect(try answer(#"{"template": "{{ a }}", "context": {"a": "é\u2028"}}"#)["text"] == "é\u{2028}")
    let conversation =
      #"{"template": "{{ messages[0].content }}{{ tools }}{{ x }}{{ strftime_now('%Y') }}{{ add_generation_prompt }}", "#
      + #""messages": [{"role": "user", "content": "q"}], "tools": null, "kwargs": {"x": 1, "add_generation_prompt": true}, "#
      + #""now": "1999-12-31T23:59:59"}"#
    #expect(try answer(conversation)["text"] == "qNone11999True")
    #expect(try answer(#"{"template": "{{ raise_exception('no') }}", "context": {}}"#)["error"] == "no")
    #expect(try answer("{")["error"]?.string?.contains("not JSON") == true)
    #expect(try answer("{}")["error"]?.string?.contains("template") == true)
    #expect(try answer(#"{"template": "x"}"#)["error"]?.string?.contains("messages") == true)
    #expect(try answer(#"{"template": "x", "context": {}, "now": "soon"}"#)["error"]?.string?.contains("now") == true)
  }
}
