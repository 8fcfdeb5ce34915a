package import SwerveCore
package import SwerveText

/// Messages as a template expects them. Clients send content as a string or as a list of parts, and a tool call's
/// arguments as JSON text; templates were written for one form each.
package enum MessageAdaptation {
  /// - Parameter format: what the template takes; text parts become one string for a template that takes strings (joined
  ///   by line breaks), and a string becomes one text part for a template that walks over parts.
  package static func adapt(_ messages: [JSON], to format: ContentFormat) -> [JSON] {
    messages.map { message in
      guard var object = message.object else { return message }
      if let content = object["content"] { object["content"] = adapt(content: content, to: format) }
      if let calls = object["tool_calls"]?.array { object["tool_calls"] = .array(calls.map(adapt(call:))) }
      return .object(object)
    }
  }

  /// The messages with empty text where the content is null or absent, as it is beside tool calls.
  ///
  /// - Parameter keepsLast: the last message stays as it is: there is nothing in it to continue.
  package static func fillingNullContent(_ messages: [JSON], format: ContentFormat, keepsLast: Bool) -> [JSON] {
    messages.enumerated().map { place, message in
      guard var object = message.object, object["content"]?.isNull ?? true, !keepsLast || place < messages.count - 1
      else { return message }
      object["content"] = adapt(content: "", to: format)
      return .object(object)
    }
  }

  private static func adapt(content: JSON, to format: ContentFormat) -> JSON {
    switch (content, format) {
    case (.array(let parts), .string):
      .string(parts.compactMap { $0["text"]?.string ?? $0["refusal"]?.string ?? $0.string }.joined(separator: "\n"))
    case (.string(let text), .openai): [["type": "text", "text": .string(text)]]
    default: content
    }
  }

  /// Arguments that are JSON text become the value they spell, which is what templates print; other text stays.
  private static func adapt(call: JSON) -> JSON {
    guard var object = call.object, var function = object["function"]?.object,
      let text = function["arguments"]?.string
    else { return call }
    if text.isEmpty {
      function["arguments"] = .object(JSONObject())
    } else if let value = try? JSON(parsing: text), value.object != nil {
      // Text that is no object is passed on as it is: the template decides.
      function["arguments"] = value
    }
    object["function"] = .object(function)
    return .object(object)
  }
}
