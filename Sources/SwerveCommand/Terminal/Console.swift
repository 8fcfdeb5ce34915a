import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Where a command writes: results on standard output, everything else on standard error. Tests collect instead.
package struct Console: Sendable {
  private let output: @Sendable (String) -> Void
  private let errors: @Sendable (String) -> Void
  /// Width of the terminal on standard error; nil = none.
  package let columns: Int?
  /// Whether standard input and output are a terminal.
  package let isInteractive: Bool

  package init(
    columns: Int?, isInteractive: Bool, output: @escaping @Sendable (String) -> Void,
    errors: @escaping @Sendable (String) -> Void
  ) {
    self.columns = columns
    self.isInteractive = isInteractive
    self.output = output
    self.errors = errors
  }

  /// The process's own streams.
  package static func standard() -> Console {
    var size = winsize()
    let isTerminal = isatty(STDERR_FILENO) == 1
    let hasSize = isTerminal && ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
    return Console(
      columns: isTerminal ? (hasSize ? Int(size.ws_col) : 80) : nil,
      isInteractive: isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1,
      output: { Self.write($0, to: STDOUT_FILENO) }, errors: { Self.write($0, to: STDERR_FILENO) })
  }

  /// Text as it is, at once.
  package func write(_ text: String) { output(text) }
  package func print(_ line: String) { output(line + "\n") }
  package func writeError(_ text: String) { errors(text) }
  package func warn(_ sentence: String) { errors("swerve: warning: \(sentence)\n") }
  package func fail(_ sentence: String) { errors("swerve: error: \(sentence)\n") }

  /// Writes all of it; a reader that has gone is not our business, the next signal or write ends the process.
  private static func write(_ text: String, to descriptor: Int32) {
    var text = text
    text.withUTF8 { bytes in
      var rest = UnsafeRawBufferPointer(bytes)
      while !rest.isEmpty {
        #if canImport(Glibc)
          let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
        #elseif canImport(Musl)
          let count = Musl.write(descriptor, rest.baseAddress, rest.count)
        #else
          let count = Darwin.write(descriptor, rest.baseAddress, rest.count)
        #endif
        if count < 0 {
          if errno == EINTR { continue }
          return
        }
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      }
    }
  }
}

/// A console for tests that keeps what was written.
package final class ConsoleRecord: Sendable {
  private let texts = Mutex((output: "", errors: ""))

  package init() {}

  package var output: String { texts.withLock { $0.output } }
  package var errors: String { texts.withLock { $0.errors } }

  package func console(columns: Int? = nil) -> Console {
    Console(
      columns: columns, isInteractive: false, output: { text in self.texts.withLock { $0.output += text } },
      errors: { text in self.texts.withLock { $0.errors += text } })
  }
}
