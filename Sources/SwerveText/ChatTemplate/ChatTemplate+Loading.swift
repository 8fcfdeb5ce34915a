package import SwerveCore

/// A model's own chat template with the special tokens it names.
package struct ModelChatTemplate: Sendable {
  /// The template for conversations without tools, and for all where there is no other.
  package var template: ChatTemplate
  /// A template of its own for conversations with tools, which a few models have.
  package var toolTemplate: ChatTemplate?
  /// `bos_token`, `eos_token` and their like, as the model's files spell them: variables for the template.
  package var specialTokens: JSONObject

  package init(template: ChatTemplate, toolTemplate: ChatTemplate? = nil, specialTokens: JSONObject = JSONObject()) {
    self.template = template
    self.toolTemplate = toolTemplate
    self.specialTokens = specialTokens
  }

  package func template(withTools hasTools: Bool) -> ChatTemplate { hasTools ? toolTemplate ?? template : template }
}

extension ChatTemplate {
  private static let configuration = "tokenizer_config.json"
  private static let tokenMap = "special_tokens_map.json"

  /// The template a model brings: `chat_template.jinja`, else `chat_template.json`, else the entry in
  /// `tokenizer_config.json` (one string, or named templates of which `default` and `tool_use` count). Nil where the
  /// model has none. Throws where a file cannot be read or the template does not compile.
  package static func load(files: ModelFiles) throws(ModelFileError) -> ModelChatTemplate? {
    let configuration = try files.json(configuration)
    let tokens = try specialTokens(files, configuration)
    if let source = try text(files, "chat_template.jinja") {
      let tools = try text(files, "additional_chat_templates/tool_use.jinja")
      return ModelChatTemplate(
        template: try compile(source, in: files.path("chat_template.jinja")),
        toolTemplate: try tools.map { (source) throws(ModelFileError) in
          try compile(source, in: files.path("additional_chat_templates/tool_use.jinja"))
        },
        specialTokens: tokens)
    }
    for file in ["chat_template.json", Self.configuration] {
      let json = file == Self.configuration ? configuration : try files.json(file)
      guard let entry = json?["chat_template"], !entry.isNull else { continue }
      return try model(entry, in: files.path(file), tokens)
    }
    return nil
  }

  private static func model(
    _ entry: JSON, in file: String, _ tokens: JSONObject
  ) throws(ModelFileError) -> ModelChatTemplate {
    if let source = entry.string {
      return ModelChatTemplate(template: try compile(source, in: file), specialTokens: tokens)
    }
    var named: [String: String] = [:]
    if let list = entry.array {
      for item in list {
        guard let name = item["name"]?.string, let source = item["template"]?.string else {
          throw ModelFileError(file: file, reason: "each chat_template must have a \"name\" and a \"template\"")
        }
        named[name] = source
      }
    } else if let object = entry.object {
      for (name, source) in object { named[name] = source.string }
    } else {
      throw ModelFileError(
        file: file, reason: "chat_template is \(entry.kind); it must be a string or a list of named templates")
    }
    guard let source = named["default"] ?? (named.count == 1 ? named.values.first : nil) else {
      let names = named.keys.sorted().joined(separator: ", ")
      throw ModelFileError(
        file: file,
        reason: "none of its chat templates (\(names)) is called \"default\"; choose one with --chat-template")
    }
    return ModelChatTemplate(
      template: try compile(source, in: file),
      toolTemplate: try named["tool_use"].map { (source) throws(ModelFileError) in try compile(source, in: file) },
      specialTokens: tokens)
  }

  private static func compile(_ source: String, in file: String) throws(ModelFileError) -> ChatTemplate {
    do throws(TemplateError) {
      return try ChatTemplate(source: source)
    } catch {
      let place = error.line.map { " in line \($0)" } ?? ""
      throw ModelFileError(file: file, reason: "the chat template is wrong\(place): \(error.message)")
    }
  }

  private static func text(_ files: ModelFiles, _ name: String) throws(ModelFileError) -> String? {
    do throws(FileError) {
      return try files.file(name).map { $0.withBytes { String(decoding: $0, as: UTF8.self) } }
    } catch {
      throw ModelFileError(file: files.path(name), reason: error.reason)
    }
  }

  /// Each `…_token` that is written as a string or as an object with `content`; the configuration's word counts before
  /// the older file's.
  private static func specialTokens(_ files: ModelFiles, _ configuration: JSON?) throws(ModelFileError) -> JSONObject {
    var tokens = JSONObject()
    for source in [configuration, try files.json(tokenMap)] {
      for (key, value) in source?.object ?? JSONObject() where key.utf8.count > 6 && key.hasSuffix("_token") {
        if tokens[key] == nil, let text = value.string ?? value["content"]?.string { tokens[key] = .string(text) }
      }
    }
    return tokens
  }
}
