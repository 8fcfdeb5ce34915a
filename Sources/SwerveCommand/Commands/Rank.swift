import ArgumentParser
import SwerveEngine

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A rank of another process's model: what `--distributed-executor-backend shm` starts. Not for people.
struct RankCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rank", abstract: "A rank that swerve serve starts for itself.", shouldDisplay: false)

  mutating func run() throws { Self.end(RankProcess.run()) }

  private static func end(_ code: Int32) -> Never { exit(code) }
}
