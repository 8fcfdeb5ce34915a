import SwerveCore

extension ChatFields {
  private static let roles = ["system", "developer", "user", "assistant", "tool", "function"]

  /// The messages as the client wrote them, after their shape was checked.
  func messages() throws(RequestError) -> [JSON] {
    guard let messages = try reader.array("messages") else {
      throw .badRequest("messages is required: a list with at least one message.", param: reader.path(of: "messages"))
    }
    if messages.isEmpty {
      throw .badRequest("messages must have at least one message.", param: reader.path(of: "messages"))
    }
    for (place, message) in messages.enumerated() {
      let path = reader.path(of: "messages.\(place)")
      guard let object = message.object else {
        throw .badRequest("\(path) must be an object, got \(message.kind).", param: path)
      }
      try check(FieldReader(object, path: path))
    }
    return messages
  }

  private func check(_ message: FieldReader) throws(RequestError) {
    guard let role = try message.string("role") else {
      throw .badRequest("\(message.path(of: "role")) is required.", param: message.path(of: "role"))
    }
    guard Self.roles.contains(role) else {
      throw .badRequest(
        "\(message.path(of: "role")) must be one of \(Self.roles.joined(separator: ", ")).",
        param: message.path(of: "role"))
    }
    for name in ["name", "tool_call_id", "reasoning", "reasoning_content", "refusal"] { _ = try message.string(name) }
    let calls = try message.array("tool_calls")
    for (place, call) in (calls ?? []).enumerated() where call.object == nil {
      throw message.mismatch("tool_calls.\(place)", expected: "an object", got: call)
    }
    switch message.value("content") {
    case .string?: return
    case .array(let parts)?: try check(parts: parts, message)
    case nil:
      // Only an assistant may say nothing: its turn may consist of calls, a refusal or reasoning.
      guard role == "assistant" else {
        throw .badRequest("\(message.path(of: "content")) is required.", param: message.path(of: "content"))
      }
    case let value?:
      throw message.mismatch("content", expected: "a string or a list of parts", got: value)
    }
  }

  private func check(parts: [JSON], _ message: FieldReader) throws(RequestError) {
    for (place, part) in parts.enumerated() {
      let path = message.path(of: "content.\(place)")
      guard let object = part.object else {
        throw .badRequest("\(path) must be an object with a type, got \(part.kind).", param: path)
      }
      let inner = FieldReader(object, path: path)
      switch try inner.string("type") {
      case "text":
        guard try inner.string("text") != nil else {
          throw .badRequest("\(path).text is required.", param: "\(path).text")
        }
      case "refusal": _ = try inner.string("refusal")
      case let type? where ["image_url", "input_audio", "audio_url", "video_url", "file", "image"].contains(type):
        throw .badRequest("\(path) has type \(type), but this model takes text only.", param: path)
      default:
        throw .badRequest("\(path).type must be text.", param: "\(path).type")
      }
    }
  }

  /// A message's text: its content, or its text parts joined by line breaks.
  static func text(of message: JSON) -> String {
    switch message["content"] {
    case .string(let text)?: text
    case .array(let parts)?: parts.compactMap { $0["text"]?.string }.joined(separator: "\n")
    default: ""
    }
  }
}

// MARK: Tools

extension ChatFields {
  /// The tools to show to the model. Under `auto` they are rendered and the model's words come back as they are; a
  /// choice that would force a call needs output constraints and is refused. Under `none` the model does not see them
  /// at all, which is the only way to be sure it calls none.
  func tools() throws(RequestError) -> [JSON]? {
    let (name, tools) = try declaredTools()
    for (place, tool) in (tools ?? []).enumerated() {
      try check(tool: tool, path: "\(name).\(place)")
    }
    return try chooses(among: tools) ? tools : nil
  }

  /// `tools`, or the older `functions` in the same shape.
  private func declaredTools() throws(RequestError) -> (name: String, tools: [JSON]?) {
    for name in ["tools", "functions"] {
      guard let list = try reader.array(name) else { continue }
      if list.isEmpty {
        throw .badRequest("\(name) must not be an empty list; leave it out instead.", param: name)
      }
      return (name, name == "tools" ? list : list.map { ["type": "function", "function": $0] })
    }
    return ("tools", nil)
  }

  private func check(tool: JSON, path: String) throws(RequestError) {
    guard let object = tool.object else {
      throw .badRequest("\(path) must be an object, got \(tool.kind).", param: path)
    }
    let outer = FieldReader(object, path: path)
    guard try outer.string("type") == "function", let function = try outer.object("function") else {
      throw .badRequest("\(path) must have the type function and a function member.", param: path)
    }
    let inner = FieldReader(function, path: "\(path).function")
    guard let name = try inner.string("name"), !name.isEmpty else {
      throw .badRequest("\(path).function.name is required.", param: "\(path).function.name")
    }
    _ = try inner.object("parameters")
  }

  /// Whether the model gets to see the tools.
  private func chooses(among tools: [JSON]?) throws(RequestError) -> Bool {
    _ = try reader.bool("parallel_tool_calls")
    let param = reader.has("tool_choice") ? "tool_choice" : "function_call"
    switch reader.value(param) {
    case nil: return tools != nil
    case .string("none")?: return false
    case .string("auto")?:
      if tools == nil { throw .badRequest("\(param) auto needs tools.", param: param) }
      return true
    case .string("required")?:
      if tools == nil { throw .badRequest("\(param) required needs tools.", param: param) }
      throw .badRequest(
        "\(param) required is not supported by this server: it cannot force a tool call yet; use auto.", param: param)
    case .object(let choice)?:
      let name = choice["function"]?["name"]?.string ?? choice["name"]?.string
      if let name, !(tools ?? []).contains(where: { $0["function"]?["name"]?.string == name }) {
        throw .badRequest("\(param) names a function that is not among the tools.", param: param)
      }
      throw .badRequest(
        "\(param) with a named or restricted choice is not supported by this server; use auto or none.", param: param)
    case .string?:
      throw .badRequest("\(param) must be none, auto, required or an object.", param: param)
    case let value?:
      throw reader.mismatch(param, expected: "a string or an object", got: value)
    }
  }
}
