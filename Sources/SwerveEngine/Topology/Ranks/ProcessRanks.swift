import SwerveCore
package import SwerveInference
import SwerveTransfer

/// Ranks as processes of this host, which this thread starts and which end with it at the latest; rank 0 is this thread.
///
/// Each has its keys and values, and those of its data workers, in regions that are kept here. When one of them is lost all
/// are ended and started again, with channels of their own, so that nothing of the lost ones can be heard; they map the
/// regions and find what was there. Shares of weights are read again.
package final class ProcessRanks: RankHandle {
  private let greeting: RankGreeting
  private let program: String
  private let arguments: [String]
  private let shared: SharedRanks
  /// [ranks − 1] of the rank's own pool, then of each of its data workers.
  private let regions: [[RegionFile]]
  /// What one life of the group has.
  private struct Life {
    let memory: SharedMemory
    let watch: GroupWatch
    /// [ranks − 1]
    let processes: [WorkerProcess]
    /// [ranks − 1]
    var isReady: [Bool]
  }
  private var life: Life
  /// Incarnations so far.
  package private(set) var epoch = 1

  /// Starts the processes, which begin to load. The caller then loads its own part and calls `wait`.
  ///
  /// - Parameters:
  ///   - greeting: of any rank: each gets its own number.
  ///   - program: path of a program that `arguments` make a rank of: `RankProcess.run`.
  package init(_ greeting: RankGreeting, program: String, arguments: [String]) throws {
    self.greeting = greeting
    self.program = program
    self.arguments = arguments
    shared = SharedRanks(greeting)
    regions = try (1..<greeting.layout.rankCount).map { rank in
      let own = greeting.of(rank)
      let bytes = max(1, try own.bankBytes())
      return try (0...own.workerCount).map {
        let isUsed = $0 > 0 || own.ownBlocks > 0
        return try RegionFile(
          name: "swerve-kv-rank\(rank)" + ($0 == 0 ? "" : "-d\($0 - 1)"), byteCount: isUsed ? bytes : 1)
      }
    }
    life = try Self.start(greeting, shared, regions, program: program, arguments: arguments)
  }

  private static func start(
    _ greeting: RankGreeting, _ shared: SharedRanks, _ regions: [[RegionFile]], program: String, arguments: [String]
  ) throws -> Life {
    let memory = try SharedMemory(name: "swerve-ranks", byteCount: shared.byteCount)
    guard let file = memory.file else { throw TransferError.malformed("shared memory without a file") }
    var sockets: [ControlSocket] = []
    var processes: [WorkerProcess] = []
    for rank in 1..<greeting.layout.rankCount {
      let (ours, theirs) = try ControlSocket.pair()
      var own = greeting.of(rank)
      own.regionBytes = try own.bankBytes()
      try ours.send(Array(own.json.text.utf8))
      processes.append(
        try WorkerProcess(
          name: "swerve-rank", path: program, arguments: arguments, memory: file, control: theirs,
          region: regions[rank - 1][0], further: Array(regions[rank - 1].dropFirst())))
      sockets.append(ours)
    }
    return Life(
      memory: memory, watch: GroupWatch(sockets), processes: processes,
      isReady: [Bool](repeating: false, count: sockets.count))
  }

  package func links() -> RankLinks {
    RankLinks(0, of: greeting.layout) { shared.end($0, sends: $1, in: life.memory, watch: life.watch) }
  }

  package func coordinator() -> RankCoordinator {
    RankCoordinator(greeting.layout) { shared.end($0, sends: $1, in: life.memory, watch: life.watch) }
  }

  package func wait() throws(EngineStartError) { while try !poll(within: 1) {} }

  /// Loading takes as long as it takes, while the process lives.
  package func poll(within seconds: Double) throws(EngineStartError) -> Bool {
    for (index, socket) in life.watch.sockets.enumerated() where !life.isReady[index] {
      let name = greeting.layout.name(index + 1)
      let answer: JSON
      do {
        guard let bytes = try socket.receive(within: seconds, from: name) else { return false }
        answer = try JSON(parsing: bytes)
      } catch {
        throw .device("\(error)")
      }
      if let failure = answer["failed"]?.string { throw .device("\(name): \(failure)") }
      guard answer["ready"]?.string == greeting.fingerprint else {
        throw .device("\(name) serves other weights or types than this process; start it for this model")
      }
      life.isReady[index] = true
    }
    return true
  }

  package var firstReport: String? {
    if let lost { return lost }
    for (index, socket) in life.watch.sockets.enumerated() {
      if let said = said(socket, index, within: 0.2) { return said }
    }
    return nil
  }

  package var lost: String? {
    for (index, socket) in life.watch.sockets.enumerated() where socket.hasEnded {
      return said(socket, index, within: 0)
        ?? "\(greeting.layout.name(index + 1)) has ended; look at the log for its reason"
    }
    return nil
  }

  /// What a rank said before it ended; nil where it was killed, or lives.
  private func said(_ socket: ControlSocket, _ index: Int, within seconds: Double) -> String? {
    let name = greeting.layout.name(index + 1)
    do {
      guard let bytes = try socket.receive(within: seconds, from: name),
        let failure = try JSON(parsing: bytes)["failed"]?.string
      else { return nil }
      return "\(name): \(failure)"
    } catch {
      return nil
    }
  }

  package func stop(hasFailed: Bool) { for process in life.processes { process.kill() } }

  package var canRestart: Bool { true }

  package func restart() throws {
    // Whatever still runs would write into the regions.
    stop(hasFailed: true)
    epoch += 1
    life = try Self.start(greeting, shared, regions, program: program, arguments: arguments)
  }

  /// The system's numbers of ranks 1, 2, …: for tests that end one.
  package var processIDs: [Int32] { life.processes.map(\.id) }
}

/// Whether any process of a group has ended: then none of them has anything to wait for.
private final class GroupWatch: PeerWatch {
  let sockets: [ControlSocket]

  init(_ sockets: [ControlSocket]) { self.sockets = sockets }

  var hasEnded: Bool { sockets.contains { $0.hasEnded } }
}
