import SwerveCore

/// One line in, one line out: the protocol of `swerve render-template --jsonl`.
package enum RenderTemplateLines {
  /// Renders what one line asks for.
  ///
  /// A request is `{"template": "…", "messages": […], "tools": […]|null, "kwargs": {…}, "now":
  /// "2026-03-07T09:05:02"}` or `{"template": "…", "context": {…}}`; the answer is `{"text": "…"}` or
  /// `{"error": "…"}`, without a line break. `now` is used where the request has none. `kwargs` are the keyword
  /// arguments of the reference's `render_jinja_template`: `add_generation_prompt`, `continue_final_message`,
  /// `documents`; any other is a variable of the template.
  package static func answer(
    _ line: [UInt8], now: TemplateDate, limits: TemplateLimits = TemplateLimits()
  ) -> [UInt8] {
    do {
      let text = try render(JSON(parsing: line), now: now, limits: limits)
      return Array("{\"text\": ".utf8) + JSONDumper.asciiLiteral(text) + Array("}".utf8)
    } catch {
      return Array("{\"error\": ".utf8) + JSONDumper.asciiLiteral("\(error)") + Array("}".utf8)
    }
  }

  private static func render(_ request: JSON, now: TemplateDate, limits: TemplateLimits) throws -> String {
    guard let source = request["template"]?.string else {
      throw TemplateError.valueError("a line must be an object with a \"template\" that is a string")
    }
    var date = now
    if let given = request["now"], !given.isNull {
      guard let parsed = given.string.flatMap({ TemplateDate($0) }) else {
        throw TemplateError.valueError("\"now\" must be a date and time such as \"2026-03-07T09:05:02\"")
      }
      date = parsed
    }
    let template = try ChatTemplate(source: source)
    if let context = request["context"]?.object {
      return try template.render(context: context, now: date, limits: limits)
    }
    guard let messages = request["messages"]?.array else {
      throw TemplateError.valueError("a line must have \"messages\" (a list) or \"context\" (an object)")
    }
    var prompt = Conversation(messages: messages, tools: request["tools"]?.array)
    for (key, value) in request["kwargs"]?.object ?? JSONObject() {
      switch key {
      case "add_generation_prompt": prompt.addGenerationPrompt = value.bool ?? !value.isNull
      case "documents": prompt.documents = value.array
      case "continue_final_message":
        prompt.continueFinalMessage = value.string.map { .named($0) } ?? (value.bool == true ? .content : nil)
      default: prompt.variables[key] = value
      }
    }
    return try prompt.render(template, now: date, limits: limits)
  }
}
