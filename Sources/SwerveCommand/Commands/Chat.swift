import ArgumentParser
import SwerveCore
import Synchronization
import UnixSignals

struct ChatCommand: TableCommand {
  static let configuration = passing("chat", "Talk to a model, in this process or on a server.")
  static let table = FlagTable.chat
  static let takesModel = true
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    try await Conversation(mode: .chat).run(settings, context)
  }
}

struct CompleteCommand: TableCommand {
  static let configuration = passing("complete", "Continue texts, in this process or on a server.")
  static let table = FlagTable.complete
  static let takesModel = true
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    try await Conversation(mode: .complete).run(settings, context)
  }
}

/// What `chat` and `complete` share: find who answers, then read lines until the end.
private struct Conversation {
  let mode: ChatSession.Mode

  func run(_ settings: Settings, _ context: CommandContext) async throws {
    if let url = settings.chat.url {
      // As the OpenAI clients of other tools: a server without keys ignores what it gets.
      let client = try OpenAIClient(
        url: url, apiKey: settings.chat.apiKey ?? "EMPTY", insecure: settings.chat.insecure)
      let outcome: Result<Void, any Error>
      do {
        let listed = settings.chat.modelName == nil ? try await client.models().first : nil
        guard let model = settings.chat.modelName ?? listed else {
          throw CommandError(.usage, "the server lists no model; name one with --model-name.")
        }
        let backend = RemoteBackend(client: client, modelName: model, settings: settings.chat)
        outcome = .success(try await talk(backend, settings, context))
      } catch {
        outcome = .failure(error)
      }
      try await client.shutdown()
      return try outcome.get()
    }
    guard let (engine, _) = try await context.startOffline(settings) else { return }
    let backend = EngineBackend(
      client: engine.client, modelName: settings.engine.modelName, settings: settings.chat)
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await talk(backend, settings, context)) } catch { outcome = .failure(error) }
    await engine.stop()
    try outcome.get()
  }

  private func talk(_ backend: any ChatBackend, _ settings: Settings, _ context: CommandContext) async throws {
    let console = context.console
    let session = ChatSession(backend: backend, mode: mode, settings: settings.chat, console: console)
    // Ctrl-C stops an answer; at the prompt it ends the program.
    let interrupts = Task {
      for await _ in await UnixSignalsSequence(trapping: .sigint) where !session.interrupt() {
        console.write("\n")
        Process.end(.success)
      }
    }
    defer { interrupts.cancel() }
    if let question = settings.chat.quick { return try await session.ask(question) }
    let isInteractive = console.isInteractive
    if isInteractive {
      console.print(
        "\(backend.modelName): /clear forgets, /stats counts, /exit or Ctrl-D ends, Ctrl-C stops an answer.")
    }
    try await session.run { await TerminalInput.line(prompt: isInteractive ? "> " : "", console: console) }
  }
}
