import SwerveEngine

// A data worker's process for tests: what the product's hidden command does.
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

// The arguments are the version it says it has, and what goes wrong in which step.
let arguments = Array(CommandLine.arguments.dropFirst())
var fault: DataWorker.Fault?
if arguments.count == 3, let step = Int(arguments[2]) {
  switch arguments[1] {
  case "reuses": fault = .reusesBlocks(step: step)
  case "flips": fault = .flipsBit(step: step)
  case "cuts": fault = .cutsMessage(step: step)
  default: fault = .ends(step: step)
  }
}
exit(DataWorkerMain.runProcess(version: arguments.first ?? "", fault: fault))
