package import SwerveCore
internal import Synchronization

/// An engine's door for blocks: listens, dials, and keeps what is under way. A transfer has a connection and a thread of
/// its own, so that one that fails or waits is nothing to the others.
///
/// The engine thread calls nothing here; requests' tasks and the connections' threads do.
package final class BlockExchange: Sendable {
  struct State {
    var incoming: [BlockTransferID: IncomingBlocks] = [:]
    /// Blocks that somebody is expected to pull.
    var held: [BlockTransferID: OutgoingBlocks] = [:]
    /// When transfers came to be, in the time of `TransferClock`.
    var began: [BlockTransferID: UInt64] = [:]
    var sockets: [Int: BlockSocket] = [:]
    var nextSocket = 0
    var isStopped = false
  }

  package let settings: KVTransferConfiguration
  package let greeting: BlockGreeting
  /// Where others reach this engine.
  package let port: Int
  let key: BlockKey?
  let traffic = BlockTraffic()
  let arena: BlockArena
  let budget: BlockBudget
  let state = Mutex(State())
  let onNotice: @Sendable (String) -> Void
  private let listener: StreamListener

  /// Connections at a time, each way.
  static let mostConnections = 256

  /// - Throws: `.system` where the port cannot be had, `.refused` where the buffer holds no block.
  package init(
    _ settings: KVTransferConfiguration, greeting: BlockGreeting, key: BlockKey?,
    onNotice: @escaping @Sendable (String) -> Void = { _ in }
  ) throws(TransferError) {
    self.settings = settings
    self.greeting = greeting
    self.key = key
    self.onNotice = onNotice
    arena = try BlockArena(blockBytes: greeting.blockBytes, capacityBytes: settings.bufferBytes)
    budget = BlockBudget(limit: settings.bufferBytes)
    listener = try StreamListener(Endpoint(host: settings.host, port: settings.port))
    port = listener.endpoint.port
  }

  /// Takes connections until `stop`.
  ///
  /// - Throws: `.system` where there is no thread to take them.
  package func start() throws(TransferError) {
    try NetworkThread.start("swerve-blocks") { [self] in
      while !state.withLock({ $0.isStopped }) {
        if let stream = listener.accept(within: 0.25) { welcome(BlockSocket(accepted: stream)) }
        dropOld()
      }
    }
  }

  private func welcome(_ socket: BlockSocket) {
    guard let number = register(socket) else { return socket.end() }
    do throws(TransferError) {
      try NetworkThread.start("swerve-blocks") { [self] in
        defer { forget(number) }
        answer(socket)
      }
    } catch {
      forget(number)
      socket.end()
      traffic.failed(.full)
      onNotice("A connection for blocks from \(socket.peer) was ended: \(error).")
    }
  }

  /// Ends all connections; nothing comes or goes any more.
  package func stop() {
    let (sockets, incoming, held) = state.withLock { state in
      state.isStopped = true
      defer {
        state.incoming.removeAll()
        state.held.removeAll()
      }
      return (Array(state.sockets.values), Array(state.incoming.values), Array(state.held.values))
    }
    for socket in sockets { socket.end() }
    for transfer in incoming {
      transfer.end("the engine stops")
      transfer.release()
    }
    for transfer in held { transfer.fail("the engine stops") }
  }

  package var statistics: TransferStatistics {
    var all = traffic.statistics
    all.receiveBlocks = arena.placeCount
    all.receiveBlocksUsed = arena.placeCount - arena.freeCount
    all.sendBytesHeld = budget.usedBytes
    return all
  }

  // MARK: Connections

  /// The number of a connection, to forget it by; nil when there are too many.
  func register(_ socket: BlockSocket) -> Int? {
    state.withLock { state in
      guard !state.isStopped, state.sockets.count < 2 * Self.mostConnections else { return nil }
      state.nextSocket += 1
      state.sockets[state.nextSocket] = socket
      return state.nextSocket
    }
  }

  func forget(_ number: Int) { state.withLock { _ = $0.sockets.removeValue(forKey: number) } }

  func link(_ socket: BlockSocket, isDialer: Bool) -> BlockLink {
    BlockLink(socket, isDialer: isDialer, capacity: max(Self.pieceBytes, greeting.layerBytes))
  }

  /// Bytes of a frame of several blocks, at most.
  static let pieceBytes = 1 << 20

  /// Calls another engine, whose blocks are as ours.
  ///
  /// - Throws: `.refused` where it is not, or where it must not be called.
  func dial(host: String, port: Int) throws(TransferError) -> (BlockLink, Int) {
    try settings.checkPeer(host, isSealed: key != nil)
    let socket = try BlockSocket.connect(to: Endpoint(host: host, port: port), within: settings.connectSeconds)
    guard let number = register(socket) else {
      throw .refused("there are \(Self.mostConnections) transfers under way; try again later")
    }
    let link = link(socket, isDialer: true)
    do {
      _ = try link.greet(greeting, key: key, within: settings.connectSeconds)
    } catch {
      forget(number)
      throw error
    }
    return (link, number)
  }

  // MARK: Time

  /// Transfers that nobody wanted in time are over.
  private func dropOld() {
    let (incoming, held) = state.withLock { state in
      let old = state.began.filter { TransferClock.seconds(since: $0.value) > settings.timeoutSeconds }.map(\.key)
      var incoming: [IncomingBlocks] = []
      var held: [OutgoingBlocks] = []
      for id in old {
        state.began[id] = nil
        if let transfer = state.incoming.removeValue(forKey: id) { incoming.append(transfer) }
        if let transfer = state.held.removeValue(forKey: id) { held.append(transfer) }
      }
      return (incoming, held)
    }
    for transfer in incoming {
      transfer.end("nobody asked for the blocks within \(settings.timeoutSeconds) s")
      transfer.release()
      traffic.failed(.lost)
    }
    for transfer in held {
      transfer.fail("nobody asked for the blocks within \(settings.timeoutSeconds) s")
      traffic.failed(.lost)
    }
  }
}

extension KVTransferConfiguration {
  /// Open links stay on this machine, unless somebody answers for the network.
  func checkPeer(_ host: String, isSealed: Bool) throws(TransferError) {
    if let peers, !peers.contains(host) {
      throw .refused("\(host) is not among the peers of kv_connector_extra_config (\(peers.joined(separator: ", ")))")
    }
    if !isSealed && !trustsNetwork && !Endpoint(host: host, port: 0).isLoopback {
      throw .refused(
        "\(host) is another machine and the link to it would be open; give both engines --link-encryption aes-gcm "
          + "--link-key-file FILE, or --trusted-network")
    }
  }
}
