import SwerveCore
import Synchronization

/// A conversation (or a series of completions) over lines of input: prints answers as they come, knows the commands
/// `/clear`, `/stats`, `/exit`, and can be interrupted from outside.
package actor ChatSession {
  package enum Mode: Sendable { case chat, complete }

  private let backend: any ChatBackend
  private let mode: Mode
  private let settings: ChatSettings
  private let console: Console
  private var messages: [JSON] = []
  private var statistics = ChatStatistics()
  private let answer = Mutex<Task<AnswerOutcome, Never>?>(nil)

  package init(backend: any ChatBackend, mode: Mode, settings: ChatSettings, console: Console) {
    self.backend = backend
    self.mode = mode
    self.settings = settings
    self.console = console
    messages = Self.opening(settings)
  }

  private static func opening(_ settings: ChatSettings) -> [JSON] {
    settings.systemPrompt.map { [["role": "system", "content": .string($0)]] } ?? []
  }

  /// Stops the running answer. Answers false when there is none (the user waits at the prompt).
  nonisolated package func interrupt() -> Bool {
    answer.withLock { task in
      task?.cancel()
      return task != nil
    }
  }

  /// Reads until the end of input or `/exit`. `readLine` shows the prompt and answers nil at the end of input.
  package func run(readLine: @Sendable () async -> String?) async throws {
    while let line = await readLine() {
      let trimmed = String(line.drop(while: \.isWhitespace))
      switch trimmed.filter({ !$0.isNewline }) {
      case "": continue
      case "/exit", "/quit": return
      case "/clear":
        messages = Self.opening(settings)
        console.print("(cleared)")
      case "/stats": console.print(statistics.summary)
      case let command where command.hasPrefix("/") && !command.contains(" ") && mode == .chat:
        console.print("(no such command: \(command); there are /clear, /stats and /exit)")
      default:
        do { try await ask(line) } catch let error as RequestError {
          console.fail(error.description)
        } catch let error as RemoteError {
          console.fail(error.description)
        }
      }
    }
  }

  /// One question, its answer printed. A failed question leaves the conversation as it was; an interrupted one keeps
  /// what had arrived.
  package func ask(_ text: String) async throws {
    if mode == .chat { messages.append(["role": "user", "content": .string(text)]) }
    let task = Task { [backend, mode, messages, console] in
      await Self.stream(backend: backend, mode: mode, messages: messages, text: text, console: console)
    }
    answer.withLock { $0 = task }
    let outcome = await task.value
    answer.withLock { $0 = nil }
    if let error = outcome.error {
      if mode == .chat { messages.removeLast() }
      throw error
    }
    if mode == .chat { messages.append(["role": "assistant", "content": .string(outcome.text)]) }
    statistics.add(outcome)
    if outcome.wasInterrupted { console.print("(stopped)") }
    if settings.showsStatistics { console.writeError(statistics.last + "\n") }
  }

  private static func stream(
    backend: any ChatBackend, mode: Mode, messages: [JSON], text: String, console: Console
  ) async -> AnswerOutcome {
    var outcome = AnswerOutcome()
    let start = Clock.now()
    var isThinking = false
    func receive(_ piece: AnswerPiece) {
      if outcome.firstSeconds == nil { outcome.firstSeconds = Clock.now() - start }
      switch piece {
      case .reasoning(let text):
        if !isThinking { console.write("<think>\n") }
        isThinking = true
        console.write(text)
      case .text(let text):
        if isThinking { console.write("\n</think>\n") }
        isThinking = false
        outcome.pieces += 1
        outcome.text += text
        console.write(text)
      case .finished(let usage): outcome.usage = usage
      }
    }
    do {
      switch mode {
      case .chat: try await backend.chat(messages, onPiece: receive)
      case .complete: try await backend.complete(text, onPiece: receive)
      }
    } catch {
      if Task.isCancelled { outcome.wasInterrupted = true } else { outcome.error = error }
    }
    if isThinking { console.write("\n</think>") }
    console.write("\n")
    outcome.seconds = Clock.now() - start
    return outcome
  }
}

/// How one answer went.
struct AnswerOutcome: Sendable {
  var text = ""
  /// Pieces of text that arrived, which stands for tokens where no count came.
  var pieces = 0
  var usage: AnswerUsage?
  var firstSeconds: Double?
  var seconds = 0.0
  var wasInterrupted = false
  var error: (any Error)?
}

/// Sums over a conversation.
struct ChatStatistics: Sendable {
  private var answers = 0
  private var promptTokens = 0
  private var outputTokens = 0
  private var seconds = 0.0
  private(set) var last = "no answer yet"

  mutating func add(_ outcome: AnswerOutcome) {
    let output = outcome.usage?.outputTokens ?? outcome.pieces
    answers += 1
    promptTokens += outcome.usage?.promptTokens ?? 0
    outputTokens += output
    seconds += outcome.seconds
    let first = outcome.firstSeconds ?? outcome.seconds
    let rate = outcome.seconds > first ? Double(max(0, output - 1)) / (outcome.seconds - first) : 0
    let prompt = outcome.usage.map { "\($0.promptTokens) prompt tokens, " } ?? ""
    last =
      "(\(prompt)\(output) tokens, first after \(Format.fixed(first * 1000, 0)) ms, \(Format.fixed(rate, 1)) tokens/s)"
  }

  var summary: String {
    "answers: \(answers), prompt tokens: \(promptTokens), generated tokens: \(outputTokens), "
      + "time: \(Format.fixed(seconds, 1)) s\nlast: \(last)"
  }
}
