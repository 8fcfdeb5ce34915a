import ArgumentParser
import Foundation
import SwerveCore
import SwerveEngine
import SwerveHardware
import SwerveTransfer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A data worker's process: started by `swerve serve --placement separated` on its own host, or by people on another one
/// with `--listen`.
struct DataWorkerCommand: TableCommand {
  static let configuration = passing(
    "data-worker", "Hold keys and values for a server of another host: swerve data-worker --listen HOST:PORT.")
  static let table = FlagTable.dataWorker
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ context: CommandContext) async throws {
    if words.isEmpty {
      let code = DataWorkerMain.runProcess(version: Version.text)
      if code != DataWorkerMain.notStarted { endProcess(code) }
      throw CommandError(.usage, Self.needsAddress)
    }
    switch try SettingsParser(command: "data-worker", table: Self.table, environment: context.environment).parse(words)
    {
    case .print(let text): context.console.print(text)
    case .run(let settings, let positionals, let warnings):
      for warning in warnings { context.console.warn(warning) }
      try await run(settings, positionals, context)
    }
  }

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    guard let listen = settings.data.listen else { throw CommandError(.usage, Self.needsAddress) }
    guard let endpoint = Endpoint(listen) else {
      throw CommandError(.usage, "--listen must be host:port, not \(listen.debugDescription).")
    }
    let links = settings.engine.dataWorkers.links
    if let problem = links.problems().first { throw CommandError(.usage, problem) }
    let console = context.console
    let service: DataWorkerService
    do {
      service = try DataWorkerService(
        endpoint, try LinkSetup.protection(links, role: .data) { console.writeError("swerve data-worker: \($0)\n") },
        version: Version.text,
        limits: .init(
          threads: settings.engine.threads ?? KernelPool.allowedCPUs.count, kvBytes: settings.engine.kvCacheBytes),
        onNotice: { console.writeError("swerve data-worker: \($0)\n") },
        onRefusal: { console.writeError("swerve data-worker: \($0)\n") })
    } catch let error as TransferError {
      throw CommandError(.address, "\(error).")
    }
    console.writeError("swerve data-worker: waits at \(service.endpoint)\n")
    // A thread of its own: it waits, and tasks' threads are few.
    await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        service.run()
        continuation.resume()
      }
    }
  }

  private static let needsAddress =
    "swerve data-worker needs --listen HOST:PORT; without it, it is started by swerve serve --placement separated."
}

/// Commands have an `exit` of their own.
private func endProcess(_ code: Int32) -> Never { exit(code) }
