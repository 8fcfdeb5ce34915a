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

// The first argument is the version it says it has.
let version = CommandLine.arguments.dropFirst().first ?? ""
if CommandLine.arguments.count == 4, CommandLine.arguments[2] == "listen" {
  let service = try DataWorkerService(
    Endpoint(host: "127.0.0.1", port: Int(CommandLine.arguments[3]) ?? 0), LinkProtection(), version: version,
    onNotice: { _ in }, onRefusal: { _ in })
  let line = Array("\(service.endpoint.port)\n".utf8)
  _ = write(1, line, line.count)
  service.run()
  exit(0)
}
exit(DataWorkerMain.runProcess(version: version))
