import NIOCore
import NIOPosix

/// Lines of standard input, read off the concurrency pool.
enum TerminalInput {
  /// Shows `prompt` and waits for a line; nil at the end of input or after an error.
  static func line(prompt: String, console: Console) async -> String? {
    if !prompt.isEmpty { console.write(prompt) }
    do {
      return try await NIOSingletons.posixBlockingThreadPool.runIfActive { readLine(strippingNewline: true) }
    } catch {
      return nil  // the pool is closed: the process is ending
    }
  }
}
