// One file a subcommand. A command turns settings into calls of other rooms and prints; it computes nothing itself.
// This folder must not parse flags (Flags/) or draw (Terminal/). Start with SwerveMain, then Subcommands.

/// What the process ends with.
package enum ExitCode: Int32, Sendable {
  case success = 0
  case internalError = 1
  case usage = 2
  /// Model or tokenizer cannot be loaded.
  case model = 3
  case memory = 4
  case batchFailures = 5
  case device = 6
  case distributed = 7
  /// Address in use, TLS files unreadable.
  case address = 8
  case watchdog = 9
  /// Ended by a second SIGINT.
  case interrupted = 130
  case terminated = 143
}

/// Why a command ends early: its exit code and one sentence a problem.
package struct CommandError: Error, Sendable, Hashable, CustomStringConvertible {
  package var code: ExitCode
  package var messages: [String]

  package init(_ code: ExitCode, _ messages: [String]) {
    self.code = code
    self.messages = messages
  }

  package init(_ code: ExitCode, _ message: String) { self.init(code, [message]) }

  package var description: String { messages.joined(separator: "\n") }
}

extension ExitCode: CustomStringConvertible {
  package var description: String { String(rawValue) }
}
