import SwerveCore
import SwerveText
import Testing

@Suite("Where a model keeps its chat template")
struct ChatTemplateLoadingTests {
  /// A model folder in memory. The bytes live as long as the process: they are a handful of short strings.
  private func files(_ contents: [String: String]) -> ModelFiles {
    var memory: [String: FileBytes] = [:]
    for (name, text) in contents {
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, text.utf8.count), alignment: 1)
      buffer.copyBytes(from: text.utf8)
      memory[name] = FileBytes(
        immortal: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[0..<text.utf8.count]))
    }
    return ModelFiles(place: "<test>", memory: memory)
  }

  @Test("chat_template.jinja counts before chat_template.json, and that before tokenizer_config.json")
  func order() throws {
    var contents = ["tokenizer_config.json": #"{"chat_template": "config", "bos_token": "<s>"}"#]
    #expect(try ChatTemplate.load(files: files(contents))?.template.source == "config")
    contents["chat_template.json"] = #"{"chat_template": "json"}"#
    #expect(try ChatTemplate.load(files: files(contents))?.template.source == "json")
    contents["chat_template.jinja"] = "jinja"
    let model = try #require(try ChatTemplate.load(files: files(contents)))
    #expect(model.template.source == "jinja")
    #expect(model.specialTokens["bos_token"] == "<s>")
    #expect(try ChatTemplate.load(files: files([:])) == nil)
    #expect(try ChatTemplate.load(files: files(["tokenizer_config.json": "{}"])) == nil)
  }

  @Test("of named templates, tool_use is for conversations with tools")
  func named() throws {
    let list = #"{"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]}"#
    let model = try #require(try ChatTemplate.load(files: files(["tokenizer_config.json": list])))
    #expect(model.template(withTools: false).source == "d")
    #expect(model.template(withTools: true).source == "t")
    let plain = try #require(try ChatTemplate.load(files: files(["tokenizer_config.json": #"{"chat_template": "p"}"#])))
    #expect(plain.template(withTools: true).source == "p")
  }

  @Test("special tokens are strings or objects with content, from either file")
  func specialTokens() throws {
    let model = try #require(
      try ChatTemplate.load(
        files: files([
          "tokenizer_config.json":
            #"{"chat_template": "x", "bos_token": {"content": "<b>", "lstrip": false}, "eos_token": null, "add_bos_token": true}"#,
          "special_tokens_map.json": #"{"bos_token": "<other>", "eos_token": "</e>", "pad_token": {"content": "<p>"}}"#,
        ])))
    #expect(model.specialTokens == ["bos_token": "<b>", "eos_token": "</e>", "pad_token": "<p>"])
  }

  @Test(
    "a template that is wrong is reported with its file and line",
    arguments: [
      ("chat_template.jinja", "a\n{% if %}", "line 2"), ("chat_template.json", "{", "not JSON"),
      ("tokenizer_config.json", #"{"chat_template": 5}"#, "string or a list"),
      ("tokenizer_config.json", #"{"chat_template": [{"name": "a"}]}"#, "\"template\""),
      (
        "tokenizer_config.json",
        #"{"chat_template": [{"name": "a", "template": "1"}, {"name": "b", "template": "2"}]}"#, "default"
      ),
    ])
  func wrong(file: String, text: String, reason: String) {
    let error = #expect(throws: ModelFileError.self) { try ChatTemplate.load(files: files([file: text])) }
    #expect(error?.file == "<test>/" + file)
    #expect(error?.reason.contains(reason) == true)
  }
}

@Suite("What a template says about itself")
struct ChatTemplateContentFormatTests {
  @Test(
    "content is a list of parts where the template loops over it",
    arguments: [
      ("{% for message in messages %}{{ message.content }}{% endfor %}", ContentFormat.string),
      (
        "{% for message in messages %}{% for part in message.content %}{{ part.text }}{% endfor %}{% endfor %}", .openai
      ),
      ("{% for m in messages[1:] %}{% for p in m['content'] | list %}{{ p }}{% endfor %}{% endfor %}", .openai),
      (
        "{% set rest = messages %}{% for m in rest %}{% set c = m.content %}{% for p in c %}{{ p }}{% endfor %}{% endfor %}",
        .openai
      ),
      ("{% for m in messages %}{% for call in m.tool_calls %}{{ call }}{% endfor %}{% endfor %}", .string),
      ("{% for m in other %}{% for p in m.content %}{{ p }}{% endfor %}{% endfor %}", .string),
      ("{{ messages[0].content }}", .string),
    ])
  func contentFormat(source: String, expected: ContentFormat) throws {
    #expect(try ChatTemplate(source: source).contentFormat == expected)
  }

  @Test("it knows which variables it reads")
  func mentions() throws {
    let template = try ChatTemplate(source: "{% if tools %}{{ tools }}{% endif %}{% set documents = 1 %}")
    #expect(template.mentions("tools"))
    #expect(!template.mentions("documents"))
    #expect(!template.mentions("messages"))
  }
}

@Suite("Prompts from conversations")
struct ConversationTests {
  private func render(_ prompt: Conversation, _ source: String) -> ChatTemplateOutcome {
    ChatTemplateOutcome { try prompt.render(ChatTemplate(source: source), now: ChatTemplateFixtures.now) }
  }

  @Test("reasoning is there under every name templates read, thinking first")
  func reasoning() {
    let prompt = Conversation(messages: [["role": "assistant", "reasoning": "r", "content": "c"]])
    #expect(
      render(prompt, "{{ messages[0] | list }}{{ messages[0].reasoning_content }}")
        == .text("['thinking', 'role', 'reasoning', 'content', 'reasoning_content']r"))
  }

  @Test("a continued message ends the prompt where it ends")
  func continued() {
    let loop = "{% for m in messages %}<{{ m.content }}>{% endfor %}"
    var prompt = Conversation(messages: [
      ["role": "user", "content": "q"], ["role": "assistant", "content": "It is "],
    ])
    prompt.continueFinalMessage = .content
    #expect(render(prompt, loop) == .text("<q><It is "))
    #expect(render(prompt, "{% for m in messages %}<{{ m.content | trim }}>{% endfor %}") == .text("<q><It is"))
    let parts = "{% for m in messages %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endfor %}"
    prompt.messages = [["role": "assistant", "content": [["type": "text", "text": "a"], ["type": "image"]]]]
    #expect(render(prompt, parts) == .text("<a"))
    for (messages, source, part) in [
      ([], loop, "empty"), ([["content": nil]], loop, "no \"content\""), ([["content": "x"]], "none", "accepted field"),
      ([["content": []]], loop, "any text"), ([["content": "x"]], "{# content #}", "does not appear"),
    ] as [([JSON], String, String)] {
      prompt.messages = messages
      guard case .failure("python", let message) = render(prompt, source) else {
        Issue.record("no error for \(messages)")
        continue
      }
      #expect(message.contains(part))
    }
  }

  @Test("messages, tools and documents must be objects")
  func shapes() {
    for prompt in [
      Conversation(messages: ["x"]), Conversation(messages: [], tools: ["x"]),
      Conversation(messages: [], documents: [1]),
    ] {
      guard case .failure("python", _) = render(prompt, "") else {
        Issue.record("no error")
        continue
      }
    }
  }
}

@Suite("Dates in templates")
struct TemplateDateTests {
  @Test(
    "seconds since 1970 become the civil date, before and after",
    arguments: [
      (0, "1970-01-01 00:00:00 Thu 001"), (951_782_400, "2000-02-29 00:00:00 Tue 060"),
      (-1, "1969-12-31 23:59:59 Wed 365"),
      (4_107_542_399, "2100-02-28 23:59:59 Sun 059"), (1_772_874_302, "2026-03-07 09:05:02 Sat 066"),
    ])
  func civil(epoch: Int, expected: String) throws {
    let template = try ChatTemplate(source: "{{ strftime_now('%Y-%m-%d %H:%M:%S %a %j') }}")
    #expect(try template.render(context: [:], now: TemplateDate(epoch: epoch)) == expected)
    let shifted = TemplateDate(epoch: epoch - 3600, offset: 3600)
    #expect(shifted == TemplateDate(epoch: epoch))
  }

  @Test("dates in words are read, and nothing else")
  func reading() {
    #expect(TemplateDate("2026-03-07T09:05:02") == TemplateDate(epoch: 1_772_874_302))
    #expect(TemplateDate("2026-03-07 09:05") != nil)
    for text in ["", "x", "2026", "2026-13-01", "2026-01-32", "2026-01-01T24:00", "99999999999999999999-01-01"] {
      #expect(TemplateDate(text) == nil, "\(text)")
    }
  }

  @Test("any seconds give a date", arguments: [Int.max, Int.min, Int.max - 86400, Int.min + 86400])
  func extremes(epoch: Int) throws {
    let template = try ChatTemplate(source: "{{ strftime_now('%G %V %c') | length > 5 }}")
    #expect(try template.render(context: [:], now: TemplateDate(epoch: epoch, offset: 3600)) == "True")
  }
}
