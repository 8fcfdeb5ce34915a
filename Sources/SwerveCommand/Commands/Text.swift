import ArgumentParser
import SwerveCore

struct TokenizeCommand: TableCommand {
  static let configuration = passing("tokenize", "Text to token ids.")
  static let table = FlagTable.text
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    let folder = try await ModelResolution.tokenizerFolder(
      settings, environment: context.environment, console: context.console)
    let answer = try context.wiring.lines.tokenizer(folder: folder)
    if settings.text.jsonLines {
      try expectNone(positionals)
      return LineLoop.run(answer, context.console)
    }
    if positionals.isEmpty { throw CommandError(.usage, "give a text, or --jsonl to read JSON lines.") }
    let line: JSON = ["text": .string(positionals.joined(separator: " ")), "add_special_tokens": true]
    try LineLoop.once(line, answer, show: "ids", context.console)
  }
}

struct DetokenizeCommand: TableCommand {
  static let configuration = passing("detokenize", "Token ids to text.")
  static let table = FlagTable.text
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    let folder = try await ModelResolution.tokenizerFolder(
      settings, environment: context.environment, console: context.console)
    let answer = try context.wiring.lines.detokenizer(folder: folder)
    if settings.text.jsonLines {
      try expectNone(positionals)
      return LineLoop.run(answer, context.console)
    }
    let ids = try positionals.flatMap { $0.split { ", []".contains($0) } }.map { word in
      guard let id = Int(word) else { throw CommandError(.usage, "\(String(word).debugDescription) is no token id.") }
      return JSON.int(id)
    }
    if ids.isEmpty { throw CommandError(.usage, "give token ids, or --jsonl to read JSON lines.") }
    try LineLoop.once(["ids": .array(ids)], answer, show: "text", context.console)
  }
}

struct RenderTemplateCommand: TableCommand {
  static let configuration = passing("render-template", "Chat templates over JSON lines.")
  static let table = FlagTable.renderTemplate
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    guard settings.text.jsonLines else {
      throw CommandError(.usage, "swerve render-template reads JSON lines: add --jsonl.")
    }
    LineLoop.run(try context.wiring.lines.renderer(), context.console)
  }
}

/// JSON lines from standard input, one answer each, to the end of input.
private enum LineLoop {
  static func run(_ answer: @Sendable ([UInt8]) -> [UInt8], _ console: Console) {
    while let line = readLine(strippingNewline: true) {
      if line.allSatisfy(\.isWhitespace) { continue }
      console.print(String(decoding: answer(Array(line.utf8)), as: UTF8.self))
    }
  }

  /// One line made from arguments; prints one member of the answer, or fails with its `error`.
  static func once(
    _ line: JSON, _ answer: @Sendable ([UInt8]) -> [UInt8], show member: String, _ console: Console
  ) throws {
    let reply = try JSON(parsing: answer(line.bytes))
    if let error = reply["error"]?.string { throw CommandError(.usage, error) }
    let value = reply[member] ?? .null
    console.print(value.string ?? value.text)
  }
}
