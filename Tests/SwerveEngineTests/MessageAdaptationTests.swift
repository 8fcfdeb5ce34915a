import SwerveCore
import SwerveEngine
import SwerveText
import Testing

@Suite struct MessageAdaptationTests {
  private let parts: JSON = [
    "role": "user", "content": [["type": "text", "text": "one"], ["type": "text", "text": "two"]],
  ]

  @Test func partsBecomeOneStringForATemplateThatTakesStrings() {
    #expect(MessageAdaptation.adapt([parts], to: .string)[0]["content"] == "one\ntwo")
    #expect(MessageAdaptation.adapt([parts], to: .openai)[0] == parts)
  }

  @Test func aStringBecomesOnePartForATemplateThatWalksOverParts() {
    let message: JSON = ["role": "user", "content": "one"]
    #expect(MessageAdaptation.adapt([message], to: .openai)[0]["content"] == [["type": "text", "text": "one"]])
    #expect(MessageAdaptation.adapt([message], to: .string)[0] == message)
    let silent: JSON = ["role": "assistant", "content": nil]
    #expect(MessageAdaptation.adapt([silent], to: .openai)[0] == silent)
  }

  @Test(arguments: [
    (#"{"a": 1}"#, JSON.object(["a": 1])), ("", JSON.object([:])), ("not json", "not json"), ("[1]", "[1]"),
  ])
  func argumentsThatAreJSONTextBecomeTheirValue(text: String, expected: JSON) {
    let message: JSON = [
      "role": "assistant",
      "tool_calls": [["id": "c", "type": "function", "function": ["name": "f", "arguments": .string(text)]]],
    ]
    let adapted = MessageAdaptation.adapt([message], to: .string)[0]
    #expect(adapted["tool_calls"]?[0]?["function"]?["arguments"] == expected)
  }

  @Test func aNullContentBecomesEmptyTextExceptWhereItWouldBeContinued() {
    let messages: [JSON] = [
      ["role": "assistant", "content": nil], ["role": "user", "content": "one"], ["role": "assistant"],
    ]
    let all = MessageAdaptation.fillingNullContent(messages, format: .string, keepsLast: false)
    #expect(all.map { $0["content"] } == ["", "one", ""])
    let kept = MessageAdaptation.fillingNullContent(messages, format: .string, keepsLast: true)
    #expect(kept[0]["content"] == "" && kept[2] == messages[2])
  }

  @Test func aTurnOfToolCallsOnlyIsRenderedByATemplateThatJoinsContent() async throws {
    let engine = try await Engine.start(storyConfiguration())
    func tokens(_ content: JSON) async throws -> [TokenID] {
      let chat = ChatPrompt(messages: [
        ["role": "user", "content": "Hi"],
        [
          "role": "assistant", "content": content,
          "tool_calls": [["id": "c", "type": "function", "function": ["name": "f", "arguments": "{}"]]],
        ],
        ["role": "tool", "tool_call_id": "c", "content": "x"],
      ])
      return try await engine.tokenize(.chat(chat), addSpecialTokens: false).tokens
    }
    #expect(try await tokens(nil) == tokens(""))
    await engine.stop()
  }
}
