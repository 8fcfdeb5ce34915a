internal import SwerveCore
internal import Synchronization

// The producer's side: pushing to whoever was named, and keeping for whoever comes.
extension BlockExchange {
  /// Reserves room at another engine, and then sends there what is posted. `isReady` is told once, on another thread,
  /// whether there is room: nothing should be computed before.
  package func push(
    _ id: BlockTransferID, digest: [UInt8], count: Int, host: String, port: Int,
    isReady: @escaping @Sendable (Result<OutgoingBlocks, TransferError>) -> Void
  ) {
    guard let transfer = outgoing(id, digest, count) else {
      traffic.failed(.full)
      return isReady(.failure(Self.noRoom))
    }
    do throws(TransferError) {
      try NetworkThread.start("swerve-blocks") { [self] in push(transfer, host: host, port: port, isReady: isReady) }
    } catch {
      traffic.failed(TransferFailure(error))
      isReady(.failure(error))
    }
  }

  private func push(
    _ transfer: OutgoingBlocks, host: String, port: Int,
    isReady: @Sendable (Result<OutgoingBlocks, TransferError>) -> Void
  ) {
    let began = TransferClock.now
    let link: BlockLink
    let number: Int
    do throws(TransferError) {
      (link, number) = try dial(host: host, port: port)
    } catch {
      traffic.failed(TransferFailure(error))
      return isReady(.failure(error))
    }
    defer { forget(number) }
    let generation: UInt32
    do throws(TransferError) {
      generation = try reserve(transfer, over: link)
    } catch {
      traffic.failed(TransferFailure(error), bytesSent: link.sentBytes, bytesReceived: link.receivedBytes)
      return isReady(.failure(error))
    }
    isReady(.success(transfer))
    send(transfer, first: 0, generation: generation, over: link, began: began)
  }

  /// Asks for room. Answers its generation.
  private func reserve(_ transfer: OutgoingBlocks, over link: BlockLink) throws(TransferError) -> UInt32 {
    var frame = BlockFrame(.reserve, transfer.id)
    frame.count = UInt32(transfer.count)
    try link.send(frame, transfer.digest, within: settings.connectSeconds)
    let answer = try link.receive(within: settings.connectSeconds)
    switch answer.kind {
    case .reserved where answer.transfer == transfer.id: return answer.generation
    case .refused: throw .refused(Self.sentence(link.payload(answer)))
    default: throw .malformed("\(link.socket.peer) answered a reservation with \(answer.kind)")
    }
  }

  /// Keeps what will be posted until somebody pulls it, or nobody does in time. nil where there is no room.
  package func hold(_ id: BlockTransferID, digest: [UInt8], count: Int) -> OutgoingBlocks? {
    guard let transfer = outgoing(id, digest, count) else {
      traffic.failed(.full)
      return nil
    }
    let isNew = state.withLock { state in
      guard !state.isStopped, state.held[id] == nil else { return false }
      state.held[id] = transfer
      state.began[id] = TransferClock.now
      return true
    }
    return isNew ? transfer : nil
  }

  package static let noRoom = TransferError.refused(
    "there is no room to keep the prompt's blocks until they are sent; raise kv_buffer_size, or try again later")

  private func outgoing(_ id: BlockTransferID, _ digest: [UInt8], _ count: Int) -> OutgoingBlocks? {
    OutgoingBlocks(
      id, digest: digest, count: count, layerCount: greeting.layerCount, layerBytes: greeting.layerBytes,
      budget: budget)
  }

  /// Somebody called for blocks that are kept here.
  func answer(pull frame: BlockFrame, over link: BlockLink) throws(TransferError) {
    let digest = Array(link.payload(frame))
    let transfer = state.withLock { state -> OutgoingBlocks? in
      guard let transfer = state.held[frame.transfer], transfer.digest == digest,
        Int(frame.first) + Int(frame.count) == transfer.count
      else { return nil }
      state.held[frame.transfer] = nil
      state.began[frame.transfer] = nil
      return transfer
    }
    guard let transfer else {
      traffic.failed(.unknown)
      try link.send(
        BlockFrame(.refused, frame.transfer), Array("there are no such blocks here, or no longer".utf8),
        within: settings.connectSeconds)
      return
    }
    send(transfer, first: Int(frame.first), generation: frame.generation, over: link, began: TransferClock.now)
  }

  /// Sends pieces as they are posted, from a block on, until all went or something failed.
  private func send(
    _ transfer: OutgoingBlocks, first: Int, generation: UInt32, over link: BlockLink, began: UInt64
  ) {
    do throws(TransferError) {
      loop: while true {
        switch transfer.next(within: min(1, settings.silenceSeconds / 4)) {
        case .piece(let piece):
          for part in parts(of: piece, from: first) {
            var frame = BlockFrame(.layer, transfer.id, generation: generation)
            frame.layer = UInt16(part.layer)
            frame.first = UInt32(part.blocks.lowerBound)
            frame.count = UInt32(part.blocks.count)
            try link.send(frame, transfer.bytes(of: part), within: settings.silenceSeconds)
          }
        case .nothing:
          try link.send(BlockFrame(.alive, transfer.id, generation: generation), within: settings.silenceSeconds)
        case .complete: break loop
        case .aborted(let why):
          traffic.failed(.aborted, bytesSent: link.sentBytes)
          try link.send(BlockFrame(.refused, transfer.id), Array(why.utf8.prefix(500)), within: settings.silenceSeconds)
          return
        }
      }
      try link.send(BlockFrame(.end, transfer.id, generation: generation), within: settings.silenceSeconds)
      let answer = try link.receive(within: settings.silenceSeconds)
      guard answer.kind == .done else {
        throw .malformed("\(link.socket.peer) ended a transfer with \(answer.kind)")
      }
      traffic.sent(link.sentBytes, seconds: TransferClock.seconds(since: began))
    } catch {
      transfer.fail("\(error)")
      link.socket.end()
      traffic.failed(TransferFailure(error), bytesSent: link.sentBytes)
      onNotice("Blocks of a prompt could not be sent: \(error).")
    }
  }

  /// A piece in frames of a sensible size, without what lies before `first`.
  private func parts(of piece: OutgoingBlocks.Piece, from first: Int) -> [OutgoingBlocks.Piece] {
    let most = max(1, Self.pieceBytes / greeting.layerBytes)
    var parts: [OutgoingBlocks.Piece] = []
    var begin = max(piece.blocks.lowerBound, first)
    while begin < piece.blocks.upperBound {
      let end = min(begin + most, piece.blocks.upperBound)
      parts.append(.init(layer: piece.layer, blocks: begin..<end))
      begin = end
    }
    return parts
  }

  static func sentence(_ bytes: UnsafeRawBufferPointer) -> String {
    String(decoding: bytes.prefix(500), as: UTF8.self)
  }
}
