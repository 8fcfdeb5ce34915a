#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Ending the process from inside a command, where there is nothing to return to (a thread waits for input).
enum Process {
  static func end(_ code: ExitCode) -> Never { exit(code.rawValue) }
}
