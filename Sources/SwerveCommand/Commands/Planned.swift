import ArgumentParser

/// A command of the specification that does not exist yet: says so and ends with code 2.
protocol PlannedCommand: TableCommand {
  static var sentence: String { get }
}

extension PlannedCommand {
  static var table: FlagTable { FlagTable() }

  func run(_ context: CommandContext) async throws {
    throw CommandError(.usage, "swerve \(Self.fullName) is not supported yet: \(Self.sentence).")
  }

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {}
}

struct RunBatchCommand: PlannedCommand {
  static let configuration = passing("run-batch", "A file of requests (not supported yet).")
  static let sentence = "start swerve serve and send the requests to it"
  @Argument(parsing: .captureForPassthrough) var words: [String] = []
}

struct LaunchCommand: PlannedCommand {
  static let configuration = passing("launch", "Router and render server (not supported yet).")
  static let sentence = "start swerve serve behind a balancer of your choice"
  @Argument(parsing: .captureForPassthrough) var words: [String] = []
}

struct DoctorCommand: PlannedCommand {
  static let configuration = passing("doctor", "Check this machine (not supported yet).")
  static let sentence = "swerve collect-env prints what it would look at"
  @Argument(parsing: .captureForPassthrough) var words: [String] = []
}

struct TuneCommand: PlannedCommand {
  static let configuration = passing("tune", "Propose flags (not supported yet).")
  static let sentence = "swerve bench shows the effect of flags"
  @Argument(parsing: .captureForPassthrough) var words: [String] = []
}

struct SweepCommand: PlannedCommand {
  static let configuration = passing("sweep", "Benchmarks over many settings (not supported yet).")
  static let sentence = "run swerve bench serve once for each setting"
  @Argument(parsing: .captureForPassthrough) var words: [String] = []
}
