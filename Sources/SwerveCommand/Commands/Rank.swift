import ArgumentParser
import SwerveCore
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

  mutating func run() throws { Ranks.end(RankProcess.run()) }
}

/// Processes that a launcher started side by side: the first one is the command, the others are its ranks.
enum Ranks {
  /// This program is also what a rank runs.
  static let program = EngineConfiguration.RankProgram(path: "/proc/self/exe", arguments: ["rank"])

  /// A process that is not the first becomes a rank here and does not return.
  static func join(_ settings: Settings, _ context: CommandContext) {
    guard let launcher = settings.engine.launcher, launcher.rank > 0 else { return }
    end(
      RankProcess.runInJob(localRank: launcher.localRank, localSize: launcher.localSize) {
        context.console.fail("rank \(launcher.rank): \($0)")
      })
  }

  /// What mpirun or srun say of this process; nil without one of them.
  static func launcher(_ environment: [String: String]) -> EngineConfiguration.RankLauncher? {
    func number(_ names: String...) -> Int? {
      names.compactMap { environment[$0].flatMap { Int($0) } }.first
    }
    guard let rank = number("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"), rank >= 0 else { return nil }
    let local = max(0, number("OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID") ?? 0)
    let size = number("OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE") ?? 1
    return .init(rank: rank, localRank: local, localSize: max(local + 1, size))
  }

  /// Whether mpirun or srun started several processes side by side.
  static func isJob(_ environment: [String: String]) -> Bool {
    if let size = environment["OMPI_COMM_WORLD_SIZE"].flatMap({ Int($0) }) { return size > 1 }
    // A step of Slurm with PMIx; an allocation alone sets neither.
    return environment["PMIX_RANK"] != nil && (environment["SLURM_STEP_NUM_TASKS"].flatMap { Int($0) } ?? 1) > 1
  }

  static func end(_ code: Int32) -> Never { exit(code) }
}
