import SwerveCore
package import SwerveTransfer

/// A data worker from its greeting to its end, in a process or a thread of its own.
package enum DataWorkerMain {
  package static let notStarted: Int32 = 2

  /// The life of a worker's process, started with shared memory and a control socket as descriptors 3 and 4.
  ///
  /// - Parameter version: of this program.
  /// - Returns: the process's exit code; `notStarted` where nobody started it as a worker.
  package static func runProcess(version: String) -> Int32 {
    do {
      try WorkerProcess.enter()
    } catch {
      return notStarted
    }
    let control = ControlSocket(Descriptor(WorkerProcess.controlDescriptor))
    return run(control: control, memory: nil, version: version) ? 0 : 1
  }

  /// Takes the greeting, answers it and works until the other side says stop, or is gone. Whether it ended in good order.
  ///
  /// - Parameter memory: what both sides share; nil: descriptor 3.
  package static func run(control: ControlSocket, memory: SharedMemory?, version: String) -> Bool {
    do {
      guard let bytes = try control.receive(within: 60, from: DataWorker.peer) else { return false }
      guard case .greet(let greeting) = try ControlMessage(bytes, from: .parameter) else { return false }
      guard greeting.version == version else {
        throw TransferError.refused(
          "the parameter worker is version \(greeting.version) and this data worker \(version); start both from the same "
            + "program")
      }
      let shared =
        try memory
        ?? SharedMemory(mapping: Descriptor(WorkerProcess.memoryDescriptor), byteCount: greeting.memoryBytes)
      let worker = try DataWorker(greeting, memory: shared, watch: control)
      let facts = worker.answer
      try control.send(
        ControlMessage.ready(
          WorkerAnswer(
            greeting, version: version, kvBytes: facts.kvBytes, scratchBytes: facts.scratchBytes, device: facts.device)
        ).bytes)
      return try work(worker, control)
    } catch {
      // Whoever started it shows why; where nobody listens any more, nothing is to be said.
      do { try control.send(ControlMessage.refused("\(error)").bytes) } catch { return false }
      return false
    }
  }

  private static func work(_ worker: DataWorker, _ control: ControlSocket) throws -> Bool {
    while true {
      do {
        while try worker.waits(for: 0.5) { try worker.takeMessage() }
      } catch ChannelError.closed {
        return true
      }
      // Nothing to do for a while: is anybody there?
      if control.hasEnded { return true }
      if let bytes = try control.receive(within: 0, from: DataWorker.peer),
        try ControlMessage(bytes, from: .parameter) == .stop
      {
        return true
      }
    }
  }
}
