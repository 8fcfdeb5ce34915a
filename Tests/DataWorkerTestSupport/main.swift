import SwerveEngine
import SwerveTransfer

// A data worker's process for tests: what the product's hidden command does; with `listen PORT`, what its public one does.
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

// The arguments are the version it says it has, and what goes wrong in which step.
let arguments = Array(CommandLine.arguments.dropFirst())
let version = arguments.first ?? ""
if CommandLine.arguments.count == 4, CommandLine.arguments[2] == "listen" {
  let service = try DataWorkerService(
    Endpoint(host: "127.0.0.1", port: Int(CommandLine.arguments[3]) ?? 0), LinkProtection(), version: version,
    onNotice: { _ in }, onRefusal: { _ in })
  let line = Array("\(service.endpoint.port)\n".utf8)
  _ = write(1, line, line.count)
  service.run()
  exit(0)
}
var fault: DataWorker.Fault?
if arguments.count == 3, let step = Int(arguments[2]) {
  switch arguments[1] {
  case "reuses": fault = .reusesBlocks(step: step)
  case "flips": fault = .flipsBit(step: step)
  case "flips-row": fault = .flipsRow(step: step)
  case "cuts": fault = .cutsMessage(step: step)
  case let slows where slows.hasPrefix("slows"):
    fault = .slows(step: step, milliseconds: UInt32(slows.dropFirst(5)) ?? 1)
  default: fault = .ends(step: step)
  }
}
exit(DataWorkerMain.runProcess(version: version, fault: fault))
