package import SwerveCore

/// What a conversation gives to a template: the arguments of the reference's `render_jinja_template`.
package struct Conversation: Sendable {
  /// Objects with `role` and mostly `content`, in order. Members keep their order.
  package var messages: [JSON]
  package var tools: [JSON]?
  package var documents: [JSON]?
  package var addGenerationPrompt: Bool
  package var continueFinalMessage: ContinuedField?
  /// Further variables: special tokens, `enable_thinking`, and whatever a client sends along.
  package var variables: JSONObject

  /// The field of the last message that the model is to go on writing.
  package enum ContinuedField: Sendable, Equatable {
    case content
    case named(String)

    var name: String {
      switch self {
      case .content: "content"
      case .named(let name): name
      }
    }
  }

  package init(
    messages: [JSON], tools: [JSON]? = nil, documents: [JSON]? = nil, addGenerationPrompt: Bool = false,
    continueFinalMessage: ContinuedField? = nil, variables: JSONObject = JSONObject()
  ) {
    self.messages = messages
    self.tools = tools
    self.documents = documents
    self.addGenerationPrompt = addGenerationPrompt
    self.continueFinalMessage = continueFinalMessage
    self.variables = variables
  }

  /// The prompt's text.
  ///
  /// Reasoning that a message carries under one of its names is given to the template under all of them. A continued
  /// message is marked with a tag, and the rendered text is cut at the tag: what the template puts after a message (its
  /// end token, say) is not part of the prompt then.
  package func render(
    _ template: ChatTemplate, now: TemplateDate, limits: TemplateLimits = TemplateLimits()
  ) throws(TemplateError) -> String {
    for document in documents ?? [] where document.object == nil {
      throw .typeError("Documents should be a list of dicts with 'title' and 'text' keys!")
    }
    for tool in tools ?? [] where tool.object == nil {
      throw .valueError(
        "Tools should either be a JSON schema, or a callable function with type hints and a docstring suitable for "
          + "auto-conversion to a schema.")
    }
    var chat: [JSONObject] = []
    for message in messages {
      guard let object = message.object else {
        throw .typeError(
          "Chat messages should be dicts, dataclasses or pydantic models, but got "
            + "\(try JinjaPrinter.representation(try JinjaValue(message)).string).")
      }
      chat.append(Self.withReasoning(object))
    }
    let continued = try continueFinalMessage.map { (field) throws(TemplateError) in
      try Self.tag(&chat, field.name, source: template.source)
    }

    var context = variables
    context["messages"] = .array(chat.map { .object($0) })
    context["tools"] = tools.map { .array($0) } ?? .null
    context["documents"] = documents.map { .array($0) } ?? .null
    context["add_generation_prompt"] = .bool(addGenerationPrompt)
    let text = try template.render(context: context, now: now, limits: limits)
    guard let continued else { return text }
    return try Self.cut(JinjaText(text), continued)
  }

  private static let reasoningFields = ["reasoning_content", "thinking", "reasoning"]

  /// `thinking` comes first and `reasoning_content` last (or where it was), as templates that print messages whole show.
  private static func withReasoning(_ message: JSONObject) -> JSONObject {
    guard let reasoning = reasoningFields.lazy.compactMap({ message[$0] }).first(where: { !$0.isNull }) else {
      return message
    }
    var result = JSONObject()
    result["thinking"] = reasoning
    for (key, value) in message { result[key] = value }
    result["reasoning_content"] = reasoning
    return result
  }

  // MARK: Continuing the last message

  private static let tag = "CONTINUE_FINAL_MESSAGE_TAG "

  /// Appends the tag to the field of the last message, and answers the text before it.
  private static func tag(
    _ chat: inout [JSONObject], _ field: String, source: String
  ) throws(TemplateError) -> JinjaText {
    guard var last = chat.last else {
      throw .valueError("continue_final_message is set but the conversation is empty!")
    }
    guard let final = last[field], !final.isNull else {
      throw .valueError(
        "continue_final_message is set but the final message has no \"\(field)\" to continue!")
    }
    var fields = [field]
    if reasoningFields.contains(field) { fields = reasoningFields.filter { last[$0] == final } }
    let text = JinjaText(source)
    guard fields.contains(where: { text.contains(JinjaText($0)) }) else {
      throw .valueError(
        "continue_final_message is set to \"\(field)\" but this is not an accepted field in the chat_template")
    }
    defer { chat[chat.count - 1] = last }
    switch final {
    case .string(let string):
      for name in fields { last[name] = .string(string + tag) }
      return JinjaText(string)
    case .array(var parts):
      for place in parts.indices.reversed() {
        guard var part = parts[place].object, let value = part["text"] else { continue }
        guard let string = value.string else {
          throw .typeError("unsupported operand type(s) for +: '\(try JinjaValue(value).typeName)' and 'str'")
        }
        part["text"] = .string(string + tag)
        parts[place] = .object(part)
        last[field] = .array(parts)
        return JinjaText(string)
      }
      throw .valueError(
        "continue_final_message is set but we could not find any text to continue in the final message!")
    default:
      throw .typeError("unsupported operand type(s) for +: '\(try JinjaValue(final).typeName)' and 'str'")
    }
  }

  private static func cut(_ text: JinjaText, _ continued: JinjaText) throws(TemplateError) -> String {
    let wanted = continued.trimmed()
    let bare = JinjaText(tag).trimmed()
    let whole = 0..<text.bytes.count
    guard text.contains(wanted), let place = text.findLast(bare, in: whole) else {
      throw .valueError(
        "continue_final_message is set but the final message does not appear in the chat after applying the chat "
          + "template! This can happen if the chat template deletes portions of the final message. Please verify the "
          + "chat template and final message in your chat to ensure they are compatible."
          + "Final message to continue: \(wanted.string)\nRendered chat:\n\(text.string)")
    }
    let head = JinjaText(text.bytes[..<place])
    // With the space after it the tag came through untouched; without, the template trims what it prints.
    let isUntouched = place + tag.utf8.count <= text.bytes.count && text.bytes[place + tag.utf8.count - 1] == 0x20
    return isUntouched ? head.string : head.trimmed(left: false).string
  }
}
