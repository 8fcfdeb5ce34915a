import SwerveCore
package import SwerveInference
package import SwerveTransfer

/// Ranks as processes of this host, which this thread starts and which end with it at the latest; rank 0 is this thread.
package final class ProcessRanks: RankHandle {
  private let greeting: RankGreeting
  private let shared: SharedRanks
  private let memory: SharedMemory
  private let watch: GroupWatch
  /// [ranks − 1]
  private let processes: [WorkerProcess]

  /// Starts the processes, which begin to load. The caller then loads its own part and calls `wait`.
  ///
  /// - Parameters:
  ///   - greeting: of any rank: each gets its own number.
  ///   - program: path of a program that `arguments` make a rank of: `RankProcess.run`.
  package init(_ greeting: RankGreeting, program: String, arguments: [String]) throws(TransferError) {
    self.greeting = greeting
    shared = SharedRanks(greeting)
    memory = try SharedMemory(name: "swerve-ranks", byteCount: shared.byteCount)
    guard let file = memory.file else { throw .malformed("shared memory without a file") }
    var sockets: [ControlSocket] = []
    var processes: [WorkerProcess] = []
    for rank in 1..<greeting.layout.rankCount {
      let (ours, theirs) = try ControlSocket.pair()
      var own = greeting
      own.rank = rank
      try ours.send(Array(own.json.text.utf8))
      processes.append(try WorkerProcess(path: program, arguments: arguments, memory: file, control: theirs))
      sockets.append(ours)
    }
    self.processes = processes
    watch = GroupWatch(sockets)
  }

  package func links() -> RankLinks {
    RankLinks(0, of: greeting.layout) { shared.end($0, sends: $1, in: memory, watch: watch) }
  }

  package func coordinator() -> RankCoordinator {
    RankCoordinator(greeting.layout) { shared.end($0, sends: $1, in: memory, watch: watch) }
  }

  /// Returns when all ranks have loaded.
  ///
  /// - Throws: what the first one says that could not, or that it ended.
  package func wait() throws(EngineStartError) {
    for (index, socket) in watch.sockets.enumerated() {
      let name = greeting.layout.name(index + 1)
      let answer: JSON
      do {
        answer = try receive(socket, name)
      } catch {
        throw .device("\(error)")
      }
      if let failure = answer["failed"]?.string { throw .device("\(name): \(failure)") }
      guard answer["ready"]?.string == greeting.fingerprint else {
        throw .device("\(name) serves other weights or types than this process; start it for this model")
      }
    }
  }

  /// Loading takes as long as it takes, while the process lives.
  private func receive(_ socket: ControlSocket, _ name: String) throws -> JSON {
    while true {
      if let bytes = try socket.receive(within: 1, from: name) { return try JSON(parsing: bytes) }
    }
  }

  package var firstReport: String? {
    for (index, socket) in watch.sockets.enumerated() {
      let name = greeting.layout.name(index + 1)
      // What it said before it ended; nothing where it was killed.
      do {
        guard let bytes = try socket.receive(within: 0.2, from: name) else { continue }
        if let failure = try JSON(parsing: bytes)["failed"]?.string { return "\(name): \(failure)" }
      } catch { continue }
    }
    for (index, process) in processes.enumerated() where process.hasEnded {
      return "\(greeting.layout.name(index + 1)) has ended; look at the log for its reason"
    }
    return nil
  }

  package func stop(hasFailed: Bool) { for process in processes { process.kill() } }

  /// The system's numbers of ranks 1, 2, …: for tests that end one.
  package var processIDs: [Int32] { processes.map(\.id) }
}

/// Whether any process of a group has ended: then none of them has anything to wait for.
private final class GroupWatch: PeerWatch {
  let sockets: [ControlSocket]

  init(_ sockets: [ControlSocket]) { self.sockets = sockets }

  var hasEnded: Bool { sockets.contains { $0.hasEnded } }
}
