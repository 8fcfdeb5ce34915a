// Conversations and completions on a terminal. This folder must not parse flags. Start with ChatSession.

package import SwerveCore

/// A piece of an answer.
package enum AnswerPiece: Sendable, Hashable {
  case text(String)
  /// Thought that came apart from the answer.
  case reasoning(String)
  case finished(AnswerUsage)
}

package struct AnswerUsage: Sendable, Hashable {
  package var promptTokens = 0
  package var outputTokens = 0
  package var finish: String?

  package init(promptTokens: Int = 0, outputTokens: Int = 0, finish: String? = nil) {
    self.promptTokens = promptTokens
    self.outputTokens = outputTokens
    self.finish = finish
  }
}

/// Who answers: an engine in this process, or a server. Cancelling the task that runs an answer stops it.
package protocol ChatBackend: Sendable {
  /// What the banner calls the model.
  var modelName: String { get }
  func chat(_ messages: [JSON], onPiece: (AnswerPiece) -> Void) async throws
  func complete(_ prompt: String, onPiece: (AnswerPiece) -> Void) async throws
}
