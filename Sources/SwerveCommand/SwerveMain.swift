// The command: from the words of a command line to calls of the other rooms, and from what they throw to exit codes.
// The only room that reads the environment; it must not compute anything. Start here, then Commands/Subcommands.swift.

import ArgumentParser
import SwerveAccess
import SwerveCore
import SwerveHub

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The process.
package enum SwerveMain {
  /// Runs the command line of this process and ends it with the exit code.
  package static func run() async {
    let context = CommandContext(
      wiring: .standard, environment: Self.processEnvironment(), console: .standard())
    let code = await run(Array(CommandLine.arguments.dropFirst()), context: context)
    exit(code.rawValue)
  }

  /// The same for any words, without ending the process.
  package static func run(_ arguments: [String], context: CommandContext) async -> ExitCode {
    do {
      try await execute(arguments, context: context)
      return .success
    } catch let error as CommandError {
      for message in error.messages { context.console.fail(message) }
      return error.code
    } catch {
      let message = "\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
      context.console.fail(message)
      return exitCode(of: error, context: context)
    }
  }

  private static func exitCode(of error: any Error, context: CommandContext) -> ExitCode {
    if let code = context.wiring.engines.exitCode(of: error) { return code }
    switch error {
    case is HubError, is ModelFileError, is FileError: return .model
    case is FlagError: return .usage
    case is ServerError: return .address
    default: return .internalError
    }
  }

  private static func execute(_ arguments: [String], context: CommandContext) async throws {
    if arguments.first == "help", arguments.count > 1 {
      return try await execute(Array(arguments.dropFirst()) + ["--help"], context: context)
    }
    if let first = arguments.first, !first.hasPrefix("-"), !Subcommands.names.contains(first) {
      let nearest = NearestName.nearest(to: first, among: Subcommands.names)
      throw CommandError(
        .usage, "there is no command \(first)" + (nearest.map { "; did you mean \($0)?" } ?? "; see swerve --help."))
    }
    if ["-v", "--version"].contains(arguments.first) { return context.console.print("swerve \(Version.text)") }
    let command: any ParsableCommand
    do {
      command = try RootCommand.parseAsRoot(arguments)
    } catch {
      let text = RootCommand.message(for: error)
      guard RootCommand.exitCode(for: error) == .success else {
        throw CommandError(.usage, text.split(whereSeparator: \.isNewline).first.map(String.init) ?? text)
      }
      context.console.print(RootCommand.fullMessage(for: error))
      return
    }
    guard let subcommand = command as? any TableCommand else {
      // Help, and groups of commands: what they do when run is to ask for their own help.
      var other = command
      do { try other.run() } catch { context.console.print(RootCommand.fullMessage(for: error)) }
      return
    }
    try await subcommand.run(context)
  }

  private static func processEnvironment() -> [String: String] {
    var result: [String: String] = [:]
    var entry = environ
    while let text = entry.pointee {
      let pair = String(cString: text)
      if let equals = pair.firstIndex(of: "=") {
        result[String(pair[..<equals])] = String(pair[pair.index(after: equals)...])
      }
      entry += 1
    }
    return result
  }
}
