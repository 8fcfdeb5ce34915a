import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveTransfer

/// What a process does that `ProcessRanks` started.
package enum RankProcess {
  /// Runs on the calling thread until rank 0 ends or says so. Whatever fails is told to rank 0.
  ///
  /// - Returns: the exit code.
  package static func run() -> Int32 {
    do { try WorkerProcess.enter() } catch { return 2 }
    let control = ControlSocket(Descriptor(WorkerProcess.controlDescriptor))
    do {
      try serve(control)
      return 0
    } catch {
      let message: JSON = .object(["failed": .string("\(error)")])
      // Rank 0 may be gone; then nobody is to be told.
      do { try control.send(Array(message.text.utf8)) } catch { return 1 }
      return 1
    }
  }

  private static func serve(_ control: ControlSocket) throws {
    guard let bytes = try control.receive(within: 30, from: "rank 0") else {
      throw TransferError.timedOut("rank 0", seconds: 30)
    }
    let greeting = try RankGreeting(try JSON(parsing: bytes))
    let fingerprint = try RankGreeting.fingerprint(
      files: greeting.files, runner: greeting.runner, overrides: greeting.overrides, kernels: greeting.kernels)
    guard fingerprint == greeting.fingerprint else {
      throw RankRefusal(
        reason: "its weights, types or kernels are not those of rank 0; give all ranks the same model and program")
    }
    let shared = SharedRanks(greeting)
    let memory = try SharedMemory(
      mapping: Descriptor(WorkerProcess.memoryDescriptor), byteCount: shared.byteCount)
    let links = RankLinks(greeting.rank, of: greeting.layout) {
      shared.end($0, sends: $1, in: memory, watch: control)
    }
    guard let coordinator = links.coordinator else { throw RankRefusal(reason: "rank 0 is nobody's to start") }
    let device = try CPUDevice(
      configuration: greeting.device.share(greeting.rank, of: greeting.layout.rankCount))
    let shard = try ModelShard(
      greeting.own, files: greeting.files, device: device, blockCount: greeting.blockCount, links: links)
    let ready: JSON = .object(["ready": .string(fingerprint)])
    try control.send(Array(ready.text.utf8))
    try RankWorker(shard, coordinator: coordinator).run()
  }
}
