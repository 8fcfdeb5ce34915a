import SwerveCore
import SwerveHardware
package import SwerveTransfer

/// A data worker from its greeting to its end, in a process or a thread of its own.
package enum DataWorkerMain {
  package static let notStarted: Int32 = 2

  /// Where this program is.
  package static var ownPath: String { WorkerProcess.ownPath }

  /// The life of a worker's process, started with shared memory and a control socket as descriptors 3 and 4.
  ///
  /// - Parameters:
  ///   - version: of this program.
  ///   - fault: for tests: what goes wrong.
  /// - Returns: the process's exit code; `notStarted` where nobody started it as a worker.
  package static func runProcess(version: String, fault: DataWorker.Fault? = nil) -> Int32 {
    do {
      try WorkerProcess.enter()
    } catch {
      return notStarted
    }
    let control = ControlSocket(Descriptor(WorkerProcess.controlDescriptor))
    let isInOrder = run(control: control, version: version, fault: fault, shared: nil) { greeting throws in
      let memory = try SharedMemory(
        mapping: Descriptor(WorkerProcess.memoryDescriptor), byteCount: greeting.memoryBytes)
      return ends(of: memory, greeting, watch: control)
    }
    return isInOrder ? 0 : 1
  }

  /// The life of a worker's thread.
  package static func run(
    control: ControlSocket, memory: SharedMemory, version: String, shared: WorkerMemory = WorkerMemory()
  ) -> Bool {
    run(control: control, version: version, shared: shared) { ends(of: memory, $0, watch: control) }
  }

  /// A data worker's ends of channels in shared memory.
  static func ends(
    of memory: SharedMemory, _ greeting: WorkerGreeting, watch: any PeerWatch
  ) -> (incoming: any LinkChannel, outgoing: any LinkChannel) {
    let settings = greeting.channelSettings(peer: DataWorker.peer, watch: watch)
    let capacity = Int(greeting.capacity)
    return (
      SharedChannel(memory, at: 0, capacity: capacity, end: .receiver, settings),
      SharedChannel(memory, at: greeting.channelBytes, capacity: capacity, end: .sender, settings)
    )
  }

  /// Takes the greeting, answers it and works until the other side says stop, or is gone. Whether it ended in good order.
  ///
  /// - Parameters:
  ///   - shared: memory of this host that it works in; nil: what its process was started with.
  ///   - channels: makes its ends of the channels; asked when the greeting is known to be from the same program.
  package static func run(
    control: any ControlLink, version: String, limits: DataWorkerService.Limits = .init(),
    fault: DataWorker.Fault? = nil, shared: WorkerMemory? = WorkerMemory(),
    channels: (WorkerGreeting) throws -> (incoming: any LinkChannel, outgoing: any LinkChannel)
  ) -> Bool {
    do {
      guard let bytes = try control.receive(within: 60, from: DataWorker.peer) else { return false }
      guard case .greet(var greeting) = try ControlMessage(bytes, from: .parameter) else { return false }
      guard greeting.version == version else {
        throw TransferError.refused(
          "the parameter worker is version \(greeting.version) and this data worker \(version); start both from the same "
            + "program")
      }
      if let threads = limits.threads {
        greeting.threads = UInt32(threads)
        greeting.cpus = []
      }
      // A thread that a confined one started is not to be confined.
      CPUDevice.releaseCallingThread()
      let (incoming, outgoing) = try channels(greeting)
      let worker = try DataWorker(
        greeting, incoming: incoming, outgoing: outgoing, kvBytes: limits.kvBytes, shared: shared)
      worker.fault = fault
      let facts = worker.answer
      if shared == nil { worker.keepToSharedCore() }
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

  private static func work(_ worker: DataWorker, _ control: any ControlLink) throws -> Bool {
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
