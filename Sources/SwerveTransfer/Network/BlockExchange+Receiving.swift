internal import SwerveCore
internal import Synchronization

// The consumer's side: what is pushed to it, and what it pulls.
extension BlockExchange {
  /// The blocks of a transfer that was announced here, if they are of these tokens; from now on the caller's, who
  /// releases them.
  package func claim(_ id: BlockTransferID, digest: [UInt8]) -> IncomingBlocks? {
    let found = state.withLock { state -> IncomingBlocks? in
      state.began[id] = nil
      return state.incoming.removeValue(forKey: id)
    }
    guard let found else { return nil }
    guard found.digest == digest else {
      found.release()
      traffic.failed(.unknown)
      return nil
    }
    return found
  }

  /// Fetches blocks that another engine keeps: `first` and those behind it, `count` in all. They come on a thread of
  /// their own. nil where there is no room.
  package func pull(
    _ id: BlockTransferID, digest: [UInt8], count: Int, host: String, port: Int
  ) -> IncomingBlocks? {
    guard let transfer = incoming(id, digest, first: 0, count: count) else {
      traffic.failed(.full)
      return nil
    }
    do throws(TransferError) {
      try NetworkThread.start("swerve-blocks") { [self] in fetch(transfer, count: count, host: host, port: port) }
    } catch {
      couldNotFetch(transfer, error)
    }
    return transfer
  }

  private func fetch(_ transfer: IncomingBlocks, count: Int, host: String, port: Int) {
    let began = TransferClock.now
    do throws(TransferError) {
      let (link, number) = try dial(host: host, port: port)
      defer { forget(number) }
      var frame = BlockFrame(.pull, transfer.id, generation: transfer.generation)
      frame.count = UInt32(count)
      do throws(TransferError) {
        try link.send(frame, transfer.digest, within: settings.connectSeconds)
      } catch {
        return fail(transfer, error, link)
      }
      receive(transfer, over: link, began: began)
    } catch {
      couldNotFetch(transfer, error)
    }
  }

  private func couldNotFetch(_ transfer: IncomingBlocks, _ error: TransferError) {
    traffic.failed(TransferFailure(error))
    transfer.end("\(error)")
    onNotice("Blocks of a prompt could not be fetched: \(error).")
  }

  /// Counts a request whose transfer nobody here knows.
  package func countUnknown() { traffic.failed(.unknown) }

  private func incoming(_ id: BlockTransferID, _ digest: [UInt8], first: Int, count: Int) -> IncomingBlocks? {
    IncomingBlocks(
      id, digest: digest, first: first, count: count, layerCount: greeting.layerCount, layerBytes: greeting.layerBytes,
      arena: arena)
  }

  /// A connection that came in: who they are, and what they want.
  func answer(_ socket: BlockSocket) {
    let link = link(socket, isDialer: false)
    do throws(TransferError) {
      _ = try link.greet(greeting, key: key, within: settings.connectSeconds)
      let frame = try link.receive(within: settings.connectSeconds)
      switch frame.kind {
      case .reserve where settings.role.receives: try answer(reserve: frame, over: link)
      case .pull where settings.role.sends: try answer(pull: frame, over: link)
      case .reserve, .pull:
        try link.send(
          BlockFrame(.refused, frame.transfer),
          Array("the engine \(greeting.engine) is a \(settings.role.rawValue) and does not do that".utf8),
          within: settings.connectSeconds)
      default: throw .malformed("\(socket.peer) began with \(frame.kind)")
      }
    } catch {
      traffic.failed(TransferFailure(error))
      onNotice("A connection for blocks from \(socket.peer) was ended: \(error).")
    }
    socket.end()
  }

  private func answer(reserve frame: BlockFrame, over link: BlockLink) throws(TransferError) {
    let id = frame.transfer
    let digest = Array(link.payload(frame))
    var refusal: String?
    var transfer: IncomingBlocks?
    if frame.count == 0 || digest.count != Self.digestBytes {
      throw .malformed("\(link.socket.peer) reserves \(frame.count) blocks of a digest of \(digest.count) bytes")
    } else if Int(frame.count) > arena.placeCount {
      refusal = "\(frame.count) blocks are more than the \(arena.placeCount) that kv_buffer_size holds here"
    } else {
      transfer = incoming(id, digest, first: 0, count: Int(frame.count))
      if transfer == nil { refusal = "all places for blocks are taken here; try again later" }
    }
    if let new = transfer {
      let isNew = state.withLock { state in
        guard !state.isStopped, state.incoming[id] == nil else { return false }
        state.incoming[id] = new
        state.began[id] = TransferClock.now
        return true
      }
      if !isNew {
        new.release()
        transfer = nil
        refusal = "a transfer of this name is under way"
      }
    }
    guard let transfer else {
      traffic.failed(.full)
      try link.send(
        BlockFrame(.refused, id), Array((refusal ?? "").utf8), within: settings.connectSeconds)
      return
    }
    do throws(TransferError) {
      var answer = BlockFrame(.reserved, id, generation: transfer.generation)
      answer.count = frame.count
      try link.send(answer, within: settings.connectSeconds)
    } catch {
      return fail(transfer, error, link)
    }
    receive(transfer, over: link, began: TransferClock.now)
  }

  /// SHA-256
  static let digestBytes = 32

  /// Takes frames until all came or something failed. Every wait is bounded: a producer that computes says that it lives.
  private func receive(_ transfer: IncomingBlocks, over link: BlockLink, began: UInt64) {
    do throws(TransferError) {
      while true {
        let frame = try link.receive(within: settings.silenceSeconds)
        switch frame.kind {
        case .layer:
          if frame.generation != transfer.generation || frame.transfer != transfer.id {
            traffic.count { $0.staleMessages += 1 }
          }
          try transfer.take(frame, link.payload(frame), from: link.socket.peer) {
            traffic.received(link.receivedBytes, seconds: TransferClock.seconds(since: began))
          }
          if transfer.isReleased && !transfer.isComplete {
            // Nobody wants the rest.
            transfer.end("the request has ended")
            traffic.failed(.aborted, bytesReceived: link.receivedBytes)
            return link.socket.end()
          }
        case .alive: continue
        case .end:
          transfer.end("")
          if let failure = transfer.failure { throw .malformed(failure) }
          try? link.send(BlockFrame(.done, transfer.id), within: settings.connectSeconds)
          return
        case .refused:
          // Nothing will be claimed that the producer gave up: the places are free at once.
          state.withLock { state in
            if state.incoming[transfer.id] === transfer {
              state.incoming[transfer.id] = nil
              state.began[transfer.id] = nil
              transfer.release()
            }
          }
          throw .refused(Self.sentence(link.payload(frame)))
        default: throw .malformed("\(link.socket.peer) sent \(frame.kind) in the middle of a transfer")
        }
      }
    } catch {
      fail(transfer, error, link)
    }
  }

  private func fail(_ transfer: IncomingBlocks, _ error: TransferError, _ link: BlockLink) {
    // Counted before anybody goes on without them. Of what is here already nothing is missing, however the connection ended.
    let isMissing = !transfer.isComplete
    if isMissing { traffic.failed(TransferFailure(error), bytesReceived: link.receivedBytes) }
    transfer.end("\(error)")
    link.socket.end()
    if isMissing {
      onNotice("Blocks of a prompt did not come: \(error). What is missing is computed here.")
    }
  }
}
