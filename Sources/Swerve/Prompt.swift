public import SwerveCore

/// A prompt: text, or token ids as they are.
public enum Prompt: Sendable, ExpressibleByStringLiteral, ExpressibleByArrayLiteral {
  case text(String)
  case tokens([TokenID])

  public init(stringLiteral value: String) { self = .text(value) }
  public init(arrayLiteral elements: TokenID...) { self = .tokens(elements) }

  var engineForm: GenerationRequest.Prompt {
    switch self {
    case .text(let text): .text(text)
    case .tokens(let tokens): .tokens(tokens)
    }
  }
}

/// One message of a conversation.
public struct ChatMessage: Sendable {
  /// `system`, `user`, `assistant`, `tool`, or whatever the model's template knows.
  public var role: String
  public var content: String

  public init(role: String, content: String) {
    self.role = role
    self.content = content
  }

  public static func system(_ content: String) -> Self { Self(role: "system", content: content) }
  public static func user(_ content: String) -> Self { Self(role: "user", content: content) }
  public static func assistant(_ content: String) -> Self { Self(role: "assistant", content: content) }

  var json: JSON { ["role": .string(role), "content": .string(content)] }
}

/// How far loading has come.
public struct LoadProgress: Sendable {
  public enum Stage: Sendable { case download, weights }

  public var stage: Stage
  /// 0…1
  public var fraction: Double
}
