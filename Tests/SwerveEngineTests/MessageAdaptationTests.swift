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
}
