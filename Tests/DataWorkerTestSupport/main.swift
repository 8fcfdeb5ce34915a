import SwerveEngine

// A data worker's process for tests: what the product's hidden command does.
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

// The argument is the version it says it has.
exit(DataWorkerMain.runProcess(version: CommandLine.arguments.dropFirst().first ?? ""))
